"""Boxes: overlap, non-maximum suppression, squares. Arrays in, arrays out."""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.floating[Any]]
"""(N, 4) pixels: left, top, right, bottom."""

DENSE = 128
"""Up to so many boxes all pairs are compared at once..."""
BLOCK = 64
"""... beyond, so many with their neighbors."""


def areas(boxes_xyxy: Boxes) -> NDArray[np.floating[Any]]:
    """(N,) pixels²; 0 for a box turned inside out."""
    extent = np.maximum(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 0)
    return np.asarray(extent[:, 0] * extent[:, 1])


def iou_matrix(
    a_xyxy: Boxes, b_xyxy: Boxes, over: Literal["union", "smaller"] = "union"
) -> NDArray[np.floating[Any]]:
    """(N, M) intersection of every box of a (N, 4) with every box of b (M, 4), over their union
    or over the smaller of the two; 0 where that is empty."""
    top_left = np.maximum(a_xyxy[:, None, :2], b_xyxy[None, :, :2])
    bottom_right = np.minimum(a_xyxy[:, None, 2:], b_xyxy[None, :, 2:])
    extent = np.maximum(bottom_right - top_left, 0)
    shared = extent[..., 0] * extent[..., 1]
    area_a, area_b = areas(a_xyxy)[:, None], areas(b_xyxy)[None]
    whole = np.minimum(area_a, area_b) if over == "smaller" else area_a + area_b - shared
    return np.asarray(shared / np.maximum(whole, 1e-12))


def strict_nms(
    boxes_xyxy: Boxes,
    scores: NDArray[np.floating[Any]],
    threshold: float,
    over: Literal["union", "smaller"] = "union",
) -> NDArray[np.intp]:
    """Indices of the boxes to keep, best score first.

    A box goes if *any* better box overlaps it by more than `threshold`, be that one kept or not. This
    is the suppression of the `mtcnn` package; it removes more than the usual greedy one.
    """
    order = np.argsort(scores)[::-1]
    sorted_boxes = boxes_xyxy[order]
    if len(order) > DENSE:
        return np.asarray(order[~_is_beaten_nearby(sorted_boxes, threshold, over)])
    overlaps = iou_matrix(sorted_boxes, sorted_boxes, over) > threshold
    is_beaten = np.triu(overlaps, k=1).any(axis=0)
    return np.asarray(order[~is_beaten])


def greedy_nms(boxes_xyxy: Boxes, scores: NDArray[np.floating[Any]], threshold: float) -> NDArray[np.intp]:
    """Indices of the boxes to keep, best score first. A box goes if a better one *that is kept* overlaps it
    by more than `threshold`. Scores must be above 0."""
    if not len(boxes_xyxy):
        return np.zeros(0, np.intp)
    rectangles = np.asarray(boxes_xyxy, np.float64).copy()
    rectangles[:, 2:] -= rectangles[:, :2]
    kept = cv2.dnn.NMSBoxes(rectangles, np.asarray(scores, np.float32), 0.0, threshold)  # type: ignore[arg-type]
    return np.asarray(kept, np.intp).reshape(-1)


def _is_beaten_nearby(
    boxes_xyxy: Boxes, threshold: float, over: Literal["union", "smaller"]
) -> NDArray[np.bool_]:
    """(N,) whether an earlier box overlaps each by more than `threshold`. Boxes are compared from left to
    right with those that begin before they end, as no other can overlap: a small share of all pairs."""
    by_left = np.argsort(boxes_xyxy[:, 0], kind="stable")
    placed = boxes_xyxy[by_left]
    is_beaten = np.zeros(len(placed), np.bool_)
    for begin in range(0, len(placed), BLOCK):
        end = min(begin + BLOCK, len(placed))
        stop = max(end, int(np.searchsorted(placed[:, 0], placed[begin:end, 2].max())))
        overlaps = iou_matrix(placed[begin:end], placed[begin:stop], over) > threshold
        ranks, other_ranks = by_left[begin:end], by_left[begin:stop]
        is_later = ranks[:, None] > other_ranks
        is_beaten[ranks] |= (overlaps & is_later).any(axis=1)
        is_earlier = ranks[:, None] < other_ranks
        is_beaten[other_ranks] |= (overlaps & is_earlier).any(axis=0)
    return is_beaten


def squared(boxes_xyxy: Boxes) -> Boxes:
    """(N, 4) squares about the same centers, as large as the longer side."""
    extent = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    side = extent.max(axis=1, keepdims=True)
    top_left = boxes_xyxy[:, :2] + extent * 0.5 - side * 0.5
    return np.concatenate([top_left, top_left + side], axis=1)
