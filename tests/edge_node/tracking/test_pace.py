"""What time it is for the tracker."""

from __future__ import annotations

import pytest

from edge_node.tracking.pace import LEAST, Pace


def steady(pace: Pace, frames: int) -> None:
    for seq in range(frames):
        pace.at(10.0 + 0.04 * seq, seq)


def test_steady_frames_have_the_cameras_time() -> None:
    pace = Pace()
    steady(pace, 50)
    assert pace.at(12.0, 50) == pytest.approx(12.0)


def test_a_burst_takes_as_long_as_its_frames_are_many() -> None:
    pace = Pace()
    steady(pace, 50)
    before = pace.at(12.5, 50)
    after = pace.at(12.501, 62)
    assert after - before == pytest.approx(12 * LEAST * 0.04, rel=0.1)


def test_a_long_wait_takes_as_long_as_it_took() -> None:
    pace = Pace()
    steady(pace, 50)
    assert pace.at(14.0, 50) - 11.96 == pytest.approx(2.04)


def test_a_camera_that_doubles_its_rate_is_followed() -> None:
    pace = Pace()
    steady(pace, 50)
    times = [pace.at(11.96 + 0.02 * n, 49 + n) for n in range(1, 120)]
    assert times[-1] - times[-2] == pytest.approx(0.02)
