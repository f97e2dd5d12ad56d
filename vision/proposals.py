"""P-Net over a packed pyramid: the squares of a picture that are worth a closer look.

Three ways to compute it: in floats; in the coarser floats that some processors have; and in eight bits.
Where boxes must be those of the `mtcnn` package, what the packed picture cannot give exactly is computed
again, window by window. Owned by `vision.detector`; one object a picture size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from vision.detections import Image
from vision.errors import ModelError
from vision.geometry import greedy_nms, squared, strict_nms
from vision.graphs import mtcnn_graph, pnet_int8_graph
from vision.pyramid import CELL_PX, STRIDE_PX, FloatImage, Level, Pyramid, plan_pyramid
from vision.runtime import Network, RuntimeName, has_native_half, load_network, threads_of

Floats = NDArray[np.float64]

MAX_CANDIDATES = 3_000
"""Best P-Net cells kept for each scale: bounds the quadratic suppression on pictures of pure texture."""
UNSURE = 0.52
"""A cell with a higher score in coarser floats is computed again: of 78,660 above 0.6 none was lower..."""
BARELY = 0.01
"""... nor was any of those at the end of a level below this."""
MAX_WINDOWS, WINDOWS_STEP = 1024, 64
"""Computed at once, and what batches are filled up to a multiple of: a runtime prepares itself anew for every
size."""
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


class _Strip(NamedTuple):
    """Rows of P-Net's cells that are computed in one call."""

    first: int
    rows: int
    network: Network


