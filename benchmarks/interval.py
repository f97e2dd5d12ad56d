"""What repeated measurements say together: their median or their trend, and how sure it is.

Called by the benchmarks; knows nothing of what was measured.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

RESAMPLES = 4_000


def median_95(values: Sequence[float], seed: int = 1) -> tuple[float, float, float]:
    """The median of repeats, and the 95 % interval around it: (median, low, high).

    A bootstrap (Efron, Annals of Statistics 7, 1979) of the median: no distribution is assumed, one repeat
    that other work has spoiled moves it little. Raises ValueError without values.
    """
    if not values:
        raise ValueError("nothing was measured")
    given = np.asarray(values, np.float64)
    picks = np.random.default_rng(seed).integers(0, len(given), (RESAMPLES, len(given)))
    low, high = np.percentile(np.median(given[picks], axis=1), [2.5, 97.5])
    return float(np.median(given)), float(low), float(high)


def slope_95(x: ArrayLike, y: ArrayLike) -> tuple[float, float, float]:
    """The trend of y (N,) over x (N,), and the 95 % interval around it: (slope, low, high). It is the median
    of the slopes between all pairs of points (P. K. Sen, JASA 63, 1968): a burst of other work somewhere does
    not tilt it. 0 where there are no two points of different x."""
    from scipy.stats import theilslopes

    if len(np.unique(x)) < 2:
        return 0.0, 0.0, 0.0
    found = theilslopes(np.asarray(y, np.float64), np.asarray(x, np.float64), 0.95)
    return float(found.slope), float(found.low_slope), float(found.high_slope)
