"""The map and its run folder: made, resumed, looked at, checked and mended."""
