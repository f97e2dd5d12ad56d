"""The packed pyramid: levels that keep their distance, and what they are drawn from."""

from __future__ import annotations

from itertools import combinations

import cv2
import numpy as np
import pytest

from vision.pyramid import GAP_PX, Level, plan_pyramid

SHAPES = [(720, 1280), (1080, 1920), (480, 640), (1281, 721), (97, 1000), (30, 30), (5, 7)]


def are_apart(a: Level, b: Level) -> bool:
    beside = a.left + a.width + GAP_PX <= b.left or b.left + b.width + GAP_PX <= a.left
    return beside or a.top + a.height + GAP_PX <= b.top or b.top + b.height + GAP_PX <= a.top


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("min_face_px", [12.0, 20.0, 32.0, 57.3])
def test_levels_lie_apart_on_the_grid_inside_the_packed_picture(
    shape: tuple[int, int], min_face_px: float
) -> None:
    pyramid = plan_pyramid(shape, min_face_px, 0.709)
    height, width = pyramid.shape
    for level in pyramid.levels:
        assert level.left % 2 == level.top % 2 == 0
        assert level.left + level.width <= width
        assert level.top + level.height <= height
    assert all(are_apart(a, b) for a, b in combinations(pyramid.levels, 2))


def test_little_of_the_packed_picture_is_empty() -> None:
    pyramid = plan_pyramid((720, 1280), 20, 0.709)
    used = sum(level.width * level.height for level in pyramid.levels)
    assert used > 0.88 * pyramid.shape[0] * pyramid.shape[1]


def test_a_level_is_what_an_area_average_of_the_picture_shows() -> None:
    rng = np.random.default_rng(0)
    smooth = cv2.GaussianBlur(rng.normal(size=(240, 320, 3)), (0, 0), 4)
    image = cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    for halving, off in ((False, 0.0), (True, 6.0)):
        pyramid = plan_pyramid((240, 320), 20, 0.709, halving)
        packed = pyramid.pack(image)
        for level in pyramid.levels:
            part = packed[level.top : level.top + level.height, level.left : level.left + level.width]
            averaged = cv2.resize(image, (level.width, level.height), interpolation=cv2.INTER_AREA)
            assert np.abs(part - averaged).mean() <= off


@pytest.mark.parametrize("parts", [1, 3, 16])
def test_the_strips_hold_every_row_of_cells_and_what_they_see(parts: int) -> None:
    image = np.random.default_rng(1).integers(0, 256, (240, 320, 3), np.uint8)
    pyramid = plan_pyramid((240, 320), 20, 0.709, halving=True)
    whole = pyramid.pack(image).copy()
    rows = set()
    for part in range(parts):
        first, count = pyramid.strip(part, parts)
        rows |= set(range(first, first + count))
        strip = pyramid.pack(image, first, count)
        assert np.array_equal(strip, whole[2 * first : 2 * first + len(strip)])
    assert rows >= set(range((pyramid.shape[0] - 12) // 2 + 1))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("min_face_px", [20.0, 57.3])
def test_both_halves_hold_all_cells_of_every_level(shape: tuple[int, int], min_face_px: float) -> None:
    pyramid = plan_pyramid(shape, min_face_px, 0.709)
    halves = pyramid.halves()
    for level in pyramid.levels:
        rows, _ = level.cells
        holding = [first for first, count in halves if first <= rows.start and rows.stop <= first + count]
        assert len(holding) == 1 or rows.start >= rows.stop
    assert sum(count for _, count in halves) <= (pyramid.shape[0] - 12) // 2 + 1
    if max(shape) > 600 and min(shape) > 200:
        (_, above), (_, below) = halves
        assert 0.4 < above / (above + below) < 0.6


@pytest.mark.parametrize("shape", [(240, 320), (241, 327), (97, 200)])
def test_blocks_are_the_packed_picture_by_twos(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(2).integers(0, 256, (*shape, 3), np.uint8)
    pyramid = plan_pyramid(shape, 20, 0.709, halving=True)
    packed, blocks = pyramid.pack(image), pyramid.pack_blocks(image)
    height, width = pyramid.shape
    pixels = (
        blocks.reshape(height // 2, width // 2, 2, 2, 3).transpose(0, 2, 1, 3, 4).reshape(height, width, 3)
    )
    for level in pyramid.levels:
        rows = slice(level.top, level.top + level.height)
        columns = slice(level.left, level.left + level.width)
        assert np.array_equal(pixels[rows, columns], packed[rows, columns])
        if level.height % 2:
            assert np.array_equal(pixels[rows.stop, columns], pixels[rows.stop - 1, columns])


def test_a_strip_of_blocks_is_that_of_the_whole() -> None:
    image = np.random.default_rng(1).integers(0, 256, (240, 320, 3), np.uint8)
    pyramid = plan_pyramid((240, 320), 20, 0.709, halving=True)
    whole = pyramid.pack_blocks(image).copy()
    first, count = pyramid.strip(1, 3)
    strip = pyramid.pack_blocks(image, first, count)
    assert np.array_equal(strip, whole[first : first + len(strip)])
