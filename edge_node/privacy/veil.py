"""Paints the veil, and is the only maker of `MaskedFrame`.

A veil is computed from a ring of pixels around the region and from nothing else: everything inside
*any* veiled region of the frame is set to zero and given no weight before a pixel is read (promise
5). Faces that may be seen are simply not painted; veils come last, over everything (promise 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_node.frames import MaskedFrame, RawFrame, ReleaseReason
from edge_node.privacy.decisions import Plan
from edge_node.tracking.track import Box
from vision.detections import Image

RING = 0.18
"""Width of the ring that the fill is computed from, in region sizes."""
FEATHER = 0.06
"""Width of the soft edge, in region sizes. It lies outside the region."""
FILL_PX = 26
"""The fill is solved at this size: it is smooth, more pixels would hold nothing more."""
THIN_PX = 72
"""A patch is thinned down to about this many pixels a side before it is averaged."""
SOLID_BGR = (66, 58, 54)
"""Color of the solid style and of a frame that is veiled in full."""
_SHIFT = 4
"""Sub-pixel bits of OpenCV's drawing."""


class Style(StrEnum):
    VEIL = "veil"
    """A smooth fill from the ring around the face."""
    SOLID = "solid"
    """One color."""
    PIXELATE = "pixelate"
    """A look only: large blocks of the face's own colors. Attackable."""
    BLUR = "blur"
    """A look only: the face's own colors, blurred. Attackable."""


WEAK_STYLES = (Style.PIXELATE, Style.BLUR)
"""Computed from the face itself: promise 5 does not hold for them, so they must be asked for twice."""
BLOCKS = 6
"""Blocks across a pixelated region."""
BLUR_SIGMA = 0.12
"""Of the blur, in region sizes."""


@dataclass(frozen=True, slots=True)
class VeilSettings:
    """How regions are painted."""

    style: Style = Style.VEIL
    growth: float = 1.4
    """The painted ellipse, in face boxes. 1.3 at least: MTCNN's boxes end above the chin."""
    captions: bool = True
    """Write the name below a face that is shown."""
    soft: bool = True
    """Soft edges and, for `veil`, the smooth fill. Without: plain ellipses, at a hundredth of the cost."""
    allow_weak: bool = False
    """Whoever chooses a weak style says that they know."""

    def __post_init__(self) -> None:
        if self.style in WEAK_STYLES and not self.allow_weak:
            raise ValueError(f"the style {self.style} can be undone by an attacker: set allow_weak too")
        if self.growth < 1.3:
            raise ValueError("a veil grown by less than 1.3 does not cover a face")


def mask(frame: RawFrame, plan: Plan, settings: VeilSettings) -> MaskedFrame:
    """The frame with everyone in `plan.veiled` veiled."""
    image = frame.image.copy()
    if settings.soft:
        _paint_all(image, frame.image, plan, settings)
    else:
        for box in plan.veiled:
            _draw(image, _ellipse(box, settings.growth), SOLID_BGR)
    if settings.captions:
        for face in plan.shown:
            _caption(image, face.name, face.box_xyxy)
    return MaskedFrame(
        seq=frame.seq,
        captured_at=frame.captured_at,
        pts_s=frame.pts_s,
        image=image,
        reason=ReleaseReason.COVERED,
        shown=plan.shown,
        veiled_count=len(plan.veiled),
    )


def _paint_all(image: Image, source: Image, plan: Plan, settings: VeilSettings) -> None:
    """Paint every region of a frame into `image`, a copy of `source`."""
    inside = region_mask(source.shape[:2], plan.veiled, settings.growth)
    regions = [r for box in plan.veiled if (r := _region(inside, box, settings.growth)) is not None]
    for region in regions:  # from here on `image` holds no pixel of any region
        patch = image[region.rows, region.columns]
        patch[:] = cv2.copyTo(patch, region.known)
    if settings.style in WEAK_STYLES:
        fills = [_weak_fill(source, region, settings.style) for region in regions]
    else:
        fills = [_fill(image, region, settings.style) for region in regions]
    for region, fill in zip(regions, fills, strict=True):
        _paint(image[region.rows, region.columns], region, fill)


