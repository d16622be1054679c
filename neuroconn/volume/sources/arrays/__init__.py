"""NumPy files, and arrays that lie in files."""
