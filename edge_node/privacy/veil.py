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

from edge_node.frames import MaskedFrame, RawFrame, ReleaseReason
from edge_node.privacy import fill
from edge_node.privacy.decisions import Plan
from edge_node.tracking.track import Box
from vision.detections import Image

SOLID_BGR = (66, 58, 54)
"""Color of the solid style and of a frame that is veiled in full."""


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
    blocks: int = 6
    """Of `pixelate`: blocks across a region. Fewer hide more."""
    blur_sigma: float = 0.12
    """Of `blur`, in region sizes. More hides more."""

    def __post_init__(self) -> None:
        # The style is compared by identity below: a plain string would be painted as another one.
        object.__setattr__(self, "style", Style(self.style))
        if self.style in WEAK_STYLES and not self.allow_weak:
            raise ValueError(f"the style {self.style} can be undone by an attacker: set allow_weak too")
        if self.blocks < 1 or self.blur_sigma <= 0:
            raise ValueError("a region has a block at least, and a blur a size")
        if self.growth < 1.3:
            raise ValueError("a veil grown by less than 1.3 does not cover a face")


def mask(frame: RawFrame, plan: Plan, settings: VeilSettings) -> MaskedFrame:
    """The frame with everyone in `plan.veiled` veiled."""
    image = frame.image.copy()
    if settings.soft and plan.veiled:
        _paint_all(image, frame.image, plan, settings)
    else:
        for box in plan.veiled:
            fill.draw(image, _ellipse(box, settings.growth), SOLID_BGR)
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
    ellipses = [_ellipse(box, settings.growth) for box in plan.veiled]
    for ellipse in ellipses:
        fill.draw(image, ellipse, (0, 0, 0))
    # From here on `image` holds no pixel of any region.
    if settings.style in WEAK_STYLES:
        for ellipse in ellipses:
            fill.paint(image, ellipse, _weak_fill(source, ellipse, settings))
        return
    inside = region_mask(source.shape[:2], plan.veiled, settings.growth)
    is_plain = settings.style is Style.SOLID or bool(inside.all())
    filled = fill.plain(SOLID_BGR, inside.shape) if is_plain else fill.smooth(image, inside)
    for ellipse in ellipses:
        fill.paint(image, ellipse, filled)


def _weak_fill(source: Image, ellipse: fill.Ellipse, settings: VeilSettings) -> fill.Fill:
    """For the two styles that are computed from what they cover."""
    size = ellipse[2] + ellipse[3]
    if settings.style is Style.PIXELATE:
        block = max(2, round(size / settings.blocks))
        cells = (-(-source.shape[1] // block), -(-source.shape[0] // block))
        small = cv2.resize(source, cells, interpolation=cv2.INTER_AREA)
        small = cv2.resize(small, None, fx=block, fy=block, interpolation=cv2.INTER_NEAREST)
        return fill.Fill(np.asarray(small, np.uint8), 1)
    blurred = cv2.GaussianBlur(source, (0, 0), max(2.0, settings.blur_sigma * size))
    return fill.Fill(np.asarray(blurred, np.uint8), 1)


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
    ReleaseReason.GAP: "Veiled: catching up",
    ReleaseReason.DISORDERED: "Veiled: out of order",
    ReleaseReason.NO_SOURCE: "Camera lost",
    ReleaseReason.FAULT: "Veiled: a part has failed",
}


def region_mask(shape: tuple[int, int], boxes: tuple[Box, ...], growth: float) -> Image:
    """(H, W) uint8: 255 in the veiled ellipses, 0 outside. What lies inside is never read."""
    inside = np.zeros(shape, np.uint8)
    for box in boxes:
        fill.draw(inside, _ellipse(box, growth))
    return inside


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


def _ellipse(box: Box, growth: float) -> fill.Ellipse:
    """Center and half axes in pixels, kept to what OpenCV can draw."""
    x1, y1, x2, y2 = (min(max(v, -20_000.0), 20_000.0) for v in box)
    half = growth / 2
    return (x1 + x2) / 2, (y1 + y2) / 2, max(1.0, (x2 - x1) * half), max(1.0, (y2 - y1) * half)


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
