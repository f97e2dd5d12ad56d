"""How good boxes are: parity with another detector, recall, and WIDER's average precision.

Pure: arrays in, numbers out. Called by `benchmarks.detect`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vision.geometry import iou_matrix

Floats = NDArray[np.float64]
SAME_BOX = 0.99
"""IoU from which two boxes are the same one..."""
SAME_POINT_PX = 1.0
"""... and the distance in x and in y up to which two landmarks are."""
FOUND = 0.5
"""IoU from which a box is of a labeled face: WIDER FACE's."""


@dataclass(frozen=True, slots=True)
class Parity:
    """How many of a reference's boxes another detector gives as well."""

    boxes: int = 0
    same_box: int = 0
    same_face: int = 0
    """Box and all landmarks."""
    extra: int = 0
    """Boxes that the reference has not."""

    def __add__(self, other: Parity) -> Parity:
        return Parity(
            self.boxes + other.boxes,
            self.same_box + other.same_box,
            self.same_face + other.same_face,
            self.extra + other.extra,
        )


def parity(reference: Floats, rows: Floats) -> Parity:
    """Compare two detectors' rows (N, 15) and (M, 15) of one picture: box, score, five x, five y."""
    if not len(reference) or not len(rows):
        return Parity(len(reference), 0, 0, len(rows))
    overlaps = iou_matrix(reference[:, :4], rows[:, :4])
    best = overlaps.argmax(axis=1)
    is_same = overlaps.max(axis=1) >= SAME_BOX
    off = np.abs(reference[:, 5:] - rows[best, 5:]).max(axis=1)
    return Parity(
        boxes=len(reference),
        same_box=int(is_same.sum()),
        same_face=int((is_same & (off <= SAME_POINT_PX)).sum()),
        extra=int((overlaps.max(axis=0) < FOUND).sum()),
    )


def faces_found(truth_xyxy: Floats, rows: Floats) -> int:
    """How many of the labeled faces (N, 4) have a box of their own among the rows (M, 5 or more)."""
    if not len(truth_xyxy) or not len(rows):
        return 0
    overlaps = iou_matrix(truth_xyxy, rows[:, :4])
    found = 0
    while overlaps.size and overlaps.max() >= FOUND:
        face, box = np.unravel_index(int(overlaps.argmax()), overlaps.shape)
        overlaps[face] = overlaps[:, box] = 0.0
        found += 1
    return found


@dataclass(frozen=True, slots=True)
class Judged:
    """One picture: what was found, and what is there."""

    rows: Floats
    """(N, 5 or more): box and score."""
    truth_xyxy: Floats
    """(M, 4)"""
    counts: NDArray[np.bool_]
    """(M,) whether a face counts; a box on one that does not is neither right nor wrong."""


def average_precision(pictures: Sequence[Judged]) -> float:
    """Area under the interpolated precision over recall (Everingham et al., IJCV 88, 2010), with the rules
    of WIDER FACE (Yang et al., CVPR 2016): a second box on a face is wrong."""
    scores, is_right = [np.zeros(0)], [np.zeros(0, np.bool_)]
    for picture in pictures:
        kept, right = _judged(picture)
        scores.append(picture.rows[kept, 4])
        is_right.append(right)
    faces = sum(int(p.counts.sum()) for p in pictures)
    order = np.argsort(-np.concatenate(scores), kind="stable")
    right_so_far = np.cumsum(np.concatenate(is_right)[order])
    if not faces or not len(right_so_far):
        return 0.0
    recall = np.concatenate([[0.0], right_so_far / faces])
    precision = right_so_far / np.arange(1, len(order) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall) * best_from_here).sum())


def _judged(picture: Judged) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """The rows that count, best first, and whether each is right."""
    order = np.argsort(-picture.rows[:, 4], kind="stable")
    if not len(picture.truth_xyxy):
        return order, np.zeros(len(order), np.bool_)
    overlaps = iou_matrix(picture.rows[order, :4], picture.truth_xyxy)
    taken: set[int] = set()
    kept: list[int] = []
    right: list[bool] = []
    for row, overlap in zip(order, overlaps, strict=True):
        face = int(overlap.argmax())
        is_face = bool(overlap[face] >= FOUND)
        if is_face and not picture.counts[face]:
            continue
        kept.append(int(row))
        right.append(is_face and face not in taken)
        if is_face:
            taken.add(face)
    return np.array(kept, np.intp), np.array(right, np.bool_)
