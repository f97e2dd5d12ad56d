"""The quality gate: which face of a photo is the person's, and whether it is good enough. Pure.

A template of poor quality, or of someone else, is worse than none: it shows a face that did not agree.
So the gate never guesses, and says why it refuses. Called by `vision.portrait`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vision.crops import FaceCrop, cut_crop
from vision.detections import Detections, Image
from vision.quality import Quality, quality_of
from vision.reasons import Reason, Refused

# The numbers below were chosen on 250 photos of Labeled Faces in the Wild (faces of 74-110 px) and tried
# on 300 others: 0 to 2 % refused by each of them. docs/enrollment.md says what that measured.
MIN_FACE_PX = 60.0
"""Shorter side of the face's box. Below it the embedders' crop of 224 px is mostly invention."""
MIN_SCORE = 0.9
"""The detector's doubt: 99 % of those photos score above 0.96."""
MIN_SHARPNESS = 0.4
"""Of photos under a Gaussian blur of 1, 2 and 3 px it refuses 3, 64 and 92 %; of sharp ones none."""
MIN_FRONTAL = 0.4
"""Refuses the 2 % of those photos that are turned furthest."""
MIN_EXPOSURE = 0.3
"""Refuses faces that are nearly black, white or without contrast; none of those photos is."""
MAX_OUTSIDE = 0.2
"""Part of the face's box that may lie beyond the picture's edge."""
BYSTANDER_RATIO = 3.0
"""Faces this much smaller than the largest are passers-by or posters; any other makes the photo
ambiguous, and whose face is meant is not guessed."""


@dataclass(frozen=True, slots=True)
class AcceptedFace:
    """The one face of a photo, ready to travel."""

    crop: FaceCrop
    quality: Quality


def judge(image_bgr: Image, faces: Detections) -> AcceptedFace | Refused:
    """Accept the one face of a picture, or say why not.

    image_bgr: (H, W, 3). faces: what a detector found in it, in its pixels.
    """
    if not len(faces):
        return Refused(Reason.NO_FACE, "no face was found: use a clear photo from the front")
    sizes = (faces.boxes_xyxy[:, 2:] - faces.boxes_xyxy[:, :2]).min(axis=1)
    largest = int(np.argmax(sizes))
    rivals = int((sizes * BYSTANDER_RATIO > sizes[largest]).sum())
    if rivals > 1:
        text = f"{rivals} faces, and which one is meant is not guessed: crop the photo to one person"
        return Refused(Reason.SEVERAL_FACES, text)
    size_px, box = float(sizes[largest]), faces.boxes_xyxy[largest]
    if faces.scores[largest] < MIN_SCORE:
        return Refused(Reason.NO_FACE, "nothing is clearly a face: use a clear photo from the front")
    if size_px < MIN_FACE_PX:
        text = f"the face is {size_px:.0f} pixels wide, {MIN_FACE_PX:.0f} are needed: come closer"
        return Refused(Reason.TOO_SMALL, text)
    outside = _outside(box, image_bgr.shape[1], image_bgr.shape[0])
    if outside > MAX_OUTSIDE:
        text = f"{outside:.0%} of the face lies beyond the picture's edge: use a wider photo"
        return Refused(Reason.CUT_OFF, text)
    crop = cut_crop(image_bgr, box, faces.landmarks[largest])
    quality = quality_of(crop, size_px)
    return refusal_of(quality) or AcceptedFace(crop, quality)


def refusal_of(quality: Quality) -> Refused | None:
    """Why a face of this quality is not good enough; None where it is."""
    if quality.frontal < MIN_FRONTAL:
        text = f"the face is turned away (frontal {quality.frontal:.2f}, {MIN_FRONTAL} is needed)"
        return Refused(Reason.NOT_FRONTAL, f"{text}: look at the camera")
    if quality.exposure < MIN_EXPOSURE:
        text = f"too dark, too bright or too flat ({quality.exposure:.2f}, {MIN_EXPOSURE} is needed)"
        return Refused(Reason.BADLY_LIT, f"{text}: use even light")
    if quality.sharpness < MIN_SHARPNESS:
        text = f"the face is blurred (sharpness {quality.sharpness:.2f}, {MIN_SHARPNESS} is needed)"
        return Refused(Reason.BLURRED, f"{text}: hold the camera still, focus on the face")
    return None


def _outside(box_xyxy: np.ndarray[tuple[int], np.dtype[np.float32]], width: int, height: int) -> float:
    """Part of a box's area that lies beyond the picture, 0..1."""
    x1, y1, x2, y2 = (float(v) for v in box_xyxy)
    inside = max(0.0, min(x2, width) - max(x1, 0.0)) * max(0.0, min(y2, height) - max(y1, 0.0))
    return 1.0 - inside / ((x2 - x1) * (y2 - y1))
