"""One photo from file to verdict: read, find faces, judge, encode. Called by `enrollment.enroll`.

Holds no state; the detector is the caller's (one thread owns it).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from enrollment.errors import PhotoError
from enrollment.gate import judge
from enrollment.photos import read_photo
from enrollment.reasons import Refused
from protocol.messages import Landmarks, Photo
from vision.crops import encode_crop
from vision.detections import Detections, Detector, Image

SCAN_SIDE_PX = 1_600
"""Photos are scanned at this size at most: a face that can be enrolled is found all the same, and a
50-megapixel photo takes no longer than a 2-megapixel one. The crop is cut from the full picture."""
MIN_SCAN_SIDE_PX = 24
"""Thinner strips hold no face."""


@dataclass(frozen=True, slots=True)
class AcceptedPhoto:
    """What travels to the hub for one photo."""

    photo: Photo
    jpeg: bytes


def examine(path: Path, detector: Detector) -> AcceptedPhoto | Refused:
    """The person's face in a photo, or why there is none to enrol. Raises ModelError."""
    try:
        image = read_photo(path)
    except PhotoError as exc:
        return exc.refused
    verdict = judge(image, find_faces(image, detector))
    if isinstance(verdict, Refused):
        return verdict
    photo = Photo(
        landmarks=_landmarks(verdict.crop.landmarks),
        quality=min(1.0, max(0.0, verdict.quality.overall)),
        source=shown_name(path),
    )
    return AcceptedPhoto(photo, encode_crop(verdict.crop))


def find_faces(image_bgr: Image, detector: Detector) -> Detections:
    """Faces of a picture (H, W, 3), in its pixels, found in a copy of at most SCAN_SIDE_PX."""
    height, width = image_bgr.shape[:2]
    scale = min(1.0, SCAN_SIDE_PX / max(height, width))
    if scale == 1.0:
        return detector.detect(image_bgr)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if min(size) < MIN_SCAN_SIDE_PX:
        return Detections.none()
    small = np.asarray(cv2.resize(image_bgr, size, interpolation=cv2.INTER_AREA), np.uint8)
    found = detector.detect(small)
    back = np.array([width / size[0], height / size[1]], np.float32)
    return Detections(found.boxes_xyxy * np.tile(back, 2), found.scores, found.landmarks * back)


def shown_name(path: Path) -> str:
    """A file's name without its folder, fit for a message and a terminal."""
    name = path.name.encode("utf-8", "replace").decode("utf-8")
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)


def _landmarks(points: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> Landmarks:
    a, b, c, d, e = ((float(x), float(y)) for x, y in points)
    return a, b, c, d, e
