"""Losses on distance maps: functions on tensors of shape (batch, 1, z, y, x)."""

from neuroconn.loss.regression import huber, mse

__all__ = ["huber", "mse"]
