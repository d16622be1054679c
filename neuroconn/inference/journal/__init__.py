"""What is done: checksummed lines in a file or in numbered objects, and how they are read."""
