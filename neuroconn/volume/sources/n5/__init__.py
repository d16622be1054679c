"""N5, read by TensorStore once its metadata is checked."""
