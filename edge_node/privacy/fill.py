"""What a veiled region is filled with: colors that continue its surroundings, from a ring and nothing else.

Regions that touch are filled as one, so that no seam between two veils draws an outline. Given a picture in
which everything inside any region is zero already, and a mask that gives it no weight. Called by `veil` only.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.detections import Image

Ellipse = tuple[float, float, float, float]
"""Center x, center y and half axes, pixels."""

RING = 0.18
"""Width of the ring that the fill is computed from, in region sizes."""
FEATHER = 0.06
"""Width of the soft edge, in region sizes. It lies outside the region."""
FILL_PX = 22
"""A region is filled at about this size: the fill is smooth, more pixels would hold nothing more."""
MAX_FILL_PX = 72
"""And a group of regions at this size at most."""
THIN = 2
"""A patch is thinned to so many times the size of its fill before it is averaged."""
EDGE_PX = 3
"""A soft edge is computed at a size at which it is so wide."""
SHIFT = 4
"""Sub-pixel bits of OpenCV's drawing."""


@dataclass(frozen=True, slots=True)
class Patch:
    """A group of regions that touch, and the part of the picture around it."""

    rows: slice
    columns: slice
    own: Image
    """(h, w) uint8: 255 inside the group's ellipses."""
    known: Image
    """(h, w) uint8: 255 outside of every ellipse of the frame."""
    size: float
    """Of the group's smallest region: its half axes added, pixels."""


def draw(canvas: Image, ellipse: Ellipse, color: tuple[int, ...] = (255,)) -> None:
    """Fill one ellipse."""
    cx, cy, a, b = (round(v * (1 << SHIFT)) for v in ellipse)
    cv2.ellipse(canvas, (cx, cy), (a, b), 0, 0, 360, color, cv2.FILLED, cv2.LINE_8, SHIFT)


def patches(inside: Image, ellipses: list[Ellipse]) -> list[Patch]:
    """The ellipses of a frame in groups; those beyond the picture are left out.

    inside: (H, W) uint8, 255 inside all ellipses.
    """
    return [p for group in _groups(ellipses) if (p := _patch(inside, group)) is not None]


def _groups(ellipses: list[Ellipse]) -> list[list[Ellipse]]:
    """Ellipses whose boxes, soft edges included, touch belong to one group."""
    groups: list[list[Ellipse]] = []
    for ellipse in ellipses:
        touching = [g for g in groups if any(_touch(ellipse, other) for other in g)]
        groups = [g for g in groups if not any(g is t for t in touching)]
        groups.append([ellipse, *(e for group in touching for e in group)])
    return groups


def _touch(one: Ellipse, other: Ellipse) -> bool:
    soft = 1.0 + 4 * FEATHER
    return (
        abs(one[0] - other[0]) <= soft * (one[2] + other[2]) + 4
        and abs(one[1] - other[1]) <= soft * (one[3] + other[3]) + 4
    )


def _patch(inside: Image, group: list[Ellipse]) -> Patch | None:
    height, width = inside.shape
    rings = [max(6.0, RING * (a + b)) for _, _, a, b in group]
    x1 = max(0, int(min(cx - a - r for (cx, _, a, _), r in zip(group, rings, strict=True))))
    y1 = max(0, int(min(cy - b - r for (_, cy, _, b), r in zip(group, rings, strict=True))))
    x2 = min(width, int(max(cx + a + r for (cx, _, a, _), r in zip(group, rings, strict=True))) + 1)
    y2 = min(height, int(max(cy + b + r for (_, cy, _, b), r in zip(group, rings, strict=True))) + 1)
    if x1 >= x2 or y1 >= y2:
        return None
    rows, columns = slice(y1, y2), slice(x1, x2)
    own = np.zeros((y2 - y1, x2 - x1), np.uint8)
    for cx, cy, a, b in group:
        draw(own, (cx - x1, cy - y1, a, b))
    size = min(a + b for _, _, a, b in group)
    return Patch(rows, columns, own, cv2.bitwise_not(inside[rows, columns]), size)


def paint(image: Image, patch: Patch, fill: Image) -> None:
    """Paint one group (h, w, 3) over what is there: fully inside its ellipses, fading out around them."""
    weight = cv2.cvtColor(_soft_edge(patch.own, max(1.0, FEATHER * patch.size)), cv2.COLOR_GRAY2BGR)
    target = image[patch.rows, patch.columns]
    # Products of bytes: where the weight is 255 the first is 0 and the second the fill, exactly.
    rest = cv2.multiply(target, cv2.bitwise_not(weight), scale=1 / 255)
    target[:] = cv2.add(rest, cv2.multiply(fill, weight, scale=1 / 255))


def _soft_edge(own: Image, feather_px: float) -> Image:
    """(h, w) uint8: 255 inside the ellipses, falling to 0 over `feather_px` outside."""
    height, width = own.shape
    k = max(1, int(feather_px) // EDGE_PX)
    small = own[::k, ::k]
    reach = 2 * max(1, int(feather_px / k)) + 1
    soft = cv2.blur(cv2.dilate(small, np.ones((reach, reach), np.uint8)), (reach, reach))
    if k > 1:
        soft = cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.max(soft, own), np.uint8)


def smooth(image: Image, patch: Patch) -> Image:
    """(h, w, 3) uint8: colors that continue the known pixels smoothly into the unknown ones.

    Pull-push interpolation (Gortler, Grzeszczuk, Szeliski, Cohen, "The Lumigraph", SIGGRAPH 1996,
    section 3.3.3) on a reduced picture: a stand-in for the harmonic fill at a fixed, small cost.
    """
    height, width = patch.known.shape
    scale = min(1.0, FILL_PX / ((1 + 2 * RING) * patch.size), MAX_FILL_PX / max(height, width))
    size = (max(2, round(width * scale)), max(2, round(height * scale)))
    # Every k-th pixel is enough of a large patch: colors and weights are thinned alike.
    k = max(1, int(min(width / size[0], height / size[1]) / THIN))
    colors, known = image[patch.rows, patch.columns][::k, ::k], patch.known[::k, ::k]
    weighted = cv2.merge([*cv2.split(colors), known]).astype(np.float32)
    filled = _pull_push(cv2.resize(weighted, size, interpolation=cv2.INTER_AREA))
    filled = cv2.GaussianBlur(filled, (0, 0), 1.0)
    small = np.clip(filled, 0, 255).astype(np.uint8)
    # First smoothly to a few times the size, then cheaply.
    middle = (min(width, 4 * size[0]), min(height, 4 * size[1]))
    small = cv2.resize(small, middle, interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


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
    blend = np.minimum(np.maximum(share * np.float32(1.5) - np.float32(0.5), 0), 1)
    return np.asarray(known * blend + push * (1 - blend), np.float32)
