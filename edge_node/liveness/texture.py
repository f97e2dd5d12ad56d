"""The pattern that a display leaves in a camera's picture of it.

Pure. A display's grid of pixels and the camera's beat against each other: one frequency stands out of the
smooth spectrum that skin, hair and a camera's noise have. Called by `watch`.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_node.tracking.track import Box
from vision.detections import Image

SIDE_PX = 64
"""Pixels of the middle of the face that are looked at, as they are: any scaling would remove the pattern."""
LOWEST = 0.14
"""Cycles a pixel: below, a face has structure of its own."""

_WINDOW = np.outer(np.hanning(SIDE_PX), np.hanning(SIDE_PX)).astype(np.float32)
_FY, _FX = np.meshgrid(np.fft.fftfreq(SIDE_PX), np.fft.rfftfreq(SIDE_PX), indexing="ij")
_RADIUS = np.hypot(_FX, _FY)
_RING: NDArray[np.intp] = np.round(_RADIUS * SIDE_PX).astype(np.intp)
_RING_SIZE = np.bincount(_RING.ravel())
_OUTSIDE = (_RADIUS < LOWEST) | (_RADIUS > 0.5)


def screen_pattern(image: Image, box: Box) -> float | None:
    """How far the strongest frequency of a face stands out of those as high, in units of the natural
    logarithm of power: about 3 on faces, 5 and more on displays. None where the face is below SIDE_PX."""
    if min(box[2] - box[0], box[3] - box[1]) < SIDE_PX:
        return None
    x, y = round((box[0] + box[2] - SIDE_PX) / 2), round((box[1] + box[3] - SIDE_PX) / 2)
    if x < 0 or y < 0 or x + SIDE_PX > image.shape[1] or y + SIDE_PX > image.shape[0]:
        return None
    gray = cv2.cvtColor(image[y : y + SIDE_PX, x : x + SIDE_PX], cv2.COLOR_BGR2GRAY).astype(np.float32)
    spectrum = np.fft.rfft2((gray - gray.mean()) * _WINDOW)
    power = np.log(spectrum.real**2 + spectrum.imag**2 + 1.0)
    usual = np.bincount(_RING.ravel(), power.ravel()) / _RING_SIZE
    above = power - usual[_RING]
    above[_OUTSIDE] = 0.0
    return float(above.max())
