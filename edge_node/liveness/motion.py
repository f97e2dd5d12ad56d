"""What moves with a face and what stays with the scene: the map that tells a head from a sheet.

Pure. Two looks at the same part of the picture, some tenths of a second apart: the motion of the inner face
is fitted by one affine map, the scene's by a shift. Wherever the two predict different pixels, the later look
says which of them was right. On a living person hair and shoulders follow the face; on a sheet the corners
above the shoulders follow it too, up to a border. Called by `watch`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_node.tracking.track import Box
from vision.detections import Image

REACH = 1.5
"""A patch reaches so many face boxes from the face's center to each side."""
PATCH_PX = 72
"""Side of a patch: 24 pixels for a face are enough to follow it, and cheap."""
CELLS = 12
"""Cells along a side of the map: a quarter of a face box each."""
UNIT = PATCH_PX / (2 * REACH)
"""Patch pixels in a face box."""
THUMBNAIL_PX = 160
"""Width of the picture in which the scene's own motion is measured."""
GREEN = 1
"""The channel that is looked at: nearly the brightness, and three times cheaper to come by."""
DISTINCT = 1.2
"""Gray levels (root mean square) by which the two predictions of a cell must differ to say anything."""
STRAY_PX = 0.3
"""Patch pixels: a point of the face that is further from the fit counts less."""
MIN_POINTS = 8

Gray = NDArray[np.uint8]
Map = NDArray[np.float32]
"""(CELLS, CELLS), rows from top to bottom."""
Vector = NDArray[np.float64]

_SPOTS = np.linspace(-0.36, 0.36, 5)
_INNER = np.array([(x, y) for y in _SPOTS for x in _SPOTS if x * x + y * y < 0.2], np.float32)
_POINTS = (_INNER * UNIT + PATCH_PX / 2 - 0.5).astype(np.float32).reshape(-1, 1, 2)


@dataclass(frozen=True, slots=True)
class Patch:
    """A face and what is around it, at one analysis."""

    gray: Gray
    """(PATCH_PX, PATCH_PX)"""
    area: tuple[int, int, int, int]
    """left, top, right, bottom of it in the picture, whole pixels; may reach beyond the edges."""
    box: Box
    thumbnail: Gray
    """Of the whole picture."""
    at: float


@dataclass(frozen=True, slots=True)
class CoMotion:
    """What two looks at a face say about each cell."""

    moved: float
    """How far the face went relative to the scene, in face boxes."""
    stray: float
    """How far the points of the face are from moving as one plane, in face boxes."""
    with_face: Map
    """-1: the cell moved with the scene; 1: with the face."""
    weight: Map
    """Gray levels by which the two could be told apart; 0 where they could not."""


