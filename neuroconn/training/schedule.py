"""How fast the weights move at each iteration."""

from __future__ import annotations

import math

from neuroconn.config.train import OptimiserSettings


def learning_rate(settings: OptimiserSettings, iteration: int, iterations: int) -> float:
    """Rate at an iteration: the report's ``rate / (1 + decay * iteration)`` or a cosine.

    Parameters
    ----------
    settings : OptimiserSettings
        Schedule, with a warm-up before it and a cool-down after it.
    iteration, iterations : int
        How many updates were made, and how many will be.

    Examples
    --------
    >>> learning_rate(OptimiserSettings(rate=1e-3, decay=1e-3), 1000, 50_000)
    0.0005
    >>> learning_rate(OptimiserSettings(rate=1e-3, schedule="cosine"), 500, 1000)
    0.0005
    """
    if settings.schedule == "cosine":
        rate = settings.rate * (1 + math.cos(math.pi * iteration / iterations)) / 2
    else:
        rate = settings.rate / (1 + settings.decay * iteration)
    if iteration < settings.warmup:
        rate *= (iteration + 1) / settings.warmup
    left = (iterations - iteration) / max(1.0, settings.cooldown * iterations)
    return rate * min(1.0, left) if settings.cooldown else rate