class Proposals:
    """P-Net for pictures of one size, searched whole or in `parts`. Raises ModelError."""

    def __init__(self, settings: ProposalSettings, shape: tuple[int, int], parts: int) -> None:
        self._settings = s = settings
        self._pyramid = plan_pyramid(shape, s.min_face_px, s.scale_factor, halving=not s.exact)
        # The package's suppression loses faces that stand close together.
        self._suppress = strict_nms if s.exact else greedy_nms
        # Of logarithms of odds, or of probabilities.
        self._least = math.log(s.score / (1 - s.score)) if s.eight_bits else s.score
        is_coarse = s.runtime != "onnxruntime" and has_native_half()
        self._searches = self._prepared(parts, is_coarse)
        self._again: _Again | None = None
        if s.exact:
            windows = load_network(mtcnn_graph("pnet"), s.runtime, s.threads)
            self._again = _Again(windows, UNSURE if is_coarse else 1.0, self._pyramid)

    def _prepared(self, parts: int, is_coarse: bool) -> list[list[_Strip]]:
        """For each part of a search its strips. A whole one has two, where there are two processors: while
        one is computed the other is drawn, and two networks of one thread are faster than one of two. The
        larger one comes first."""
        s = self._settings
        if parts > 1:
            strips = [self._pyramid.strip(part, parts) for part in range(parts)]
            network = self._network(strips[0][1], s.threads, is_coarse)  # all are equal in height
            return [[_Strip(first, rows, network)] for first, rows in strips]
        threads = threads_of(s.threads)
        halves = self._pyramid.halves() if threads > 1 else [self._pyramid.strip(0, 1)]
        halves.sort(key=lambda half: -half[1])
        each = max(1, threads // len(halves))
        return [[_Strip(first, rows, self._network(rows, each, is_coarse)) for first, rows in halves]]

    def _network(self, rows: int, threads: int, is_coarse: bool) -> Network:
        """P-Net for so many rows of cells."""
        s, width = self._settings, self._pyramid.shape[1]
        height = (rows - 1) * STRIDE_PX + CELL_PX
        if s.eight_bits:
            path, batch = pnet_int8_graph(), (1, height // 2, width // 2, 12)
        else:
            path, batch = mtcnn_graph("pnet"), (1, height, width, 3)
        # Between whole numbers coarser floats gain nothing and would round the scores.
        return load_network(path, s.runtime, threads, batch, s.eight_bits or not is_coarse)

    def of(self, image: FloatImage | Image, part: int = 0) -> Floats:
        """(N, 4) squares, best first."""
        pack = self._pyramid.pack_blocks if self._settings.eight_bits else self._pyramid.pack
        *before, last = strips = self._searches[part]
        packed = []
        for strip in strips:
            packed.append(pack(image, strip.first, strip.rows))
            if strip is not last:
                strip.network.start(packed[-1][None])
        outputs = [last.network.run(packed[-1][None])]
        outputs = [*(strip.network.result() for strip in before), *outputs]
        boxes: list[Floats] = [np.zeros((0, 4))]
        scores: list[Floats] = [np.zeros(0)]
        # From the top: equal scores must stay in the package's order, by levels.
        done = sorted(zip(strips, packed, outputs, strict=True), key=lambda one: one[0].first)
        for strip, pixels, found_there in done:
            offsets, faces = self._cells(strip, pixels, found_there)
            for level in self._pyramid.levels:
                found = self._of_level(level, offsets, faces, strip.first, strip.rows)
                if found is not None:
                    boxes.append(found[0])
                    scores.append(found[1])
        every = np.concatenate(boxes)
        return np.asarray(squared(every[self._suppress(every, np.concatenate(scores), SAME)]))

    def _cells(
        self, strip: _Strip, packed: NDArray[Any], outputs: list[NDArray[Any]]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """P-Net's outputs for a packed strip as offsets (4, rows, columns) and scores (rows, columns)."""
        if self._settings.eight_bits:
            cells = outputs[0][0].transpose(2, 0, 1)
            offsets, faces = cells[:4], cells[4]
        else:
            offsets, faces = outputs[0][0], outputs[1][0, 1]
            if self._again is not None:
                offsets, faces = self._again.compute(packed, strip.first, offsets, faces)
        check(faces)
        return offsets, faces

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
        ys, xs = np.nonzero(score > self._least)
        if not len(ys):
            return None
        # In doubles, and sorted once, by the suppression: equal scores must stay in the package's order.
        scores = score[ys, xs].astype(np.float64)
        if self._settings.eight_bits:
            scores = 1 / (1 + np.exp(-scores))
        if len(scores) > MAX_CANDIDATES:
            best = np.argsort(scores)[::-1][:MAX_CANDIDATES]
            ys, xs, scores = ys[best], xs[best], scores[best]
        ys_of_level = ys + begin - rows.start
        corner = np.stack([xs, ys_of_level, xs, ys_of_level], axis=1) * float(STRIDE_PX)
        corner += (1, 1, CELL_PX, CELL_PX)
        boxes = (corner + offsets[:, *within][:, ys, xs].T * (CELL_PX - 1)) / level.scale
        kept = self._suppress(boxes, scores, SAME_IN_LEVEL)
        return boxes[kept], scores[kept]


class _Again:
    """Computes cells of P-Net's output once more, exactly.

    Those are the ones that coarser floats call faces, or nearly; and the last row and column of levels of an
    odd size: there the pooling of a level by itself ends with half a window, and in the packed picture with
    half of the gap.
    """

    def __init__(self, network: Network, unsure: float, pyramid: Pyramid) -> None:
        """network: P-Net for any number of windows of any size."""
        self._network = network
        self._unsure = unsure
        rows, columns = ((n - CELL_PX) // STRIDE_PX + 1 for n in pyramid.shape)
        self._is_inside, self._is_last_row, self._is_last_column = np.zeros((3, rows, columns), np.bool_)
        for level in pyramid.levels:
            self._is_inside[level.cells] = True
            self._is_last_row[level.cells][-1:] = level.height % 2 == 1
            self._is_last_column[level.cells][:, -1:] = level.width % 2 == 1

    def compute(
        self, packed: FloatImage, first: int, offsets: NDArray[Any], faces: NDArray[Any]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Offsets (4, rows, columns) and faces (rows, columns) of a packed picture (H, W, 3), whose cells are
        those of the pyramid from the row `first` on, corrected."""
        offsets, faces = offsets.copy(), faces.copy()
        within = slice(first, first + len(faces))
        at_end = self._is_last_row[within], self._is_last_column[within]
        least = np.where(at_end[0] | at_end[1], np.float32(BARELY), np.float32(self._unsure))
        is_due = self._is_inside[within] & (faces > least)
        for cut_rows, cut_columns in product((False, True), repeat=2):
            y, x = np.nonzero(is_due & (at_end[0] == cut_rows) & (at_end[1] == cut_columns))
            size = CELL_PX - cut_rows, CELL_PX - cut_columns
            found = self._windows(packed, y * STRIDE_PX, x * STRIDE_PX, size)
            offsets[:, y, x], faces[y, x] = found[:, :4].T, found[:, 4]
        return offsets, faces

    def _windows(
        self, packed: FloatImage, tops: NDArray[np.intp], lefts: NDArray[np.intp], size: tuple[int, int]
    ) -> NDArray[np.float32]:
        """(N, 5) offsets and score of the windows whose corners are at these pixels."""
        found = np.zeros((len(tops), 5), np.float32)
        views = sliding_window_view(packed, size, axis=(0, 1))
        for begin in range(0, len(tops), MAX_WINDOWS):
            some = slice(begin, begin + MAX_WINDOWS)
            count = len(tops[some])
            batch = np.zeros((count + -count % WINDOWS_STEP, *size, 3), np.float32)
            batch[:count] = views[tops[some], lefts[some]].transpose(0, 2, 3, 1)
            offsets, faces = self._network.run(batch)
            check(faces)
            found[some, :4] = offsets[:count, :, 0, 0]
            found[some, 4] = faces[:count, 1, 0, 0]
        return found


def check(values: NDArray[Any]) -> None:
    """A network that returns nonsense must not look like an empty picture: raises ModelError."""
    if not np.isfinite(values).all():
        raise ModelError("the detector's networks returned numbers that are not finite")
