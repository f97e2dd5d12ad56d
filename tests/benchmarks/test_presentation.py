"""Drawn attacks: the same number gives the same picture, and the box is where the face is."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from benchmarks.presentation import Outcome
from benchmarks.presentation_attacks import Attack, make_sheet, render
from vision.detections import Image

FACE = (80.0, 70.0, 170.0, 188.0)
GRAY = np.full((360, 640, 3), 120, np.uint8)


def photo() -> Image:
    """A green face on red."""
    picture = np.zeros((250, 250, 3), np.uint8)
    picture[..., 2] = 200
    picture[70:188, 80:170] = (0, 200, 0)
    return picture


@pytest.mark.parametrize(
    "attack",
    [
        Attack("print", face_px=60.0),
        Attack("print", face_px=60.0, bend=0.3),
        Attack("phone", margin=0.3, face_px=60.0, moire=0.05, banding=0.05),
        Attack("phone", margin=0.3, face_px=60.0, fills=True),
    ],
)
def test_the_box_is_where_the_face_is(attack: Attack) -> None:
    sheet = make_sheet(attack, photo(), FACE)
    for n in (0, 20, 40):
        image, (x1, y1, x2, y2) = render(attack, sheet, lambda _: GRAY, n)
        x, y = round((x1 + x2) / 2), round((y1 + y2) / 2)
        blue, green, red = cv2.mean(image[y - 8 : y + 8, x - 8 : x + 8])[:3]
        assert green > max(blue, red) + 40
        assert 40 < x2 - x1 < 90


def test_the_same_number_gives_the_same_picture() -> None:
    attack = Attack("print")
    sheet = make_sheet(attack, photo(), FACE)
    one, other = (render(attack, sheet, lambda _: GRAY, 7) for _ in range(2))
    np.testing.assert_array_equal(one[0], other[0])
    assert one[1] == other[1]


def test_a_stand_does_not_move() -> None:
    attack = Attack("print", sway=0.0, shake=0.0, tilt_deg=0.0)
    sheet = make_sheet(attack, photo(), FACE)
    boxes = [render(attack, sheet, lambda _: GRAY, n)[1] for n in (0, 30)]
    assert boxes[0] == pytest.approx(boxes[1], abs=1e-6)


def test_missed_is_what_can_be_shown_at_the_end() -> None:
    assert Outcome(late=4, late_shown=3).is_missed
    assert not Outcome(late=4, late_shown=2).is_missed
    assert not Outcome().is_missed
