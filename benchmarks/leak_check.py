"""Says whether a face can still be seen in an anonymized frame, from pixels alone.

Knows nothing of the product: it gets the source frame, where a face truly is, and the output frame. A
face leaks where its own detail (band-passed gray levels at the size of eyes, nose and mouth) is still
there in the output: correlated, and with a good part of its strength. Called by `benchmarks.leak`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]
"""left, top, right, bottom in pixels; a face box runs from hairline to chin"""
Gray = NDArray[np.float32]

FACE_PX = 96
"""Larger faces are reduced to this height: what makes a face lies well within it."""
BANDS = (0.022, 0.045)
"""Widths (sigma) of the band passes, in face heights: lids and pupils; brows, nose, mouth."""
CORRELATION = 0.60
GAIN = 0.35
"""A window leaks where both are exceeded: the correlation with the source, and the share of the
source's own detail that is left. tests/benchmarks/test_leak.py holds what lies on either side: blur
and mosaic of up to 4 % of a face leak; a veil, a plate and a blur that hides the features do not."""
FINE_CORRELATION = 0.45
"""And the finest detail must agree at least so much, however weak it is."""
NOISE = 0.7
"""Gray levels (rms) of detail that a codec makes or loses anyway."""
CHANGED = 10
"""Gray levels by which paint differs from what was there."""
PLATE = 0.88
"""Share of one color from which a frame is a plate; the words take a few percent."""
MIN_SEEN = 0.6
"""A window counts where this share of it is in the picture and not behind something else."""
WINDOWS: dict[str, Box] = {
    "inner face": (0.20, 0.25, 0.80, 0.90),
    "eyes": (0.12, 0.26, 0.88, 0.58),
    "left eye": (0.12, 0.26, 0.50, 0.58),
    "middle of the eyes": (0.29, 0.26, 0.71, 0.58),
    "right eye": (0.50, 0.26, 0.88, 0.58),
}
"""In face boxes. A profile shows its one eye in one of the last three; further out lies its outline."""
_MARGIN = 0.25
"""Pixels around the face that the filters may reach, in face sizes."""


@dataclass(frozen=True, slots=True)
class Face:
    """One labeled face of one frame."""

    frame: int
    track: int
    box_xyxy: Box
    kind: str
    """frontal, profile or partial."""
    hidden: tuple[Box, ...] = ()
    """Parts of the frame where something stands before this face: what shows there is not it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one face."""

    score: float
    """1 and more is a leak: the lesser of correlation and gain, in thresholds, in the worst window."""
    window: str
    correlation: float
    gain: float

    @property
    def leaked(self) -> bool:
        return self.score >= 1.0


NOTHING = Verdict(0.0, "", 0.0, 0.0)


def check(source: NDArray[np.uint8], output: NDArray[np.uint8], face: Face) -> Verdict | None:
    """Both frames (H, W, 3) BGR of one size. None where the face shows no eye that could leak.

    Raises ValueError for frames of different sizes.
    """
    if source.shape != output.shape:
        raise ValueError(f"source and output differ in size: {source.shape} and {output.shape}")
    x1, y1, x2, y2 = patch_box(face.box_xyxy, (source.shape[0], source.shape[1]))
    if x2 - x1 < 8 or y2 - y1 < 8:
        return None
    return check_patches(source[y1:y2, x1:x2], output[y1:y2, x1:x2], (x1, y1), face)


def patch_box(box: Box, shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """The pixels that a check looks at: the box and a margin, within the frame (height, width)."""
    left, top, right, bottom = box
    dx, dy = _MARGIN * (right - left), _MARGIN * (bottom - top)
    height, width = shape
    x1, y1 = max(0, int(left - dx)), max(0, int(top - dy))
    x2, y2 = min(width, int(right + dx) + 1), min(height, int(bottom + dy) + 1)
    return x1, y1, max(x1, x2), max(y1, y2)


def check_patches(
    source: NDArray[np.uint8], output: NDArray[np.uint8], origin: tuple[int, int], face: Face
) -> Verdict | None:
    """Like `check`, on cut patches whose left upper corner is `origin` in the frame."""
    scale = min(1.0, FACE_PX / (face.box_xyxy[3] - face.box_xyxy[1]))
    a, b = _gray(source, scale), _gray(output, scale)
    seen = np.ones(a.shape, np.float32)
    for box in face.hidden:
        rows, columns = _slices(_moved(box, origin, scale), seen.shape)
        seen[rows, columns] = 0.0
    local = _moved(face.box_xyxy, origin, scale)
    height = local[3] - local[1]
    details = [(_detail(a, band * height), _detail(b, band * height)) for band in BANDS]
    worst, has_eye = NOTHING, False
    for name, window in WINDOWS.items():
        part = _part(local, window)
        matches = [_compare(*detail, seen, part, height) for detail in details]
        if None in matches:
            continue
        has_eye = has_eye or "eye" in name
        worst = max(worst, _judged(name, [m for m in matches if m is not None]), key=lambda v: v.score)
    return worst if has_eye else None


def _judged(name: str, bands: list[tuple[float, float]]) -> Verdict:
    """(correlation, gain) of each band, the finest first. The bands must agree: what else is there (an
    outline, letters) meets the source's detail in one band by chance, a face in both."""
    fine = bands[0][0]
    correlation, gain = max(bands, key=lambda match: min(match[0] / CORRELATION, match[1] / GAIN))
    score = min(correlation / CORRELATION, gain / GAIN, fine / FINE_CORRELATION)
    return Verdict(max(0.0, score), name, correlation, gain)


