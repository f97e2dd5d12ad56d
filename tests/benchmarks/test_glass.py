"""The reading of codes and ages, with values only."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.glass import Turn, aged, drift_ms_per_min
from benchmarks.glass_feed import BITS, CELL_PX, CHECK_BITS, FPS, LOOP, STRIP_PX, check_of, stamp


def code(number: int) -> float:
    return float(number << CHECK_BITS | check_of(number))


@pytest.mark.parametrize("number", [0, 1, 100, LOOP - 1])
def test_a_stamp_is_read_back(number: int) -> None:
    image = np.full((720, 1280, 3), 128, np.uint8)
    stamp(image, number)
    row = image[-STRIP_PX // 2, CELL_PX // 2 : (BITS + CHECK_BITS) * CELL_PX : CELL_PX, 1]
    assert sum(int(v > 126) << n for n, v in enumerate(row[::-1])) == code(number)


def test_the_loop_fits_the_code() -> None:
    assert LOOP <= 2**BITS
    assert (BITS + CHECK_BITS) * CELL_PX <= 1280


def test_ages_are_the_time_since_the_camera_sent_the_frame() -> None:
    start, offset = 1000.0, 900.0
    frames = [10, 11, LOOP + 3, 5 * LOOP - 1]
    ages_s = [0.08, 0.12, 0.3, 2.0]
    seen = [
        (code(n % LOOP), 1000 * (start + n / FPS + a - offset)) for n, a in zip(frames, ages_s, strict=True)
    ]
    turn = aged(np.array(seen), offset, start)
    assert turn.ages_ms == pytest.approx([1000 * a for a in ages_s], abs=0.01)
    assert turn.unread == 0


def test_a_picture_that_cannot_be_read_is_left_out_and_counted() -> None:
    seen = np.array([(code(7), 1e6), (code(7) + 1, 1e6 + 40), (code(LOOP + 1), 1e6 + 80)])
    turn = aged(seen, 0.0, 0.0)
    assert len(turn.ages_ms) == 1
    assert turn.unread == 2


def test_drift_is_told_by_the_minute() -> None:
    at = np.arange(0, 300, 0.04)
    assert drift_ms_per_min(Turn(at, 100 + at / 60 * 2.5, 0)) == pytest.approx(2.5, abs=0.01)
    assert Turn(at, at, 0).fps == pytest.approx(25.0)