def thumbnail_of(image: Image) -> Gray:
    """A small version of a picture (H, W, 3), about THUMBNAIL_PX wide."""
    step = max(1, image.shape[1] // THUMBNAIL_PX)
    small = np.ascontiguousarray(image[step // 2 :: step, step // 2 :: step, GREEN])
    return np.asarray(cv2.blur(small, (3, 3)), np.uint8)


def area_of(box: Box) -> tuple[int, int, int, int]:
    """The part of the picture that belongs to the patch of a face box."""
    cx, cy = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    w, h = REACH * (box[2] - box[0]), REACH * (box[3] - box[1])
    return round(cx - w), round(cy - h), round(cx + w), round(cy + h)


def cut(image: Image, area: tuple[int, int, int, int]) -> Gray | None:
    """That part of a picture (H, W, 3) at the size of a patch; None where nothing of it is inside."""
    height, width = image.shape[:2]
    left, top, right, bottom = area
    x1, y1, x2, y2 = max(0, left), max(0, top), min(width, right), min(height, bottom)
    if x2 - x1 < 4 or y2 - y1 < 4:
        return None
    part = image[y1:y2, x1:x2, GREEN]
    if (x1, y1, x2, y2) != area:
        border = (y1 - top, bottom - y2, x1 - left, right - x2)
        part = np.asarray(cv2.copyMakeBorder(part, *border, cv2.BORDER_REPLICATE), np.uint8)
    step = max(1, min(part.shape) // (2 * PATCH_PX))  # averaging every pixel of a large face takes long
    few = np.ascontiguousarray(part[::step, ::step])
    return np.asarray(cv2.resize(few, (PATCH_PX, PATCH_PX), interpolation=cv2.INTER_AREA), np.uint8)


def take_patch(image: Image, box: Box, thumbnail: Gray, at: float) -> Patch | None:
    """The patch of a face box of a picture (H, W, 3); None where the face is outside."""
    area = area_of(box)
    gray = cut(image, area)
    return None if gray is None else Patch(gray, area, box, thumbnail, at)


def compare(before: Patch, image: Image, box: Box, scene_px: Vector) -> CoMotion | None:
    """What moved with the face between a patch and a later picture, in which the face is at `box`.

    scene_px: (2,) how far the scene moved meanwhile, in pixels of the picture (`scene_shift`). None where the
    face cannot be followed.
    """
    now = cut(image, before.area)
    if now is None:
        return None
    per_pixel = np.array(
        [UNIT / (before.box[2] - before.box[0]), UNIT / (before.box[3] - before.box[1])], np.float64
    )
    gone = np.array(
        [(box[0] + box[2] - before.box[0] - before.box[2]) / 2,
         (box[1] + box[3] - before.box[1] - before.box[3]) / 2]
    ) * per_pixel  # fmt: skip
    fitted = _face_motion(before.gray, now, gone)
    if fitted is None:
        return None
    face, stray = fitted
    scene = scene_px * per_pixel
    middle = np.array([PATCH_PX / 2, PATCH_PX / 2, 1.0])
    moved = float(np.linalg.norm(face @ middle - middle[:2] - scene)) / UNIT
    with_face, weight = _told_apart(before.gray, now, face, scene)
    return CoMotion(moved, stray / UNIT, with_face, weight)


def _face_motion(before: Gray, now: Gray, gone: Vector) -> tuple[Vector, float] | None:
    """The affine map (2, 3) that the points of the inner face follow, and the median stray from it (patch
    pixels). `gone`: where the box says that the face went."""
    guess = _POINTS + gone.astype(np.float32)
    there, is_found, _ = cv2.calcOpticalFlowPyrLK(
        before, now, _POINTS, guess, winSize=(11, 11), maxLevel=1,
        criteria=(cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 8, 0.02),
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )  # fmt: skip
    found = is_found.ravel() > 0
    if int(found.sum()) < MIN_POINTS:
        return None
    source = np.concatenate([_POINTS[found, 0], np.ones((int(found.sum()), 1), np.float32)], axis=1)
    source = source.astype(np.float64)
    target = there[found, 0].astype(np.float64)
    weights = np.ones(len(source))
    for _ in range(3):  # points of moving lips and eyes must not bend the fit
        weighted = source * weights[:, None]
        fit = np.linalg.solve(weighted.T @ source + 1e-3 * np.eye(3), weighted.T @ target)
        stray = np.hypot(*(source @ fit - target).T)
        weights = 1 / (1 + (stray / STRAY_PX) ** 2)
    return fit.T, float(np.median(stray))


def scene_shift(before: Gray, now: Gray, width_px: int) -> Vector:
    """(2,) how far most of a picture of `width_px` moved between two thumbnails of it, in its pixels; zero
    where nothing can be followed."""
    height, width = before.shape
    if before.shape != now.shape:
        return np.zeros(2)
    x, y = np.meshgrid(np.linspace(8, width - 8, 7), np.linspace(8, height - 8, 5))
    points = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32).reshape(-1, 1, 2)
    there, found, _ = cv2.calcOpticalFlowPyrLK(
        before, now, points, None, winSize=(9, 9), maxLevel=1,
        criteria=(cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 6, 0.03),
    )  # fmt: skip
    shifts = (there - points)[found.ravel() > 0, 0]
    if len(shifts) < MIN_POINTS:
        return np.zeros(2)
    return np.asarray(np.median(shifts, axis=0) * (width_px / width), np.float64)


def _told_apart(before: Gray, now: Gray, face: Vector, scene: Vector) -> tuple[Map, Map]:
    """Which of two motions each cell followed, and how well that can be told."""
    size = (PATCH_PX, PATCH_PX)
    shift = np.array([[1, 0, scene[0]], [0, 1, scene[1]]], np.float64)
    as_face = cv2.warpAffine(before, face, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    as_scene = cv2.warpAffine(before, shift, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    off_face, off_scene = _by_cell(now, as_face), _by_cell(now, as_scene)
    apart = _by_cell(as_face, as_scene)
    # Squares: a camera's noise adds the same to both and cancels, so slow motion tells as well, only slower.
    with_face = np.clip((off_scene - off_face) / np.maximum(apart, 1e-3), -1.0, 1.0)
    weight = np.sqrt(apart)
    weight[weight < DISTINCT] = 0.0
    return np.asarray(with_face, np.float32), np.asarray(weight, np.float32)


def _by_cell(a: Gray, b: Gray) -> Map:
    """Mean square of the difference."""
    difference = cv2.subtract(a, b, dtype=cv2.CV_32F)
    square = cv2.multiply(difference, difference)
    return np.asarray(cv2.resize(square, (CELLS, CELLS), interpolation=cv2.INTER_AREA), np.float32)
