"""Cues over time: what makes a sheet, and that doubt is slow to go."""

from __future__ import annotations

import numpy as np

from edge_node.liveness.motion import CELLS, CoMotion
from edge_node.liveness.suspicion import ABOVE, BELOW, BESIDE, CORNERS, FACE, Mask, Suspicion


def seen(*with_face: Mask, stray: float = 0.002, moved: float = 0.06) -> CoMotion:
    """The face and these zones move together, all else stays."""
    cells = np.full((CELLS, CELLS), -0.9, np.float32)
    for zone in (FACE, *with_face):
        cells[zone] = 0.95
    return CoMotion(moved, stray, cells, np.full((CELLS, CELLS), 8.0, np.float32))


def after(*what: CoMotion, times: int = 10, pattern: float | None = None) -> Suspicion:
    suspicion = Suspicion()
    for _ in range(times):
        for one in what:
            suspicion.take(one, 0.16, pattern)
    return suspicion


def test_zones_do_not_meet() -> None:
    assert np.sum([CORNERS, BELOW, FACE, ABOVE], axis=0).max() == 1
    assert not (BESIDE & (BELOW | FACE | ABOVE)).any()


def test_a_head_with_its_shoulders_is_no_sheet() -> None:
    assert after(seen(BELOW)).value == 0.0


def test_wide_hair_with_shoulders_is_no_sheet() -> None:
    assert after(seen(BELOW, BESIDE)).value == 0.0


def test_a_large_a_small_and_a_tall_sheet() -> None:
    assert after(seen(CORNERS, BESIDE, BELOW)).is_suspected
    assert after(seen(BESIDE)).is_suspected
    assert after(seen(BESIDE, ABOVE, BELOW)).is_suspected


def test_what_does_not_move_as_one_plane_is_no_photo() -> None:
    assert after(seen(CORNERS, BESIDE, BELOW, stray=0.02)).value == 0.0


def test_who_walks_by_is_no_plane_for_being_fast() -> None:
    assert not after(seen(CORNERS, BESIDE, stray=0.008, moved=0.5)).is_suspected


def test_a_pattern_is_enough() -> None:
    assert after(seen(BELOW), pattern=6.0).is_suspected
    assert not after(seen(BELOW), pattern=3.5).is_suspected


def test_stillness_takes_seconds() -> None:
    still = seen(stray=0.0, moved=0.0)
    assert not after(still, times=20).is_suspected
    assert after(still, times=60).is_suspected
    assert not after(*[still] * 20, seen(BELOW), times=4).is_suspected, "who moves now and then is alive"


def test_doubt_is_slow_to_go() -> None:
    suspicion = after(seen(CORNERS, BESIDE, BELOW))
    clear = seen(BELOW, moved=0.06)
    suspicion.forget_motion()
    times = 0
    while suspicion.is_suspected:
        suspicion.take(clear, 0.16, None)
        times += 1
        assert times < 100
    assert times >= 10
    assert suspicion.value < suspicion.limit / 2


def test_one_comparison_convinces_nobody() -> None:
    assert not after(seen(CORNERS, BESIDE), times=1).is_suspected
