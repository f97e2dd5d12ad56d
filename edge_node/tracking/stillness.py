"""Whether a picture has changed anywhere but at the people who are followed already.

Pure; owned by `edge_node.analysis`, which looks twice as often for new faces where it has. Whoever comes
into view changes the picture: noise, a lamp or a tree may do so as well, which costs a look and no face.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.detections import Image

CELLS_WIDE = 160
"""A face of 24 pixels in 1280 is three cells wide."""
SAMPLES = 4
"""Pixels that a cell is the mean of, along each side."""
CHANGED = 4.0
"""Gray levels between two means of sixteen pixels; a sensor's noise makes less than two."""
FEW_CELLS = 2
"""So many changed cells are noise."""
BESIDE, ABOVE, BELOW = 0.75, 0.5, 3.0
"""What moves with a followed face, in its sizes: hair, shoulders, arms."""
Gray = NDArray[np.float32]


class Stillness:
    """Remembers the picture that was last looked at. Not thread-safe."""

    def __init__(self) -> None:
        self._seen: Gray | None = None
        self._asked: tuple[Image, Gray] | None = None
        """The picture that `is_still` was last asked about."""

    def reset(self) -> None:
        """What was seen says nothing about the next picture."""
        self._seen = None

    def is_still(self, image: Image, followed_xyxy: NDArray[np.float32]) -> bool:
        """Whether nothing has changed since `saw` but around the followed faces (N, 4). image: (H, W, 3)."""
        small = _cells_of(image)
        self._asked = image, small
        if self._seen is None or self._seen.shape != small.shape:
            return False
        has_changed = np.abs(small - self._seen) > CHANGED
        scale = small.shape[1] / image.shape[1]
        for x1, y1, x2, y2 in followed_xyxy.astype(np.float64) * scale:
            width, height = x2 - x1, y2 - y1
            top, bottom = max(0, int(y1 - ABOVE * height)), max(0, int(y2 + BELOW * height) + 1)
            left, right = max(0, int(x1 - BESIDE * width)), max(0, int(x2 + BESIDE * width) + 1)
            has_changed[top:bottom, left:right] = False
        return int(np.count_nonzero(has_changed)) <= FEW_CELLS

    def saw(self, image: Image) -> None:
        """This picture is being looked at."""
        if self._asked is not None and self._asked[0] is image:
            self._seen = self._asked[1]
        else:
            self._seen = _cells_of(image)


def _cells_of(image: Image) -> Gray:
    """(h, CELLS_WIDE) means of the green samples: most of the brightness, a third of the work."""
    step = max(1, image.shape[1] // (CELLS_WIDE * SAMPLES))
    some = np.ascontiguousarray(image[::step, ::step, 1])
    size = (CELLS_WIDE, max(1, round(CELLS_WIDE * some.shape[0] / some.shape[1])))
    return np.asarray(cv2.resize(some, size, interpolation=cv2.INTER_AREA), np.float32)
