"""Cuts the chip that dlib's network wants: five points, predicted from several starts, on dlib's template.

Owns what of dlib's alignment is done here: where its predictor starts, the median of what it predicts, the
template, the warp. A predictor's answer depends on the box that it starts from; the median of several is
steadier than any of them (docs/adr/0026-steadier-chips.md has what each costs and gains). Used by
`hub.embedding.dlib_resnet` and the benchmarks.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hub.embedding.dlib_onnx import CHIP_PX
from vision.crops import CROP_PX, GROWTH, FaceCrop
from vision.detections import Image
from vision.errors import ModelError
from vision.model_store import DLIB_LANDMARK_MODEL, asset_path

Points = NDArray[np.float64]
CHIP_PADDING = 0.25
ENLARGED = 1.05
"""Of the face in the chip, beside dlib's own."""
STARTS = (1.05, 1.2, 1.35)
"""Half a side of the squares to start from, in units of the face (see `starts`); beside the crop's box."""
TEMPLATE = np.array(
    [
        [0.8595674595992, 0.2134981538014],
        [0.6460604764104, 0.2289674387677],
        [0.1205750620789, 0.2137274526848],
        [0.3340850613712, 0.2290642403242],
        [0.4901123135679, 0.6277975316475],
    ]
)
"""(5, 2): corners of the eyes and base of the nose, of a face of size 1 (`get_face_chip_details` in dlib's
dlib/image_transforms/interpolation.h, 19.24; Boost Software License)."""
GRAY = np.array([[1 / 3, 1 / 3, 1 / 3, -1 / 3]])
"""dlib's gray of a pixel: the mean of its three bytes, rounded down. Made once, not in every prediction."""


class ChipCutter:
    """Holds dlib's predictor. May be used in several threads. Raises ModelError where it is missing."""

    def __init__(self) -> None:
        try:
            import dlib
        except ImportError as exc:
            raise ModelError("dlib is not installed: pip install dlib-bin") from exc
        self._rectangle = dlib.rectangle
        self._predictor = dlib.shape_predictor(str(asset_path(DLIB_LANDMARK_MODEL)))

    def chip(self, crop: FaceCrop) -> Image:
        """The face (150, 150, 3) uint8 RGB, upright and of one size."""
        return chip_at(crop.image_rgb, self.points(crop))

    def points(self, crop: FaceCrop) -> Points:
        """(5, 2) crop pixels: the corners of either eye and the base of the nose, in TEMPLATE's order."""
        gray = cv2.transform(crop.image_rgb, GRAY)
        return np.median([self._predicted(gray, box) for box in starts(crop)], axis=0)

    def _predicted(self, gray: NDArray[Any], box: tuple[int, int, int, int]) -> Points:
        shape = self._predictor(gray, self._rectangle(*box))
        return np.array([(p.x, p.y) for p in shape.parts()], np.float64)


def starts(crop: FaceCrop) -> list[tuple[int, int, int, int]]:
    """Boxes (left, top, right, bottom) in crop pixels that a prediction starts from.

    The one that the crop was cut by, and squares about the middle of the landmarks' eyes and mouth, in units
    of how far these are from each other (of the eyes' distance where that is more).
    """
    margin = round(CROP_PX * (1 - 1 / GROWTH) / 2)
    boxes = [(margin, margin, CROP_PX - margin, CROP_PX - margin)]
    points = crop.landmarks.astype(np.float64)
    eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
    face = max(np.linalg.norm(mouth - eyes), np.linalg.norm(points[1] - points[0]))
    middle = (eyes + mouth) / 2
    for start in STARTS if face >= 1 else ():  # Landmarks in one spot tell of no face.
        corners = np.rint(np.concatenate([middle - start * face, middle + start * face])).astype(int)
        left, top, right, bottom = corners.tolist()
        boxes.append((left, top, right, bottom))
    return boxes


def chip_at(image_rgb: Image, points: Points, enlarged: float = ENLARGED) -> Image:
    """The chip (150, 150, 3) of a picture with the points (5, 2) where the template has them."""
    wanted = (CHIP_PADDING + TEMPLATE) / (2 * CHIP_PADDING + 1) * CHIP_PX
    wanted = CHIP_PX / 2 + enlarged * (wanted - CHIP_PX / 2)
    flags, border = cv2.INTER_LINEAR, cv2.BORDER_REPLICATE
    chip = cv2.warpAffine(
        image_rgb, similarity(points, wanted), (CHIP_PX, CHIP_PX), flags=flags, borderMode=border
    )
    return np.asarray(chip, np.uint8)


def similarity(points: Points, wanted: Points) -> Points:
    """(2, 3): the turn, size and shift that bring points (N, 2) nearest to where they are wanted, in the sum
    of squares (Umeyama, PAMI 13(4), 1991; without its mirroring, as one complex number)."""
    here, there = points @ (1, 1j), wanted @ (1, 1j)
    spread = here - here.mean()
    turn = np.vdot(spread, there) / max(float(np.vdot(spread, spread).real), 1e-9)
    shift = there.mean() - turn * here.mean()
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
