"""What veiled regions are filled with: colors that continue their surroundings, and nothing else.

Given a picture in which everything inside any region is zero already, and a mask that gives it no weight, one
fill is solved for the whole frame on a coarse grid; so no seam between two veils draws an outline, and many
faces cost hardly more than one. Called by `veil` only.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.detections import Image

Ellipse = tuple[float, float, float, float]
"""Center x, center y and half axes, pixels."""

FEATHER = 0.06
"""Width of the soft edge, in region sizes. It lies outside the region."""
GRID = 90
"""Cells along the picture's shorter side at most: the fill is smooth, more would hold nothing more."""
EDGE_PX = 3
"""A soft edge is computed at a size at which it is so wide."""
SHIFT = 4
"""Sub-pixel bits of OpenCV's drawing."""


@dataclass(frozen=True, slots=True)
class Fill:
    """Colors for every place of a frame; `part` gives them at full size."""

    colors: Image
    """(h, w, 3) uint8, a cell each."""
    cell_px: int

    def part(self, box: tuple[int, int, int, int]) -> Image:
        """The colors (h, w, 3) of a box (left, top, right, bottom) within the frame."""
        k = self.cell_px
        rows, columns = self.colors.shape[:2]
        # A cell more on each side, so that all of the box is interpolated alike.
        x1, y1 = max(0, box[0] // k - 1), max(0, box[1] // k - 1)
        x2, y2 = min(columns, box[2] // k + 2), min(rows, box[3] // k + 2)
        # Beyond the last whole cell of the picture its color goes on.
        x1, y1 = min(x1, columns - 1), min(y1, rows - 1)
        large = cv2.resize(self.colors[y1:y2, x1:x2], None, fx=k, fy=k, interpolation=cv2.INTER_LINEAR)
        right, below = box[2] - x1 * k - large.shape[1], box[3] - y1 * k - large.shape[0]
        if right > 0 or below > 0:
            large = cv2.copyMakeBorder(large, 0, max(0, below), 0, max(0, right), cv2.BORDER_REPLICATE)
        left, top = box[0] - x1 * k, box[1] - y1 * k
        return np.asarray(large[top : top + box[3] - box[1], left : left + box[2] - box[0]], np.uint8)


def draw(canvas: Image, ellipse: Ellipse, color: tuple[int, ...] = (255,)) -> None:
    """Fill one ellipse."""
    cx, cy, a, b = (round(v * (1 << SHIFT)) for v in ellipse)
    cv2.ellipse(canvas, (cx, cy), (a, b), 0, 0, 360, color, cv2.FILLED, cv2.LINE_8, SHIFT)


def plain(color: tuple[int, int, int], shape: tuple[int, int]) -> Fill:
    """One color for a frame (height, width)."""
    return Fill(np.full((1, 1, 3), color, np.uint8), max(shape))


def smooth(image: Image, inside: Image) -> Fill:
    """Colors that continue the known pixels smoothly into the unknown ones.

    inside: (H, W) uint8, 255 inside all regions of the frame, where `image` (H, W, 3) must be zero; not
    everywhere. Pull-push interpolation (Gortler, Grzeszczuk, Szeliski, Cohen, "The Lumigraph", SIGGRAPH
    1996, section 3.3.3) on a reduced picture: a stand-in for the harmonic fill at a fixed, small cost.
    """
    height, width = inside.shape
    k = -(-min(height, width) // GRID)
    size = (width // k, height // k)
    thin = next(t for t in (4, 3, 2, 1) if k % t == 0)  # some rows of each cell are enough to average
    rows, columns = slice(0, size[1] * k, thin), slice(0, size[0] * k)
    colors = cv2.resize(image[rows, columns], size, interpolation=cv2.INTER_AREA)
    known = 255 - cv2.resize(inside[rows, columns], size, interpolation=cv2.INTER_AREA)
    filled = _pull_push(cv2.merge([*cv2.split(colors), known]).astype(np.float32))
    filled = cv2.GaussianBlur(filled, (0, 0), 1.0)
    return Fill(np.clip(filled, 0, 255).astype(np.uint8), k)


def paint(image: Image, ellipse: Ellipse, fill: Fill) -> None:
    """Paint one region over what is there: fully inside its ellipse, fading out around it."""
    cx, cy, a, b = ellipse
    feather_px = max(1.0, FEATHER * (a + b))
    reach = 2 * feather_px + 2
    x1, x2 = max(0, int(cx - a - reach)), min(image.shape[1], int(cx + a + reach) + 1)
    y1, y2 = max(0, int(cy - b - reach)), min(image.shape[0], int(cy + b + reach) + 1)
    if x1 >= x2 or y1 >= y2:
        return
    own = np.zeros((y2 - y1, x2 - x1), np.uint8)
    draw(own, (cx - x1, cy - y1, a, b))
    weight = cv2.cvtColor(_soft_edge(own, feather_px), cv2.COLOR_GRAY2BGR)
    target = image[y1:y2, x1:x2]
    # Products of bytes: where the weight is 255 the first is 0 and the second the color, exactly.
    rest = cv2.multiply(target, cv2.bitwise_not(weight), scale=1 / 255)
    target[:] = cv2.add(rest, cv2.multiply(fill.part((x1, y1, x2, y2)), weight, scale=1 / 255))


def _soft_edge(own: Image, feather_px: float) -> Image:
    """(h, w) uint8: 255 inside the ellipse, falling to 0 over `feather_px` outside."""
    height, width = own.shape
    k = max(1, int(feather_px) // EDGE_PX)
    small = own[::k, ::k]
    reach = 2 * max(1, int(feather_px / k)) + 1
    soft = cv2.blur(cv2.dilate(small, np.ones((reach, reach), np.uint8)), (reach, reach))
    if k > 1:
        soft = cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.max(soft, own), np.uint8)


def _pull_push(weighted: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h, w, 4) colors times weight, and the weight in 0..255 -> filled colors (h, w, 3)."""
    height, width = weighted.shape[:2]
    share = weighted[..., 3:] * np.float32(1 / 255)
    known = weighted[..., :3] / np.maximum(share, np.float32(1e-6))
    if max(height, width) <= 2:
        total = max(float(share.sum()), 1e-6)
        mean = weighted[..., :3].sum(axis=(0, 1)) / np.float32(total)
        return np.asarray(known * share + mean * (1 - share), np.float32)
    half = (max(1, (width + 1) // 2), max(1, (height + 1) // 2))
    coarse = _pull_push(cv2.resize(weighted, half, interpolation=cv2.INTER_AREA).reshape(half[1], half[0], 4))
    push = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    # A cell hardly known is not trusted.
    blend = np.minimum(np.maximum(share * np.float32(1.8) - np.float32(0.2), 0), 1)
    return np.asarray(push + (known - push) * blend, np.float32)
