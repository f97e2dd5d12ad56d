"""Whether anything has changed but the people who are followed."""

from __future__ import annotations

import numpy as np

from edge_node.tracking.stillness import Stillness
from vision.detections import Image

NOBODY = np.zeros((0, 4), np.float32)
FACE = np.array([(600.0, 200.0, 700.0, 320.0)], np.float32)


def room(seed: int = 0, noise: float = 3.0) -> Image:
    """A wall with a lamp's gradient, and a sensor's noise."""
    dice = np.random.default_rng(seed)
    wall = np.linspace(60, 180, 1280)[None, :, None] + dice.normal(0, noise, (720, 1280, 3))
    return np.clip(wall, 0, 255).astype(np.uint8)


def with_patch(image: Image, left: int, top: int, side: int, by: int) -> Image:
    changed = image.astype(np.int16)
    changed[top : top + side, left : left + side] += by
    return np.clip(changed, 0, 255).astype(np.uint8)


def seen(image: Image) -> Stillness:
    stillness = Stillness()
    stillness.saw(image)
    return stillness


def test_noise_is_no_change() -> None:
    assert all(seen(room(0)).is_still(room(n), NOBODY) for n in range(1, 6))


def test_a_small_face_of_little_contrast_is() -> None:
    for left, top in ((5, 5), (1250, 690), (640, 360)):
        assert not seen(room(0)).is_still(with_patch(room(1), left, top, 20, 12), NOBODY)


def test_who_is_followed_may_change() -> None:
    assert seen(room(0)).is_still(with_patch(room(1), 610, 210, 80, 40), FACE)
    assert seen(room(0)).is_still(with_patch(room(1), 560, 380, 180, 40), FACE), "shoulders"


def test_who_stands_beside_them_may_not() -> None:
    assert not seen(room(0)).is_still(with_patch(room(1), 800, 210, 80, 40), FACE)


def test_a_picture_that_was_not_seen_or_of_another_size_is_not_still() -> None:
    assert not Stillness().is_still(room(), NOBODY)
    assert not seen(room()).is_still(room()[:360], NOBODY)
    stillness = seen(room())
    stillness.reset()
    assert not stillness.is_still(room(), NOBODY)


def test_another_light_is_a_change() -> None:
    assert not seen(room(0)).is_still(with_patch(room(1), 0, 0, 1280, 6), NOBODY)
