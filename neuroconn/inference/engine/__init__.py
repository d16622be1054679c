"""Networks made ready to run: devices, arithmetic, memory, lanes, and other runtimes."""
