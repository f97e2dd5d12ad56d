"""Medians and trends of repeated measurements, with their intervals."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.interval import median_95, slope_95


def test_one_spoiled_repeat_moves_the_median_little() -> None:
    median, low, high = median_95([1.0, 1.1, 0.9, 1.05, 0.95, 1.0, 40.0])
    assert median == 1.0
    assert 0.9 <= low <= median <= high <= 1.1
    with pytest.raises(ValueError, match="nothing was measured"):
        median_95([])


def test_the_trend_of_a_line_is_its_slope_whatever_bursts_there_are() -> None:
    x = np.arange(60.0)
    y = 100.0 + 0.5 * x
    assert slope_95(x, y) == pytest.approx((0.5, 0.5, 0.5))
    y[20:30] += 900.0
    slope, low, high = slope_95(x, y)
    assert slope == pytest.approx(0.5, abs=0.1)
    assert low <= 0.5 <= high


def test_points_at_one_place_have_no_trend_and_do_not_disturb_that_of_others() -> None:
    x = np.array([1.0, 5, 20, 1, 5, 20])
    assert slope_95(x, 30 + 4 * x)[0] == pytest.approx(4.0)
    assert slope_95([3.0, 3.0], [1.0, 2.0]) == (0.0, 0.0, 0.0)
    assert slope_95([3.0], [1.0]) == (0.0, 0.0, 0.0)