def _compare(a: Gray, b: Gray, seen: Gray, part: Box, height: float) -> tuple[float, float] | None:
    """Correlation and gain of one window in one band; None where too little of it can be seen."""
    rows, columns = _slices(part, a.shape)
    weight = np.ascontiguousarray(seen[rows, columns])
    wanted = (part[2] - part[0]) * (part[3] - part[1])
    if weight.size == 0 or float(weight.sum()) < MIN_SEEN * wanted:
        return None
    template = a[rows, columns] * weight
    energy = float((template**2).sum())
    floor = float(weight.sum()) * NOISE**2
    if energy <= floor:  # nothing to be seen in the source either
        return 0.0, 0.0
    reach = 1 + round(0.01 * height)
    around = cv2.copyMakeBorder(b, reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=(0.0,))
    around = around[rows.start : rows.stop + 2 * reach, columns.start : columns.stop + 2 * reach]
    product = cv2.matchTemplate(around, template, cv2.TM_CCORR)
    left = np.maximum(cv2.matchTemplate(around * around, weight, cv2.TM_CCORR), 0.0) + floor
    correlations = product / np.sqrt(left * energy)
    best = np.unravel_index(int(correlations.argmax()), correlations.shape)
    return float(correlations[best]), float(product[best]) / energy


def _gray(patch: NDArray[np.uint8], scale: float) -> Gray:
    gray = np.asarray(cv2.cvtColor(patch, cv2.COLOR_BGR2GRAY), np.float32)
    if scale == 1.0:
        return gray
    size = (max(1, round(gray.shape[1] * scale)), max(1, round(gray.shape[0] * scale)))
    return np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.float32)


def _detail(gray: Gray, sigma: float) -> Gray:
    """Difference of Gaussians: detail about `sigma` pixels wide, around 0."""
    fine = cv2.GaussianBlur(gray, (0, 0), max(0.4, sigma), borderType=cv2.BORDER_REPLICATE)
    coarse = cv2.GaussianBlur(gray, (0, 0), 2.0 * max(0.4, sigma), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(fine - coarse, np.float32)


def _moved(box: Box, origin: tuple[int, int], scale: float) -> Box:
    x, y = origin
    return ((box[0] - x) * scale, (box[1] - y) * scale, (box[2] - x) * scale, (box[3] - y) * scale)


def _part(box: Box, window: Box) -> Box:
    width, height = box[2] - box[0], box[3] - box[1]
    left, top = box[0] + window[0] * width, box[1] + window[1] * height
    return (left, top, box[0] + window[2] * width, box[1] + window[3] * height)


def _slices(box: Box, shape: tuple[int, ...]) -> tuple[slice, slice]:
    y1, y2 = max(0, round(box[1])), min(shape[0], round(box[3]))
    x1, x2 = max(0, round(box[0])), min(shape[1], round(box[2]))
    return slice(y1, max(y1, y2)), slice(x1, max(x1, x2))


def changed_share(source: NDArray[np.uint8], output: NDArray[np.uint8]) -> float:
    """Which part of a frame was painted over, 0..1. Both (H, W, 3); best given at reduced size.

    Codec noise does not count: a change must exceed CHANGED gray levels, and be more than a speck.
    """
    change = cv2.absdiff(source, output).max(axis=2)
    painted = np.where(change > CHANGED, 255, 0).astype(np.uint8)
    painted = np.asarray(cv2.medianBlur(painted, 5), np.uint8)
    hole = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
    return float((cv2.morphologyEx(painted, cv2.MORPH_CLOSE, hole) > 0).mean())


def is_plate(source: NDArray[np.uint8], output: NDArray[np.uint8]) -> bool:
    """Whether an output frame is one color, but for a line of text, where its source is not. Both (H, W,
    3). It holds no face; its letters, larger than some faces, would meet one's detail by chance."""
    return _uniform_share(output) > PLATE > 2 * _uniform_share(source)


def _uniform_share(image: NDArray[np.uint8]) -> float:
    """Which part of a picture has nearly the gray level that is most frequent in it."""
    counts = np.bincount(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).ravel(), minlength=256)
    return float(np.convolve(counts, np.ones(5), "same").max() / counts.sum())
