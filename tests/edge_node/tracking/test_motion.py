"""The filter follows and predicts."""

from __future__ import annotations

import numpy as np
import pytest

from edge_node.tracking.motion import Motion


def box(x: float, size: float = 40.0) -> np.ndarray:
    return np.array([x, 50.0, x + size, 50.0 + size])


def test_a_steady_motion_is_predicted() -> None:
    motion = Motion.start(box(0), 0.0)
    for i in range(1, 20):
        motion = motion.predict(i * 0.1).update(box(i * 8.0))
    assert motion.predict(2.4).box_xyxy[0] == pytest.approx(192, abs=3)


def test_a_face_that_moves_by_more_than_expected_is_covered_where_it_is() -> None:
    motion = Motion.start(box(0), 0.0)
    for i in range(1, 20):
        motion = motion.predict(i * 0.04).update(box(0))
    left = motion.predict(0.8).update(box(20)).box_xyxy[0]  # half a face at once
    assert 20 - left == pytest.approx(4.0, abs=0.01)


def test_uncertainty_grows_with_time_and_shrinks_with_evidence() -> None:
    start = Motion.start(box(0), 0.0)
    later = start.predict(0.5)
    assert (later.p_pp > start.p_pp).all()
    assert (later.update(box(0)).p_pp < later.p_pp).all()


def test_time_never_runs_backwards() -> None:
    motion = Motion.start(box(0), 1.0)
    assert motion.predict(0.5) is motion


def test_a_shrinking_face_keeps_a_size() -> None:
    motion = Motion.start(box(0), 0.0).predict(0.1).update(box(0, 10.0))
    x1, _, x2, _ = motion.predict(10.0).box_xyxy
    assert x2 - x1 >= 1.99
