"""How useful a crop is for recognition: size, sharpness, pose, exposure, what covers the face.

Used by the node (is this crop worth a question?), by the hub (how much does this look weigh?) and by
enrollment (is this photo good enough?). `overall` foretells how much nearer the crop's embedding lies to its
own person than to the most similar strangers: a small quadratic model of 48 measures, fitted by
`benchmarks/quality.py`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from math import log, log1p, sqrt
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.crops import CROP_PX, GROWTH, FaceCrop
from vision.detections import Image

Vector = NDArray[np.float32]
MODEL_FILE = Path(__file__).parent / "quality_model.json"
FULL_SIZE_PX = 44.0
"""Of a face's box: smaller faces are judged worse than the model says, and at LEAST_SIZE_PX worthless."""
LEAST_SIZE_PX = 14.0
SHARP_VARIANCE = 136.0
"""Variance of the Laplacian, at a common scale of 112 px, of a face in focus (LFW's median is about
this; a face blurred by 2 px falls to a quarter of it)."""
SIDE = 24
"""Pixels of the small picture of the face in which covered parts are looked for."""
POINTS = np.array([[0.30, 0.32], [0.70, 0.32], [0.50, 0.56], [0.34, 0.78], [0.66, 0.78]]) * SIDE
"""Where the landmarks lie in it."""
PARTS = (
    np.arange(SIDE**2) % SIDE < SIDE // 2,
    np.arange(SIDE**2) % SIDE >= SIDE // 2,
    *(np.arange(SIDE**2) // SIDE * 24 // SIDE // 8 == third for third in range(3)),
    *(
        (np.arange(SIDE**2) // SIDE // (SIDE // 4) == row)
        & (np.arange(SIDE**2) % SIDE // (SIDE // 3) == column)
        for row in range(4)
        for column in range(3)
    ),
)
"""Masks of that picture: halves, thirds from brow to chin, and twelve fields."""
ARRAYS = ("average_face", "center", "scale", "linear", "square")
PART_MATRIX = np.stack(PARTS).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Quality:
    """Each part in 0..1 but for the size."""

    size_px: float
    """The shorter side of the face's box in the picture it was cut from."""
    sharpness: float
    frontal: float
    """1 looking at the camera, 0 in profile."""
    exposure: float
    overall: float
    """Foretold usefulness: about 0.85 for a typical press photo, 0.1 where a person is hardly told apart."""
    uncovered: float = 1.0
    """How much the least face-like part of the face looks like an average face; low where a hand, a mask or
    sunglasses cover it, and in deep shadow."""


@dataclass(frozen=True, eq=False, slots=True)
class QualityModel:
    """usefulness = offset + linear·z + square·z², z the measures about `center` in units of `scale`."""

    average_face: Vector
    """(576,) of LFW's people for training, locally normalized and symmetric: nobody's picture."""
    center: Vector
    scale: Vector
    linear: Vector
    square: Vector
    offset: float
    bad: float
    """The usefulness that counts as 0..."""
    good: float
    """... and the one that counts as 1."""

    def foretell(self, measures: Vector) -> float:
        z = np.clip((measures - self.center) / self.scale, -4, 4)
        useful = self.offset + float(self.linear @ z + self.square @ (z * z))
        # Never nothing: a model may be wrong, and a weight of zero would drop a look altogether.
        return max(0.01, _clamped((useful - self.bad) / (self.good - self.bad)))


def quality_of(crop: FaceCrop, face_px: float) -> Quality:
    """Judge a crop. face_px: the shorter side of the face's box in the original picture."""
    model = shipped_model()
    parts, measures = measured(crop, face_px, model.average_face)
    size = max(0.02, _clamped((face_px - LEAST_SIZE_PX) / (FULL_SIZE_PX - LEAST_SIZE_PX)))
    # Where a part is too bad for the model's data to speak of, it decides alone.
    limit = size * min(1.0, 2.0 * parts.frontal) * min(1.0, 1.5 * parts.exposure)
    overall = model.foretell(measures) * limit
    return Quality(face_px, parts.sharpness, parts.frontal, parts.exposure, float(overall), parts.uncovered)


@cache
def shipped_model() -> QualityModel:
    """The model beside this file."""
    kept = json.loads(MODEL_FILE.read_text())
    arrays = {name: np.array(kept[name], np.float32) for name in ARRAYS}
    return QualityModel(**arrays, offset=kept["offset"], bad=kept["bad"], good=kept["good"])


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts that can be named, each in 0..1."""

    sharpness: float
    frontal: float
    exposure: float
    uncovered: float


def measured(crop: FaceCrop, face_px: float, average_face: Vector) -> tuple[Parts, Vector]:
    """The named parts of a crop and all measures (F,) of the model."""
    gray = np.asarray(cv2.cvtColor(crop.image_rgb, cv2.COLOR_RGB2GRAY), np.uint8)
    margin = round(CROP_PX * (1 - 1 / GROWTH) / 2)
    face = np.asarray(gray[margin:-margin, margin:-margin], np.uint8)
    half = np.asarray(cv2.resize(face, (112, 112), interpolation=cv2.INTER_LINEAR), np.uint8)
    mean, spread = _mean_and_spread(half)
    fine = _laplacian_variance(half)
    coarse = _laplacian_variance(cv2.resize(half, (56, 56), interpolation=cv2.INTER_AREA))
    small, misfit = small_face(gray, crop.landmarks)
    likeness = _likeness(small, average_face)
    parts = Parts(
        sharpness=_sharpness(fine, spread),
        frontal=_frontal(crop.landmarks),
        exposure=_exposure(mean, spread),
        uncovered=_clamped(0.2 + float(likeness[:5].min())),
    )
    measures = np.concatenate(
        [
            (parts.sharpness, parts.frontal, parts.exposure, log(max(face_px, 1.0)), mean / 255,
             log1p(fine), log1p(coarse), log1p(spread)),
            misfit.ravel(), np.abs(misfit).ravel(), likeness, np.sort(likeness[5:])[:3],
        ]
    )  # fmt: skip
    return parts, np.asarray(measures, np.float32)


def small_face(gray: Image, landmarks: NDArray[np.float32]) -> tuple[Vector, NDArray[np.float64]]:
    """The face turned upright in 24x24 pixels, (576,), each about its neighborhood's mean and in units of its
    spread; and how far each landmark is from where it lies on an average face, (5, 2) in faces."""
    points = landmarks.astype(np.float64)
    center, target = points.mean(axis=0), POINTS.mean(axis=0)
    a, b = points - center, POINTS - target
    size = max(float((a * a).sum()), 1.0)
    # The similarity that fits best (least squares): x' = [p -q; q p] x + t.
    p, q = float((a * b).sum()) / size, float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / size
    turn = np.array([[p, -q], [q, p]])
    matrix = np.column_stack([turn, target - turn @ center])
    # From a quarter of the crop: its pixel u is the crop's 4 u + 1.5.
    quarter = cv2.resize(gray, (CROP_PX // 4, CROP_PX // 4), interpolation=cv2.INTER_AREA)
    matrix[:, 2] += 1.5 * matrix[:, :2].sum(axis=1)
    matrix[:, :2] *= 4
    warped: Any = cv2.warpAffine(
        quarter, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    about = warped.astype(np.float32)
    about -= cv2.blur(about, (9, 9))
    normalized = about / (np.sqrt(cv2.blur(about * about, (9, 9))) + 4)
    return np.asarray(normalized.ravel(), np.float32), (b - a @ turn.T) / SIDE


def _likeness(small: Vector, average_face: Vector) -> NDArray[np.float64]:
    """(17,) correlation of each of PARTS with that part of the average face."""
    shared = PART_MATRIX @ (small * average_face)
    lengths = np.sqrt((PART_MATRIX @ (small * small)) * (PART_MATRIX @ (average_face * average_face)))
    return np.asarray(shared / np.maximum(lengths, 1e-3), np.float64)


def _clamped(value: float) -> float:
    """Within 0..1. On single numbers several times as fast as np.clip."""
    return min(1.0, max(0.0, value))


def _mean_and_spread(gray: Any) -> tuple[float, float]:
    mean, spread = cv2.meanStdDev(gray)
    return float(mean[0, 0]), float(spread[0, 0])


def _laplacian_variance(gray: Any) -> float:
    return _mean_and_spread(cv2.Laplacian(gray, cv2.CV_16S))[1] ** 2


def _sharpness(laplacian_variance: float, spread: float) -> float:
    # Normalized by contrast, so that a dim face in focus is not called blurred.
    variance = laplacian_variance * (45.0 / max(spread, 8.0)) ** 2
    return sqrt(_clamped(variance / SHARP_VARIANCE))


def _frontal(landmarks: NDArray[np.float32]) -> float:
    """From where the nose lies between eyes and mouth corners."""
    # Complex numbers for points: on ten numbers an array costs more than the arithmetic.
    left_eye, right_eye, nose, left_mouth, right_mouth = (complex(x, y) for x, y in landmarks.tolist())
    eyes, mouth = (left_eye + right_eye) / 2, (left_mouth + right_mouth) / 2
    across, down = right_eye - left_eye, mouth - eyes
    width, height = abs(across), abs(down)
    if not (width >= 4 and height >= 4 and across.real > 0):
        return 0.0
    yaw = abs(_along(nose - (eyes + mouth) / 2, across / width)) / width
    slimness = min(1.0, width / height / 0.65)
    pitch = _along(nose - eyes, down / height) / height
    tilt = _clamped(1.3 - abs(pitch - 0.55) * 2.2)
    return _clamped(1.15 - 2.0 * yaw) * slimness * tilt


def _along(vector: complex, direction: complex) -> float:
    return (vector * direction.conjugate()).real


def _exposure(mean: float, spread: float) -> float:
    light = _clamped(min(mean / 45.0, (255 - mean) / 35.0))
    return light * _clamped(spread / 18.0)
