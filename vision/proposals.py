"""P-Net over a packed pyramid: the squares of a picture that are worth a closer look.

Three ways to compute it: in floats; in the coarser floats that some processors have; and in eight bits.
Owned by `vision.detector`; one object a picture size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision.detections import Image
from vision.errors import ModelError
from vision.geometry import greedy_nms, squared, strict_nms
from vision.graphs import mtcnn_graph, pnet_int8_graph
from vision.pyramid import CELL_PX, STRIDE_PX, FloatImage, Level, plan_pyramid
from vision.runtime import RuntimeName, load_network

Floats = NDArray[np.float64]

MAX_CANDIDATES = 3_000
"""Best P-Net cells kept for each scale: bounds the quadratic suppression on pictures of pure texture."""
SAME_IN_LEVEL, SAME = 0.5, 0.7
"""IoU from which two candidates of one scale, or of any two, are the same."""


@dataclass(frozen=True, slots=True)
class ProposalSettings:
    """What is looked for, and how exactly."""

    min_face_px: float
    scale_factor: float
    score: float
    exact: bool
    eight_bits: bool
    """Not exact, and only faster where `vision.runtime.has_vnni`."""
    runtime: RuntimeName
    threads: int


class Proposals:
    """P-Net for pictures of one size, searched whole or in `parts`. Raises ModelError."""

    def __init__(self, settings: ProposalSettings, shape: tuple[int, int], parts: int) -> None:
        self._settings = s = settings
        self._parts = parts
        self._pyramid = plan_pyramid(shape, s.min_face_px, s.scale_factor, halving=not s.exact)
        height, width = self._pyramid.shape
        if parts > 1:
            height = (self._pyramid.strip(0, parts)[1] - 1) * STRIDE_PX + CELL_PX
        # The package's suppression loses faces that stand close together.
        self._suppress = strict_nms if s.exact else greedy_nms
        if s.eight_bits:
            path, batch = pnet_int8_graph(), (1, height // 2, width // 2, 12)
        else:
            path, batch = mtcnn_graph("pnet"), (1, height, width, 3)
        # Between whole numbers coarser floats gain nothing and would round the scores.
        self._network = load_network(path, s.runtime, s.threads, batch, s.exact or s.eight_bits)

    def of(self, image: FloatImage | Image, part: int = 0) -> Floats:
        """(N, 4) squares, best first."""
        first, count = self._pyramid.strip(part, self._parts)
        rows = (first, count) if self._parts > 1 else (0, None)
        pack = self._pyramid.pack_blocks if self._settings.eight_bits else self._pyramid.pack
        offsets, faces = self._network.run(pack(image, *rows)[None])
        boxes: list[Floats] = [np.zeros((0, 4))]
        scores: list[Floats] = [np.zeros(0)]
        for level in self._pyramid.levels:
            found = self._of_level(level, offsets[0], faces[0, -1], first, count)
            if found is not None:
                boxes.append(found[0])
                scores.append(found[1])
        every = np.concatenate(boxes)
        return np.asarray(squared(every[self._suppress(every, np.concatenate(scores), SAME)]))

    def _of_level(
        self, level: Level, offsets: NDArray[Any], faces: NDArray[Any], first: int, count: int
    ) -> tuple[Floats, Floats] | None:
        """Boxes and scores from P-Net's output (4, rows, columns) and (rows, columns), of which rows from
        `first` on were computed; None where it has none."""
        rows, columns = level.cells
        begin, end = max(rows.start, first), min(rows.stop, first + count)
        if begin >= end:
            return None
        within = slice(begin - first, end - first), columns
        score = faces[within]
        if not np.isfinite(score).all():
            raise ModelError("the detector's networks returned numbers that are not finite")
        ys, xs = np.nonzero(score > self._settings.score)
        if not len(ys):
            return None
        best = np.argsort(score[ys, xs])[::-1][:MAX_CANDIDATES]
        ys, xs = ys[best], xs[best]
        scores = score[ys, xs].astype(np.float64)
        ys_of_level = ys + begin - rows.start
        corner = np.stack([xs, ys_of_level, xs, ys_of_level], axis=1) * float(STRIDE_PX)
        corner += (1, 1, CELL_PX, CELL_PX)
        boxes = (corner + offsets[:, *within][:, ys, xs].T * (CELL_PX - 1)) / level.scale
        kept = self._suppress(boxes, scores, SAME_IN_LEVEL)
        return boxes[kept], scores[kept]
