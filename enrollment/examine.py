"""One photo from file to verdict: read, find faces, judge, encode. Called by `enrollment.enroll`.

Holds no state; the detector is the caller's (one thread owns it).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from protocol.messages import Landmarks, Photo
from vision.crops import encode_crop
from vision.detections import Detector
from vision.errors import PhotoError
from vision.photos import read_photo
from vision.portrait import portrait_of
from vision.reasons import Refused


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
    verdict = portrait_of(image, detector)
    if isinstance(verdict, Refused):
        return verdict
    photo = Photo(
        landmarks=_landmarks(verdict.crop.landmarks),
        quality=min(1.0, max(0.0, verdict.quality.overall)),
        source=shown_name(path),
    )
    return AcceptedPhoto(photo, encode_crop(verdict.crop))


def shown_name(path: Path) -> str:
    """A file's name without its folder, fit for a message and a terminal."""
    name = path.name.encode("utf-8", "replace").decode("utf-8")
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)


def _landmarks(points: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> Landmarks:
    a, b, c, d, e = ((float(x), float(y)) for x, y in points)
    return a, b, c, d, e
