"""Zarr of any version, local or behind a URL."""
