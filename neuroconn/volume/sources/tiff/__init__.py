"""TIFF of any kind: files, folders of slices, OME and ImageJ stacks."""
