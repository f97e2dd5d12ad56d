"""What a face looks like at a glance: enough to notice that it is suddenly somebody else's.

Pure. `signature` is called for every face that MTCNN confirmed; `tracker` compares it with the one before.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.detections import Image

SIDE_PX = 12
"""A signature is the box at this size: hair, skin, a rim of background; nothing that could name anybody."""

Signature = NDArray[np.float32]
"""(SIDE_PX * SIDE_PX * 3,) colors about their mean, with length 1; zeros where the box is flat or outside."""


def signature(image: Image, box_xyxy: Sequence[float] | NDArray[np.floating]) -> Signature:
    """The look of a box (4,) of an image (H, W, 3)."""
    height, width = image.shape[:2]
    x1, y1 = max(0, int(box_xyxy[0])), max(0, int(box_xyxy[1]))
    x2, y2 = min(width, int(box_xyxy[2]) + 1), min(height, int(box_xyxy[3]) + 1)
    if x2 - x1 < 2 or y2 - y1 < 2:
        return np.zeros(SIDE_PX * SIDE_PX * 3, np.float32)
    small = cv2.resize(image[y1:y2, x1:x2], (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    values = small.astype(np.float32).reshape(-1, 3)
    values -= values.mean(axis=0)
    length = float(np.linalg.norm(values))
    return np.asarray(values.reshape(-1) / max(length, 1.0), np.float32)


def difference(one: Signature, other: Signature) -> float:
    """1 - correlation: 0 for the same look, about 1 for two that have nothing in common."""
    return 1.0 - float(one @ other)
