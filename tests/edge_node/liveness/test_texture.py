"""A display's pattern stands out of a spectrum; a face's own structure does not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge_node.liveness.texture import SIDE_PX, screen_pattern
from tests.edge_node.liveness.drawn import frame, texture
from vision.detections import Image

BOX = (100.0, 80.0, 260.0, 240.0)


def with_grid(image: Image, strength: float, fx: float, fy: float) -> Image:
    y, x = np.mgrid[0 : image.shape[0], 0 : image.shape[1]]
    grid = 1 + strength * np.sin(2 * np.pi * (fx * x + fy * y))
    return np.asarray(np.clip(image * grid[..., None], 0, 255), np.uint8)


@pytest.mark.parametrize(("fx", "fy"), [(0.3, 0.0), (0.0, 0.27), (0.21, 0.33)])
def test_a_grid_is_seen(fx: float, fy: float) -> None:
    pattern = screen_pattern(with_grid(frame("head", 0), 0.04, fx, fy), BOX)
    assert pattern is not None
    assert pattern > 5.0


@pytest.mark.parametrize("grain", [0.8, 2.0, 6.0])
def test_texture_and_noise_are_no_grid(grain: float) -> None:
    for seed in range(8):
        pattern = screen_pattern(texture(360, 480, seed, grain), BOX)
        assert pattern is not None
        assert pattern < 4.0


def test_a_small_face_or_one_at_the_edge_says_nothing() -> None:
    image = frame("head", 0)
    assert screen_pattern(image, (100.0, 80.0, 100.0 + SIDE_PX - 1, 240.0)) is None
    assert screen_pattern(image, (-60.0, 80.0, 60.0, 240.0)) is None


def test_a_flat_picture_has_no_pattern() -> None:
    flat = np.full((360, 480, 3), 90, np.uint8)
    assert screen_pattern(flat, BOX) == pytest.approx(0.0, abs=1e-6)
    assert screen_pattern(cv2.GaussianBlur(frame("head", 0), (0, 0), 4), BOX) is not None