def mask_fully(frame: RawFrame, reason: ReleaseReason) -> MaskedFrame:
    """A frame that shows nothing of the picture but its size, and says why."""
    if reason is ReleaseReason.COVERED:
        raise ValueError("a covered frame is not veiled in full")
    height, width = frame.image.shape[:2]
    return MaskedFrame(
        seq=frame.seq,
        captured_at=frame.captured_at,
        pts_s=frame.pts_s,
        image=blank(width, height, _WORDS[reason]),
        reason=reason,
    )


def notice(like: MaskedFrame | None, at: float, reason: ReleaseReason) -> MaskedFrame:
    """A frame without a captured one behind it: says why there is no picture, in its usual size."""
    height, width = like.image.shape[:2] if like is not None else (360, 640)
    return MaskedFrame(
        seq=like.seq if like is not None else 0,
        captured_at=at,
        pts_s=like.pts_s if like is not None else 0.0,
        image=blank(width, height, _WORDS[reason]),
        reason=reason,
    )


_WORDS = {
    ReleaseReason.LATE: "Veiled: catching up",
    ReleaseReason.NO_SOURCE: "Camera lost",
    ReleaseReason.FAULT: "Veiled: a part has failed",
}


def region_mask(shape: tuple[int, int], boxes: tuple[Box, ...], growth: float) -> Image:
    """(H, W) uint8: 255 in the veiled ellipses, 0 outside. What lies inside is never read."""
    inside = np.zeros(shape, np.uint8)
    for box in boxes:
        _draw(inside, _ellipse(box, growth))
    return inside


def _draw(canvas: Image, ellipse: tuple[float, float, float, float], color: tuple[int, ...] = (255,)) -> None:
    cx, cy, a, b = (round(v * (1 << _SHIFT)) for v in ellipse)
    cv2.ellipse(canvas, (cx, cy), (a, b), 0, 0, 360, color, cv2.FILLED, cv2.LINE_8, _SHIFT)


