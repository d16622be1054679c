"""How sure a share is that was counted in a sample, and the difference of two shares of one sample.

References
----------
E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the
American Statistical Association 22 (1927).
R. G. Newcombe, "Improved confidence intervals for the difference between binomial proportions based
on paired data", Statistics in Medicine 17 (1998), method 10.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Interval = tuple[float, float]

Z = 1.959963984540054
"""Of 95 % of a normal distribution."""


def wilson(hits: int, trials: int) -> Interval:
    """Return the 95 % interval of a share; 0 to 1 where nothing was tried.

    Examples
    --------
    >>> [round(limit, 4) for limit in wilson(81, 263)]
    [0.2553, 0.3662]
    >>> [round(limit, 3) for limit in wilson(10, 10)]
    [0.722, 1.0]
    """
    if not trials:
        return 0.0, 1.0
    share, square = hits / trials, Z * Z / trials
    middle = (share + square / 2) / (1 + square)
    half = Z / (1 + square) * math.sqrt(share * (1 - share) / trials + square / (4 * trials))
    return max(0.0, middle - half), min(1.0, middle + half)


def paired_difference(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Interval:
    """Return the 95 % interval of the share of ``first`` less that of ``second``.

    Parameters
    ----------
    first, second : ndarrays of bool, shape (n,)
        Whether the same n trials succeeded one way and the other. What they have in common narrows
        the interval.

    Examples
    --------
    >>> both = np.repeat([True, True, False, False], [36, 12, 2, 0])
    >>> other = np.repeat([True, False, True, False], [36, 12, 2, 0])
    >>> [round(limit, 4) for limit in paired_difference(both, other)]
    [0.0569, 0.3404]
    """
    trials = len(first)
    both, neither = int((first & second).sum()), int((~first & ~second).sum())
    one, other = int((first & ~second).sum()), int((~first & second).sum())
    if not trials:
        return -1.0, 1.0
    (low_1, high_1), (low_2, high_2) = wilson(both + one, trials), wilson(both + other, trials)
    share_1, share_2 = (both + one) / trials, (both + other) / trials
    phi = _correlation(both, one, other, neither)
    below, above = (
        math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))
        for a, b in ((share_1 - low_1, high_2 - share_2), (share_2 - low_2, high_1 - share_1))
    )
    return share_1 - share_2 - below, share_1 - share_2 + above


def _correlation(both: int, one: int, other: int, neither: int) -> float:
    """Correlation of a 2 x 2 table, corrected for continuity where it is positive."""
    spread = (both + one) * (other + neither) * (both + other) * (one + neither)
    if not spread:
        return 0.0
    tie = float(both * neither - one * other)
    if tie > 0:
        tie = max(tie - (both + one + other + neither) / 2, 0.0)
    return tie / math.sqrt(spread)
