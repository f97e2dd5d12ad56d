"""MTCNN: the cascade around the three networks of `vision.mtcnn_onnx`.

Gives the boxes of the `mtcnn` package at its defaults (tests/vision/test_detector.py), many times faster:
the whole pyramid is packed into one picture for P-Net (`vision.proposals`), and all patches of a stage are
sampled in one pass. Implements `vision.detections.Detector`. Not thread-safe:
one thread owns a detector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.detections import Detections, Image
from vision.geometry import squared, strict_nms
from vision.graphs import mtcnn_graph
from vision.proposals import Proposals, ProposalSettings, check
from vision.pyramid import CELL_PX, FloatImage
from vision.runtime import SMALL_THREADS, Network, RuntimeName, has_vnni, load_network, threads_of

Floats = NDArray[np.float64]

MAX_PATCHES = 600
"""Patches in one R-Net or O-Net call, and of one part of a search; more are dropped there, worst first."""
MAX_PATCHES_WHOLE = 6_000
"""The same of a whole search: pictures of crowds have thousands, of which the worst may be faces."""
MANY_PATCHES = {24: 48, 48: 9}
"""From so many on (by their side) a search is worth a second thread for R-Net and O-Net: a part of one has
fewer..."""
PATCHES_STEP = {24: (4, 16), 48: (2, 4)}
"""... Patches come in multiples of the first of these, or of the second where there are many: a runtime
prepares itself anew for every size of batch, and keeps what it has prepared."""
BEYOND = -9.0
"""A place outside of every picture, far enough that nothing of it is blended in."""
MAX_PYRAMIDS = 4
"""Picture sizes remembered: a compiled P-Net each."""


@dataclass(frozen=True, slots=True)
class MtcnnSettings:
    """Defaults are those of the `mtcnn` package."""

    min_face_px: int = 20
    pnet_score: float | None = None
    rnet_score: float | None = None
    """None: the package's 0.6 and 0.7 where boxes are `exact`, else 0.75 and 0.4: R-Net has 43 % fewer
    candidates to judge, and keeps more of them. Finds as many faces, by average precision a little more."""
    onet_score: float = 0.8
    scale_factor: float = 0.709
    exact: bool = True
    """The package's boxes. False: small pyramid levels drawn from a halved picture, in bytes; P-Net in eight
    bits and the others in coarser floats where the processor has them; candidates suppressed only by those
    that are kept. A third of the time, boxes that differ by a few percent, and a few more faces."""
    scan_side_px: int = 0
    """In a picture whose longer side exceeds this the smallest face searched for grows alike: a bound on the
    cost of a scan. 0: no bound."""
    runtime: RuntimeName = "auto"
    threads: int = 0


class Mtcnn:
    """Finds faces with five landmarks. Loads three networks; raises ModelError where it cannot."""

    def __init__(self, settings: MtcnnSettings | None = None) -> None:
        self._settings = settings or MtcnnSettings()
        s = self._settings
        if s.min_face_px < CELL_PX:
            raise ValueError(f"min_face_px must be at least {CELL_PX}")
        self._rnet, self._onet = (self._one_and_halves(name) for name in ("rnet", "onet"))
        self._pnet_score = s.pnet_score if s.pnet_score is not None else 0.6 if s.exact else 0.75
        self._rnet_score = s.rnet_score if s.rnet_score is not None else 0.7 if s.exact else 0.4
        self._proposals: dict[tuple[int, int, int], Proposals] = {}

    def detect(self, image: Image, part: int = 0, parts: int = 1) -> Detections:
        """All faces of a picture (H, W, 3) BGR: scores above `onet_score`.

        With `parts`, those of one part of the search (about as much of its cost): 0 <= part < parts. A face
        belongs to one part by its place and size, or to two that meet there.
        """
        # Sampled below: on bytes OpenCV rounds each sample, which costs parity but no faces.
        pixels = image.astype(np.float32) if self._settings.exact else image
        boxes = self._proposals_for(image.shape[:2], parts).of(pixels, part)
        boxes = boxes[: MAX_PATCHES_WHOLE if parts == 1 else MAX_PATCHES]
        if len(boxes):
            boxes = self._reject(pixels, boxes)
        if not len(boxes):
            return Detections.none()
        found, scores, landmarks = self._describe(pixels, boxes, self._onet)
        keep = np.flatnonzero(scores > self._settings.onet_score)
        keep = keep[strict_nms(found[keep], scores[keep], 0.7, over="smaller")]
        return Detections(
            found[keep].astype(np.float32),
            scores[keep].astype(np.float32),
            landmarks[keep].astype(np.float32),
        )

    def refine(self, image: Image, boxes_xyxy: NDArray[np.float32]) -> Detections:
        """Ask O-Net alone about given boxes (N, 4). N rows in the same order; a row that is no face (or
        was no box) has score 0 and the box as given."""
        given = np.asarray(boxes_xyxy, np.float64).reshape(-1, 4)
        boxes = np.array(boxes_xyxy, np.float32).reshape(-1, 4)
        scores = np.zeros(len(given), np.float32)
        landmarks = np.zeros((len(given), 5, 2), np.float32)
        sides = (given[:, 2:] - given[:, :2]).min(axis=1) if len(given) else np.zeros(0)
        usable = np.flatnonzero(
            np.isfinite(given).all(axis=1) & (sides >= 4) & (np.abs(given) < 1e5).all(axis=1)
        )[:MAX_PATCHES]
        if len(usable):
            # Sampled from the bytes: rounding a sample does not matter to a yes or no.
            squares = np.asarray(squared(given[usable]), np.float64)
            # One thread however many they are: the other core glances meanwhile.
            found, score, points = self._describe(image, squares, self._onet[:1])
            is_face = score > self._settings.onet_score
            rows = usable[is_face]
            boxes[rows], scores[rows] = found[is_face], score[is_face]
            landmarks[rows] = points[is_face]
        return Detections(boxes, scores, landmarks)

    # --- the stages -------------------------------------------------------------------

    def _reject(self, image: FloatImage | Image, boxes: Floats) -> Floats:
        """R-Net: (N, 4) squares -> those that look like a face, better placed."""
        offsets, faces = _run(self._rnet, image, boxes, 24)
        check(faces)
        scores = faces[:, 1].astype(np.float64)
        moved = _shifted(boxes, offsets)
        keep = np.flatnonzero(scores > self._rnet_score)
        keep = keep[strict_nms(moved[keep], scores[keep], 0.7)]
        return np.asarray(squared(moved[keep]))

    def _describe(
        self, image: FloatImage | Image, boxes: Floats, onet: Sequence[Network]
    ) -> tuple[Floats, Floats, Floats]:
        """O-Net: (N, 4) squares -> boxes (N, 4), scores (N,), landmarks (N, 5, 2)."""
        offsets, points, faces = _run(onet, image, boxes, 48)
        for values in (offsets, points, faces):
            check(values)
        extent = boxes[:, 2:] - boxes[:, :2] + 1
        landmarks = np.stack([points[:, :5], points[:, 5:]], axis=2).astype(np.float64)
        landmarks = landmarks * extent[:, None] + boxes[:, None, :2] - 1
        return _shifted(boxes, offsets), faces[:, 1].astype(np.float64), landmarks

    def _one_and_halves(self, name: str) -> list[Network]:
        """A network for a few patches; with it, where there are two processors, another one or two that
        compute one half each of many. One of two threads takes an eighth longer."""
        s = self._settings
        threads = threads_of(s.threads)
        each = max(SMALL_THREADS, threads // 2)
        count = 1 if threads == 1 else 2 if each == SMALL_THREADS else 3
        return [
            load_network(mtcnn_graph(name), s.runtime, each if n else SMALL_THREADS, exact=s.exact)
            for n in range(count)
        ]

    def _proposals_for(self, shape: tuple[int, int], parts: int) -> Proposals:
        key = (*shape, parts)
        if key not in self._proposals:
            while len(self._proposals) >= MAX_PYRAMIDS:
                del self._proposals[next(iter(self._proposals))]
            s = self._settings
            limit = s.scan_side_px or max(shape)
            settings = ProposalSettings(
                min_face_px=s.min_face_px * max(1.0, max(shape) / limit),
                scale_factor=s.scale_factor,
                score=self._pnet_score,
                exact=s.exact,
                eight_bits=not s.exact and has_vnni(),
                runtime=s.runtime,
                threads=SMALL_THREADS if parts > 1 else s.threads,
            )
            self._proposals[key] = Proposals(settings, shape, parts)
        return self._proposals[key]


def _run(
    networks: Sequence[Network], image: FloatImage | Image, boxes: Floats, side: int
) -> list[NDArray[Any]]:
    """R-Net's or O-Net's outputs for what lies in boxes (N > 0, 4): of a few by the first network, of many by
    the last two at once, each of which gets one half while the other's is sampled."""
    is_many = len(boxes) >= MANY_PATCHES[side] and len(networks) > 1
    step = PATCHES_STEP[side][is_many]
    used = networks[-2:] if is_many else networks[:1]
    each = min(MAX_PATCHES // step, -(-len(boxes) // (len(used) * step))) * step
    calls = [boxes[begin : begin + each] for begin in range(0, len(boxes), each)]
    joined: list[list[NDArray[Any]]] = []
    for first in range(0, len(calls), len(used)):
        now = calls[first : first + len(used)]
        sampled: list[FloatImage] = []
        for network, some in zip(used, now, strict=False):
            sampled.append(_rounded_up(_patches(image, some, side), step))
            if some is not now[-1]:
                network.start(sampled[-1])
        last = used[len(now) - 1].run(sampled[-1])
        outputs = [*(network.result() for network in used[: len(now) - 1]), last]
        # Copies: a network's outputs last until its next call.
        joined += [[v[: len(some)].copy() for v in values] for some, values in zip(now, outputs, strict=True)]
    return [np.concatenate(values) for values in zip(*joined, strict=True)]


def _shifted(boxes: Floats, offsets: NDArray[Any]) -> Floats:
    extent = boxes[:, 2:] - boxes[:, :2] + 1
    return np.asarray(boxes + offsets * np.tile(extent, 2))


def _patches(image: FloatImage | Image, boxes: Floats, side: int) -> FloatImage:
    """(N, side, side, 3) float32: every box sampled bilinearly, corner to corner, in one pass.

    The sampling grid is that of tf.image.crop_and_resize with boxes divided by the picture's size, as
    the package calls it; beyond the picture lies the gray that normalizes to zero. In floats its border is
    that of the package as well: nothing blends with the gray.
    """
    height, width = image.shape[:2]
    steps = np.linspace(0.0, 1.0, side)
    x = (boxes[:, 0, None] + (boxes[:, 2] - boxes[:, 0])[:, None] * steps) * ((width - 1) / width)
    y = (boxes[:, 1, None] + (boxes[:, 3] - boxes[:, 1])[:, None] * steps) * ((height - 1) / height)
    count = len(boxes)
    if image.dtype == np.float32:
        x = np.where((x < 0) | (x > width - 1), BEYOND, x)
        y = np.where((y < 0) | (y > height - 1), BEYOND, y)
    map_x, map_y = np.empty((2, count, side, side), np.float32)
    map_x[:], map_y[:] = x[:, None, :], y[:, :, None]
    sampled = cv2.remap(
        image, map_x.reshape(-1, side), map_y.reshape(-1, side), cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT, borderValue=(127.5, 127.5, 127.5),
    )  # fmt: skip
    return np.asarray(sampled, np.float32).reshape(count, side, side, 3)


def _rounded_up(patches: FloatImage, step: int) -> FloatImage:
    """(N, H, W, 3) with empty patches behind, so that N is a multiple of `step`."""
    missing = -len(patches) % step
    empty = np.zeros((missing, *patches.shape[1:]), np.float32)
    return np.concatenate([patches, empty]) if missing else patches
