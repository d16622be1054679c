"""What Vaa3D writes: TeraFly trees, v3draw, v3dpbd."""
