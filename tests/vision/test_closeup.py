"""Which spots are looked at closely, and what the look shows."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vision.closeup import FORGET_AFTER, MIN_PROMISE, ROOM, SIDE_PX, Memory, choose, cut


def spots(*lefts: float) -> NDArray[np.float32]:
    return np.array([(x, 0, x + 20, 20) for x in lefts], np.float32)


def promises(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)


NOBODY = np.zeros(3, np.bool_)
UNEXPECTED, EXPECTED = promises(0.0, 0.0), promises(0.4, 0.4)
VAIN_GLANCE, VAIN_HOPE = np.array([False]), np.array([True])


def test_the_most_promising_spots_are_looked_at_and_no_more_than_there_is_time_for() -> None:
    assert sorted(choose(promises(0.1, 0.3, 0.2), NOBODY, limit=2)) == [1, 2]
    assert len(choose(promises(0.1, 0.3, 0.2), NOBODY, limit=0)) == 0


def test_however_many_faces_are_followed_half_of_the_looks_are_for_somebody_new() -> None:
    news, is_expected = promises(0.9, 0.8, 0.06), np.array([True, True, False])
    assert sorted(choose(news, is_expected, limit=2)) == [0, 2]
    assert sorted(choose(news, is_expected, limit=3)) == [0, 1, 2]
    assert sorted(choose(promises(0.9, 0.8, 0.0), is_expected, limit=2)) == [0, 1]


def test_what_was_looked_at_in_vain_waits_until_it_promises_more() -> None:
    memory = Memory()
    memory.note_vain(spots(0), promises(0.3), VAIN_GLANCE)
    for glanced, left in ((0.3, 0.0), (0.5, 0.2)):
        news = memory.news(spots(1, 100), promises(glanced, 0.06), UNEXPECTED)
        assert news.tolist() == pytest.approx([left, 0.06], abs=0.01)


def test_where_a_face_was_expected_in_vain_a_better_glance_is_news() -> None:
    memory = Memory()
    memory.note_vain(spots(0), promises(0.1), VAIN_HOPE)
    assert memory.news(spots(0), promises(0.1), EXPECTED[:1])[0] == pytest.approx(0.0, abs=0.01)
    assert memory.news(spots(0), promises(0.3), UNEXPECTED[:1])[0] == pytest.approx(0.2, abs=0.01)


def test_a_face_expected_where_a_glance_was_in_vain_is_news() -> None:
    memory = Memory()
    memory.note_vain(spots(0), promises(0.1), VAIN_GLANCE)
    assert memory.news(spots(0), promises(0.1), EXPECTED[:1])[0] == pytest.approx(0.4, abs=0.01)


def test_a_vain_look_is_forgotten() -> None:
    memory = Memory()
    memory.note_vain(spots(0), promises(0.3), VAIN_GLANCE)
    news = [float(memory.news(spots(0), promises(0.3), UNEXPECTED[:1])[0]) for _ in range(FORGET_AFTER + 1)]
    assert news[0] < MIN_PROMISE
    assert news[-1] == pytest.approx(0.3)


def test_the_latest_look_at_a_spot_counts() -> None:
    memory = Memory()
    memory.note_vain(spots(0), promises(0.5), VAIN_GLANCE)
    memory.note_vain(spots(1), promises(0.1), VAIN_GLANCE)
    assert memory.news(spots(0), promises(0.3), UNEXPECTED[:1])[0] == pytest.approx(0.2, abs=0.01)


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
