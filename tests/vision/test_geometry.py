"""Boxes, held against the slow and obvious."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision.geometry import areas, greedy_nms, iou_matrix, squared, strict_nms

coordinate = st.floats(-100, 100, width=32)
extent = st.floats(0.5, 80, width=32)
box = st.tuples(coordinate, coordinate, extent, extent).map(lambda v: (v[0], v[1], v[0] + v[2], v[1] + v[3]))
boxes = st.lists(box, min_size=1, max_size=12)


def slow_iou(a: tuple[float, ...], b: tuple[float, ...], over: str = "union") -> float:
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    area_a, area_b = (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])
    whole = area_a + area_b - w * h if over == "union" else min(area_a, area_b)
    return w * h / whole


@given(boxes, boxes)
def test_iou_is_that_of_the_definition(a: list[tuple[float, ...]], b: list[tuple[float, ...]]) -> None:
    found = iou_matrix(np.array(a), np.array(b))
    expected = [[slow_iou(x, y) for y in b] for x in a]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@given(boxes)
def test_a_box_is_kept_unless_any_better_one_overlaps_it(a: list[tuple[float, ...]]) -> None:
    scores = np.linspace(1, 0.1, len(a))
    expected = [i for i in range(len(a)) if all(slow_iou(a[j], a[i], "smaller") <= 0.5 for j in range(i))]
    kept = strict_nms(np.array(a), scores, 0.5, over="smaller")
    borderline = any(abs(slow_iou(x, y, "smaller") - 0.5) < 1e-6 for x in a for y in a)
    assert borderline or sorted(kept.tolist()) == expected


@pytest.mark.parametrize("over", ["union", "smaller"])
@pytest.mark.parametrize("spread_px", [40, 300, 1200])
def test_many_boxes_are_suppressed_as_few_are(over: Literal["union", "smaller"], spread_px: int) -> None:
    rng = np.random.default_rng(spread_px)
    corner = rng.uniform(-20, spread_px, (700, 2))
    many = np.concatenate([corner, corner + rng.uniform(-2, 60, (700, 2))], axis=1)
    scores = rng.permutation(np.linspace(0, 1, 700))
    order = np.argsort(scores)[::-1]
    is_beaten = np.triu(iou_matrix(many[order], many[order], over) > 0.5, k=1).any(axis=0)
    kept = strict_nms(many, scores, 0.5, over)
    assert 0 < len(kept) < 700
    assert kept.tolist() == order[~is_beaten].tolist()


def test_greedily_a_box_that_went_takes_no_other_with_it() -> None:
    random = np.random.default_rng(4)
    corners = random.uniform(0, 150, (200, 2))
    boxes = np.concatenate([corners, corners + random.uniform(20, 60, (200, 2))], axis=1)
    scores = random.uniform(0.6, 1, 200)
    overlaps = iou_matrix(boxes, boxes)
    kept: list[int] = []
    for box in np.argsort(scores)[::-1]:
        if not (overlaps[box, kept] > 0.5).any():
            kept.append(int(box))
    assert greedy_nms(boxes, scores, 0.5).tolist() == kept
    assert len(kept) > len(strict_nms(boxes, scores, 0.5))
    assert not len(greedy_nms(boxes[:0], scores[:0], 0.5))


def test_squares_share_their_centers() -> None:
    result = squared(np.array([[0.0, 0.0, 10.0, 20.0]]))
    assert result.tolist() == [[-5.0, 0.0, 15.0, 20.0]]


def test_a_box_turned_inside_out_has_no_area() -> None:
    assert areas(np.array([[10.0, 10.0, 0.0, 20.0]])).tolist() == [0.0]


@pytest.mark.parametrize("shape", [(0, 4)])
def test_no_boxes_are_fine(shape: tuple[int, int]) -> None:
    none = np.zeros(shape)
    assert iou_matrix(none, none).shape == (0, 0)
    assert len(strict_nms(none, np.zeros(0), 0.5)) == 0
