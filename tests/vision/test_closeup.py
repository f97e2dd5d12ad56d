"""Which spots are looked at closely, and what the look shows."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vision.closeup import FORGET_AFTER, ROOM, SIDE_PX, Chooser, cut


def spots(*lefts: float) -> NDArray[np.float32]:
    return np.array([(x, 0, x + 20, 20) for x in lefts], np.float32)


def promises(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def test_the_most_promising_spots_come_first_and_no_more_than_there_is_time_for() -> None:
    chosen = Chooser().choose(spots(0, 100, 200), promises(0.1, 0.3, 0.2), limit=2)
    assert chosen.tolist() == [1, 2]


def test_what_was_looked_at_in_vain_waits_until_it_promises_more() -> None:
    chooser = Chooser()
    chooser.note_vain(spots(0), promises(0.3))
    assert chooser.choose(spots(1, 100), promises(0.3, 0.06), limit=8).tolist() == [1]
    assert chooser.choose(spots(1, 100), promises(0.5, 0.06), limit=8).tolist() == [0, 1]


def test_a_vain_look_is_forgotten() -> None:
    chooser = Chooser()
    chooser.note_vain(spots(0), promises(0.3))
    seen = [len(chooser.choose(spots(0), promises(0.3), limit=8)) for _ in range(FORGET_AFTER + 1)]
    assert seen[0] == 0
    assert seen[-1] == 1


def test_the_latest_look_at_a_spot_counts() -> None:
    chooser = Chooser()
    chooser.note_vain(spots(0), promises(0.5))
    chooser.note_vain(spots(1), promises(0.1))
    assert chooser.choose(spots(0), promises(0.3), limit=8).tolist() == [0]


@pytest.mark.parametrize("box", [(40, 40, 60, 70), (-30, -30, 20, 20), (180, 90, 230, 140), (-99, 0, -9, 40)])
def test_a_look_has_its_size_wherever_the_spot_lies(box: tuple[int, int, int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (120, 200, 3), dtype=np.uint8)
    square, _, scale = cut(image, np.array(box, np.float32))
    assert square.shape == (SIDE_PX, SIDE_PX, 3)
    assert scale == pytest.approx(SIDE_PX / (ROOM * max(box[2] - box[0], box[3] - box[1])), rel=0.05)


def test_a_look_is_placed_where_it_says() -> None:
    image = np.zeros((200, 300, 3), np.uint8)
    image[80:100, 140:160] = 255
    square, corner, scale = cut(image, np.array((130, 70, 170, 110), np.float32))
    ys, xs = np.nonzero(square[..., 0] > 128)
    left, top = corner + np.array([xs.min(), ys.min()]) / scale
    assert abs(left - 140) <= 1.5
    assert abs(top - 80) <= 1.5
