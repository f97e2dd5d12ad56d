"""The one face of a photo that can be enrolled: found, judged, cut. For enrollment and uploads to the hub.

Holds no state; the detector is the caller's (one thread owns it).
"""

from __future__ import annotations

import cv2
import numpy as np

from vision.detections import Detections, Detector, Image
from vision.gate import AcceptedFace, judge
from vision.reasons import Refused

SCAN_SIDE_PX = 1_600
"""Photos are scanned at this size at most: a face that can be enrolled is found all the same, and a
50-megapixel photo takes no longer than a 2-megapixel one. The crop is cut from the full picture."""
MIN_SCAN_SIDE_PX = 24
"""Thinner strips hold no face."""


def portrait_of(image_bgr: Image, detector: Detector) -> AcceptedFace | Refused:
    """The person's face in a picture (H, W, 3), or why there is none to enrol. Raises ModelError."""
    return judge(image_bgr, find_faces(image_bgr, detector))


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