def blank(width: int, height: int, words: str) -> Image:
    """(H, W, 3) uint8 BGR: one color and a line of text."""
    image = np.empty((height, width, 3), np.uint8)
    image[:] = SOLID_BGR
    size = max(10, min(width // 16, height // 10))
    left, top, text_width, text_height = cv2.getTextSize((0, 0), words, (0, 0), _FACE, size)
    origin = ((width - text_width) // 2 - left, (height - text_height) // 2 - top)
    cv2.putText(image, words, origin, (210, 205, 200), _FACE, size, weight=500)
    return image


_FACE = cv2.FontFace("sans")


def _ellipse(box: Box, growth: float) -> tuple[float, float, float, float]:
    """Center and half axes in pixels, kept to what OpenCV can draw."""
    x1, y1, x2, y2 = (min(max(v, -20_000.0), 20_000.0) for v in box)
    half = growth / 2
    return (x1 + x2) / 2, (y1 + y2) / 2, max(1.0, (x2 - x1) * half), max(1.0, (y2 - y1) * half)


@dataclass(frozen=True, slots=True)
class _Region:
    """One ellipse and the patch of the picture around it."""

    rows: slice
    columns: slice
    own: Image
    """(h, w) uint8: 255 inside this ellipse."""
    known: Image
    """(h, w) uint8: 255 outside of every ellipse of the frame."""
    size: float
    """Half axes added, pixels."""


def _region(inside: Image, box: Box, growth: float) -> _Region | None:
    """The region of a face box; None where it lies beyond the picture."""
    cx, cy, a, b = _ellipse(box, growth)
    ring = max(6.0, RING * (a + b))
    height, width = inside.shape
    x1, x2 = max(0, int(cx - a - ring)), min(width, int(cx + a + ring) + 1)
    y1, y2 = max(0, int(cy - b - ring)), min(height, int(cy + b + ring) + 1)
    if x1 >= x2 or y1 >= y2:
        return None
    rows, columns = slice(y1, y2), slice(x1, x2)
    own = np.zeros((y2 - y1, x2 - x1), np.uint8)
    _draw(own, (cx - x1, cy - y1, a, b))
    return _Region(rows, columns, own, cv2.bitwise_not(inside[rows, columns]), a + b)


def _fill(image: Image, region: _Region, style: Style) -> Image:
    """(h, w, 3) uint8: what the region is painted with, from the known pixels around it."""
    patch = image[region.rows, region.columns]
    if style is Style.SOLID or not region.known.any():
        fill = np.empty_like(patch)
        fill[:] = SOLID_BGR
        return fill
    return _smooth_fill(patch, region.known)


def _weak_fill(source: Image, region: _Region, style: Style) -> Image:
    """(h, w, 3) uint8 for the two styles that are computed from what they cover."""
    patch = source[region.rows, region.columns]
    height, width = patch.shape[:2]
    if style is Style.PIXELATE:
        small = cv2.resize(patch, (BLOCKS, BLOCKS), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)
    return np.asarray(cv2.GaussianBlur(patch, (0, 0), max(2.0, BLUR_SIGMA * region.size)), np.uint8)


def _paint(patch: Image, region: _Region, fill: Image) -> None:
    """Paint one region over what is there: fully inside its ellipse, fading out around it."""
    weight = _soft_edge(region.own, max(1.0, FEATHER * region.size))
    # blendLinear divides by the sum of the weights: exactly the fill where the weight is one.
    patch[:] = cv2.blendLinear(np.ascontiguousarray(patch), fill, 1.0 - weight, weight)


def _soft_edge(own: Image, feather_px: float) -> NDArray[np.float32]:
    """(H, W) float32: exactly 1 inside the ellipse, falling to 0 over `feather_px` outside."""
    reach = 2 * int(feather_px) + 1
    wide = cv2.dilate(own, np.ones((reach, reach), np.uint8))
    soft = cv2.blur(wide, (reach, reach)).astype(np.float32) * np.float32(1 / 255)
    soft[own > 0] = 1.0
    return np.asarray(soft, np.float32)


def _smooth_fill(patch: Image, known: Image) -> Image:
    """(h, w, 3) uint8: colors that continue the known pixels smoothly into the unknown ones.

    Pull-push interpolation (Gortler, Grzeszczuk, Szeliski, Cohen, "The Lumigraph", SIGGRAPH 1996,
    section 3.3.3) on a reduced picture: a stand-in for the harmonic fill at a fixed, small cost.
    """
    height, width = known.shape
    # Every k-th pixel is enough of a large patch: colors and weights are thinned alike.
    k = max(1, min(height, width) // THIN_PX)
    patch, known = patch[::k, ::k], known[::k, ::k]
    scale = min(1.0, FILL_PX / max(height, width))
    size = (max(2, round(width * scale)), max(2, round(height * scale)))
    weighted = cv2.merge([*cv2.split(patch), known]).astype(np.float32)
    filled = _pull_push(cv2.resize(weighted, size, interpolation=cv2.INTER_AREA))
    filled = cv2.GaussianBlur(filled, (0, 0), 1.0)
    small = np.clip(filled, 0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


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


def _caption(image: Image, name: str, box: Box) -> None:
    """Write a name on a plate below a shown face."""
    size = int(min(28, max(12, (box[2] - box[0]) * 0.16)))
    left, top, width, height = cv2.getTextSize((0, 0), name, (0, 0), _FACE, size)
    pad = size // 3
    x = int((box[0] + box[2]) / 2 - width / 2)
    y = int(box[3]) + size // 2
    x = min(max(pad, x), max(pad, image.shape[1] - width - pad))
    y = min(max(0, y), max(0, image.shape[0] - height - 2 * pad))
    plate = image[y : y + height + 2 * pad, max(0, x - pad) : x + width + pad]
    np.copyto(plate, (plate * 0.35).astype(np.uint8))
    cv2.putText(image, name, (x - left, y + pad - top), (245, 245, 245), _FACE, size, weight=500)
