"""Which detection belongs to which track."""

from __future__ import annotations

import numpy as np
import pytest

from edge_node.tracking.association import associate


def boxes(*lefts: float, size: float = 100.0) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.array([(x, 0.0, x + size, size) for x in lefts], np.float64).reshape(-1, 4)


def test_the_sum_counts_not_the_nearest_pair() -> None:
    # The second track's nearest detection is the first one, which the first track has no other for.
    assert sorted(associate(boxes(0, 60), boxes(45, 100))) == [(0, 0), (1, 1)]


def test_what_is_out_of_reach_stays_alone() -> None:
    assert associate(boxes(0, 300), boxes(310)) == [(1, 0)]
    assert associate(boxes(0), boxes(400)) == []


def test_more_detections_than_tracks_and_fewer() -> None:
    assert associate(boxes(0), boxes(500, 5, 900)) == [(0, 1)]
    assert associate(boxes(500, 5, 900), boxes(0)) == [(1, 0)]
    assert associate(boxes(), boxes(0)) == []


def test_another_size_is_another_face() -> None:
    assert associate(boxes(0, size=100.0), boxes(0, size=200.0)) == []


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_boxes_that_are_not_finite_are_refused(wrong: float) -> None:
    predicted = boxes(0, 300)
    predicted[1, 2] = wrong
    with pytest.raises(ValueError, match="not finite"):
        associate(predicted, boxes(0, 300))
