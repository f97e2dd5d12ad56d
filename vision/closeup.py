"""Which spots of a picture deserve a close look, and the pictures for it.

A detector that sees the whole picture reduced is unsure about small, turned and half hidden faces, and places
its boxes badly there. The same network, shown such a spot enlarged, is sure of most faces and of most
mistakes. Looks are few for each frame, so what was looked at in vain waits until it has changed. Pure;
called by `vision.centerface`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.detections import Image
from vision.geometry import iou_matrix

Boxes = NDArray[np.float32]
"""(N, 4) pixels: left, top, right, bottom."""

SIDE_PX = 96
"""A close look is a square of this many pixels..."""
ROOM = 2.4
"""... that is this many face sizes wide: the face has 40 pixels, about what the network was trained on."""
SAME_SPOT = 0.4
"""IoU of two boxes that mean one spot."""
AGING = 0.0003
"""Promise that a spot looked at in vain regains with every frame..."""
MIN_PROMISE = 0.02
"""Less is not worth a look."""
FORGET_AFTER = 150
"""... and frames after which the look is forgotten."""


@dataclass(slots=True)
class _Vain:
    """A spot that turned out to hold no face."""

    box: Boxes
    """(4,)"""
    promise: float
    was_expected: bool
    frames_ago: int = 0


class Memory:
    """Remembers what was looked at in vain; one for each detector."""

    def __init__(self) -> None:
        self._vain: list[_Vain] = []

    def news(
        self, boxes: Boxes, promise: NDArray[np.float32], expected: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """What each spot (N, 4) promises beyond what it had when it was last looked at in vain, (N,): by what
        was glanced there (N,), and more where a face was expected (N,). To be called once a frame."""
        for vain in self._vain:
            vain.frames_ago += 1
        self._vain = [v for v in self._vain if v.frames_ago <= FORGET_AFTER]
        news = promise + expected
        if len(boxes) and self._vain:
            overlaps = iou_matrix(boxes, np.array([v.box for v in self._vain]))
            nearest = overlaps.argmax(axis=1)
            for i in np.flatnonzero(overlaps.max(axis=1) > SAME_SPOT):
                vain = self._vain[nearest[i]]
                known = vain.promise + (expected[i] if vain.was_expected else 0.0)
                news[i] += AGING * vain.frames_ago - known
        return news

    def note_vain(self, boxes: Boxes, promise: NDArray[np.float32], was_expected: NDArray[np.bool_]) -> None:
        """These spots were looked at closely and hold no face."""
        if not len(boxes):
            return
        if self._vain:
            overlaps = iou_matrix(np.array([v.box for v in self._vain]), boxes).max(axis=1)
            self._vain = [v for v, o in zip(self._vain, overlaps, strict=True) if o <= SAME_SPOT]
        self._vain += [
            _Vain(box, float(p), bool(e)) for box, p, e in zip(boxes, promise, was_expected, strict=True)
        ]


def choose(news: NDArray[np.float32], is_expected: NDArray[np.bool_], limit: int) -> NDArray[np.intp]:
    """Indices of the spots to look at, at most `limit`. However many faces are followed, half of the looks
    are for spots where none was expected, if there are so many."""
    ranked = np.argsort(-news, kind="stable")
    ranked = ranked[news[ranked] >= MIN_PROMISE]
    unexpected = ranked[~is_expected[ranked]][: limit // 2]
    others = ranked[~np.isin(ranked, unexpected)][: limit - len(unexpected)]
    return np.asarray(np.concatenate([others, unexpected]), np.intp)


def cut(image: Image, box: Boxes) -> tuple[Image, NDArray[np.float32], float]:
    """The square around a spot (4,), beyond the picture continued by its edge.

    Returns the pixels (SIDE_PX, SIDE_PX, 3), the square's left upper corner (2,) and its scale: pixels of the
    square for one of the image.
    """
    side = max(4, round(float(max(box[2] - box[0], box[3] - box[1])) * ROOM))
    left = round(float(box[0] + box[2] - side) / 2)
    top = round(float(box[1] + box[3] - side) / 2)
    height, width = image.shape[:2]
    # At least one row and column of the picture, so that there is an edge to continue.
    x1, x2 = min(max(left, 0), width - 1), min(max(left + side, 1), width)
    y1, y2 = min(max(top, 0), height - 1), min(max(top + side, 1), height)
    scale = SIDE_PX / side
    inner = image[y1:y2, x1:x2]
    beyond = (y1 - top, top + side - y2, x1 - left, left + side - x2)
    above, below, before, behind = (max(0, round(p * scale)) for p in beyond)
    size = (max(1, SIDE_PX - before - behind), max(1, SIDE_PX - above - below))
    fitted = cv2.resize(inner, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    square = cv2.copyMakeBorder(fitted, above, below, before, behind, cv2.BORDER_REPLICATE)
    return (
        np.asarray(square[:SIDE_PX, :SIDE_PX], np.uint8),
        np.array([left, top], np.float32),
        scale,
    )
