"""How useful a crop is for recognition: size, sharpness, pose, exposure.

Used by the node (is this crop worth a question?) and by enrollment (is this photo good enough?).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vision.crops import CROP_PX, GROWTH, FaceCrop
from vision.detections import Image


@dataclass(frozen=True, slots=True)
class Quality:
    """Each part in 0..1 but for the size; `overall` is their product, so one bad part is enough."""

    size_px: float
    """The shorter side of the face's box in the picture it was cut from."""
    sharpness: float
    frontal: float
    """1 looking at the camera, 0 in profile."""
    exposure: float
    overall: float


FULL_SIZE_PX = 90.0
"""Larger faces are not recognized better: the embedders see 150 to 224 pixels with margin."""
SHARP_VARIANCE = 120.0
"""Variance of the Laplacian, at a common scale of 112 px, of a face in focus (LFW's median is about
this; a face blurred by 2 px falls to a quarter of it)."""


def quality_of(crop: FaceCrop, face_px: float) -> Quality:
    """Judge a crop. face_px: the shorter side of the face's box in the original picture."""
    size = float(np.clip((face_px - 20) / (FULL_SIZE_PX - 20), 0.05, 1.0))
    sharpness = _sharpness(crop)
    frontal = _frontal(crop)
    exposure = _exposure(crop)
    overall = (size * sharpness) ** 0.5 * frontal * exposure
    return Quality(face_px, sharpness, frontal, exposure, float(overall))


def _inner_face(crop: FaceCrop) -> Image:
    """(h, w) gray pixels of the face's own box."""
    margin = round(CROP_PX * (1 - 1 / GROWTH) / 2)
    inner = crop.image_rgb[margin:-margin, margin:-margin]
    return np.asarray(cv2.cvtColor(inner, cv2.COLOR_RGB2GRAY), np.uint8)


def _sharpness(crop: FaceCrop) -> float:
    gray = cv2.resize(_inner_face(crop), (112, 112), interpolation=cv2.INTER_AREA)
    contrast = max(float(gray.std()), 8.0)
    # Normalized by contrast, so that a dim face in focus is not called blurred.
    variance = float(cv2.Laplacian(gray, cv2.CV_32F).var()) * (45.0 / contrast) ** 2
    return float(np.clip(variance / SHARP_VARIANCE, 0.0, 1.0) ** 0.5)


def _frontal(crop: FaceCrop) -> float:
    """From where the nose lies between eyes and mouth corners."""
    left_eye, right_eye, nose, left_mouth, right_mouth = crop.landmarks.astype(np.float64)
    eyes, mouth = (left_eye + right_eye) / 2, (left_mouth + right_mouth) / 2
    across = right_eye - left_eye
    width = float(np.hypot(*across))
    height = float(np.hypot(*(mouth - eyes)))
    if width < 4 or height < 4 or across[0] <= 0:
        return 0.0
    yaw = abs(float(np.dot(nose - (eyes + mouth) / 2, across / width))) / width
    slimness = float(np.clip(width / height / 0.65, 0.0, 1.0))
    pitch = float(np.dot(nose - eyes, (mouth - eyes) / height)) / height
    tilt = float(np.clip(1.3 - abs(pitch - 0.55) * 2.2, 0.0, 1.0))
    return float(np.clip(1.15 - 2.0 * yaw, 0.0, 1.0)) * slimness * tilt


def _exposure(crop: FaceCrop) -> float:
    gray = _inner_face(crop)
    mean, spread = float(gray.mean()), float(gray.std())
    light = float(np.clip(min(mean / 45.0, (255 - mean) / 35.0), 0.0, 1.0))
    return light * float(np.clip(spread / 18.0, 0.0, 1.0))
