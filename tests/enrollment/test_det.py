"""Error rates counted by hand on a handful of faces."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from enrollment import det
from enrollment.det import Face
from enrollment.det_plot import SIZE, draw_det

FACES = [
    Face("ann", "a", "ann/1"), Face("ann", "a", "ann/2"),
    Face("bo", "a", "bo/1"), Face("bo", "a", "bo/2"),
    Face("cy", "b", "cy/1"),
]  # fmt: skip
SCORES = np.array(
    [
        [1.00, 0.90, 0.30, 0.20, 0.70],
        [0.90, 1.00, 0.40, 0.10, 0.60],
        [0.30, 0.40, 1.00, 0.50, 0.20],
        [0.20, 0.10, 0.50, 1.00, 0.55],
        [0.70, 0.60, 0.20, 0.55, 1.00],
    ]
)
PAIRS, SEARCHES = det.pairs_of(FACES, SCORES), det.searches_of(FACES, SCORES)


def test_similarities_are_the_products_of_directions() -> None:
    found = det.similarities(np.array([[1, 0], [0.6, 0.8]], np.float32))
    assert found[0, 1] == pytest.approx(0.6)
    assert found.max() <= 1.0


def test_pairs_of_one_person_and_of_two() -> None:
    assert sorted(PAIRS.same) == [0.5, 0.9]
    assert len(PAIRS.other) == 8


def test_every_photo_is_a_look_at_a_stranger_and_further_ones_at_somebody_known() -> None:
    assert SEARCHES.enrolled == 3
    assert len(SEARCHES.known) == 2
    assert SEARCHES.stranger.tolist() == [0.7, 0.6, 0.3, 0.55, 0.7]
    # bo/2 is nearer to cy than to bo: whatever the threshold, nobody is found.
    assert SEARCHES.known.tolist() == [0.9, -1.0]


def test_rates_at_a_threshold() -> None:
    rates = det.rates_at(PAIRS, SEARCHES, 0.58, 0.0)
    assert rates.fmr == pytest.approx(2 / 8)
    assert rates.fnmr == pytest.approx(1 / 2)
    assert rates.fpir == pytest.approx(3 / 5)
    assert rates.fnir == pytest.approx(1 / 2)


def test_a_margin_keeps_strangers_without_a_name() -> None:
    # cy/1: 0.70 to ann, 0.20 to bo; ann/1: 0.70 to cy, 0.30 to bo.
    assert det.rates_at(PAIRS, SEARCHES, 0.58, 0.45).fpir == pytest.approx(1 / 5)


def test_rates_of_a_group() -> None:
    rates = det.rates_at(PAIRS, SEARCHES, 0.58, 0.0, "b")
    assert rates.fpir == 1.0
    assert math.isnan(rates.fnir), "nobody of this group has a second photo"


def test_the_safe_threshold_is_the_lowest_at_which_no_stranger_is_shown() -> None:
    safe = det.safe_threshold(SEARCHES, 0.0)
    assert det.strangers_shown(SEARCHES, safe, 0.0) == []
    assert det.strangers_shown(SEARCHES, safe - 0.002, 0.0) != []


def test_the_curve_falls_from_strangers_to_misses() -> None:
    points = det.curve(PAIRS, SEARCHES, 0.0)
    assert all(a.fpir >= b.fpir and a.fnir <= b.fnir for a, b in pairwise(points))
    assert points[0].fpir == 1.0
    assert points[-1].fpir == 0.0


def test_the_plot_shows_curves_and_points() -> None:
    points = det.curve(PAIRS, SEARCHES, 0.0)
    blank = draw_det({}, {}, "nothing")
    drawn = draw_det({"everyone": points}, {"everyone": points[100]}, "some")
    assert drawn.shape == (SIZE[1], SIZE[0], 3)
    assert int((drawn != blank).any(axis=2).sum()) > 500
