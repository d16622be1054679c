"""HDF5 and what is built on it: Imaris, BigDataViewer."""
