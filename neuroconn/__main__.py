"""``python -m neuroconn`` is the command line."""

from neuroconn.cli import main

if __name__ == "__main__":
    main()
