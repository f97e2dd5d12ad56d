"""Which detection belongs to which track: one assignment over overlap and distance.

Pure. Called by `tracker` only.
"""

from __future__ import annotations

import numpy as np
from lap import lapjv
from numpy.typing import NDArray

from vision.geometry import iou_matrix

REACH = 0.8
"""Centers further apart than this many face sizes are not the same face..."""
MAX_SCALE_RATIO = 1.8
"""... nor are boxes whose sizes differ by more than this factor."""
_FORBIDDEN = 1e6


def associate(
    predicted_xyxy: NDArray[np.float64],
    observed_xyxy: NDArray[np.float64],
    reach: NDArray[np.float64] | float = REACH,
) -> list[tuple[int, int]]:
    """Pairs (row of predicted (T, 4), row of observed (N, 4)), each row at most once.

    reach: (T,) or one number; how far in face sizes a face may be from where it is expected.

    Cost is (1 - IoU) + distance of the centers in face sizes; impossible pairs are left out.
    The assignment (Jonker and Volgenant 1987) minimizes the sum. Raises ValueError for boxes with
    numbers that are not finite.
    """
    if len(predicted_xyxy) == 0 or len(observed_xyxy) == 0:
        return []
    if not (np.isfinite(predicted_xyxy).all() and np.isfinite(observed_xyxy).all()):
        raise ValueError("a box to be associated has coordinates that are not finite")
    cost = 1.0 - iou_matrix(predicted_xyxy, observed_xyxy).astype(np.float64)
    size_p, size_o = _sizes(predicted_xyxy), _sizes(observed_xyxy)
    centers_p = (predicted_xyxy[:, :2] + predicted_xyxy[:, 2:]) / 2
    centers_o = (observed_xyxy[:, :2] + observed_xyxy[:, 2:]) / 2
    gap = np.linalg.norm(centers_p[:, None] - centers_o[None], axis=2)
    distance = gap / np.minimum(size_p[:, None], size_o[None])
    ratio = size_p[:, None] / size_o[None]
    impossible = (
        (distance > np.reshape(reach, (-1, 1))) | (ratio > MAX_SCALE_RATIO) | (ratio < 1 / MAX_SCALE_RATIO)
    )
    cost = np.where(impossible, _FORBIDDEN, cost + distance)
    _, columns, _ = lapjv(cost, extend_cost=True)
    return [(r, int(c)) for r, c in enumerate(columns) if c >= 0 and cost[r, c] < _FORBIDDEN]


def _sizes(boxes_xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
    extent: NDArray[np.float64] = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    return np.asarray(np.maximum(extent.mean(axis=1), 1.0))
