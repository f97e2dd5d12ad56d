"""A detector that sees what the script lets it see: ground truth with jitter, misses and faults.

Stands in for both kinds, the one that feeds recognition and the one for veiling only. It notes who it
reported, for the checker's rule which faces count.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tests.faults.world import Face, Scene, Span, overlap
from vision.detections import Detections, Image
from vision.geometry import iou_matrix

SPOTS = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)], np.float32)
REACH = 0.75
"""A refining network finds a face whose center lies this many widths from the box it is given."""
SUPPRESSED = 0.4
"""Share of the smaller box beyond which a one-shot detector takes two faces for one (its non-maximum
suppression)."""
SETTLED = 0.5
"""Overlap with a settled box from which on a face is that one."""
EXPECTED_IOU = 0.25
"""Overlap with an expected box from which on a close look there shows the face."""
NOWHERE: NDArray[np.float32] = np.zeros((0, 4), np.float32)
MIN_VISIBLE = 0.5
"""A face of which less than this can be seen is found by nobody."""


@dataclass(slots=True)
class Sight:
    """When the detector misbehaves. Times in seconds of the world."""

    misses: dict[int, list[Span]] = field(default_factory=dict)
    raises: list[Span] = field(default_factory=list)
    nan_boxes: list[Span] = field(default_factory=list)
    nan_scores: list[Span] = field(default_factory=list)
    unsure: dict[int, list[Span]] = field(default_factory=dict)
    """A person's score is low: good enough to veil."""
    jitter: float = 0.02
    """Standard deviation of a box, in widths."""
    flicker: float = 0.0
    """Chance that a face is missed in one analysis."""


class ScriptedDetector:
    """Implements `vision.detections.Detector` for the scene it is shown."""

    def __init__(self, rng: np.random.Generator, sight: Sight) -> None:
        self._rng = rng
        self._sight = sight
        self._faces: list[Face] = []
        self._at = 0.0
        self.reported: set[tuple[int, int]] = set()
        """(person, epoch) of the faces reported for the current scene, or that a look would have shown."""
        self.found: set[tuple[int, int]] = set()
        """Those of them that the node was told of."""
        self.doubted: set[tuple[int, int]] = set()
        """Those of them with a low score."""

    def look_at(self, scene: Scene, visible: dict[int, float]) -> None:
        """The scene that the next calls are about. visible: share of each face not hidden."""
        self._at = scene.at
        self.reported, self.found = set(), set()
        self._faces = [f for f in scene.faces if self._is_seen(f, visible[f.person])]
        self.doubted = {(f.person, f.epoch) for f in self._faces if self._is_unsure(f)}

    def _is_seen(self, face: Face, visible: float) -> bool:
        if visible < MIN_VISIBLE or self._rng.random() < self._sight.flicker:
            return False
        return not any(self._at in span for span in self._sight.misses.get(face.person, []))

    def detect(self, image: Image, part: int = 0, parts: int = 1) -> Detections:
        """All faces that are seen. Raises RuntimeError where the script says so."""
        self._may_raise()
        self._tell(self._faces)
        return self._spoiled(self._detections(self._faces))

    def find(
        self, settled_xyxy: NDArray[np.float32], expected_xyxy: NDArray[np.float32] | None
    ) -> Detections:
        """What the veil-only detector sees: of two faces that share much, only the one in front; none
        that it is told not to look at. Of these, those that were expected, where that is told. Whoever could
        have been seen counts as reported: not to look is no excuse."""
        self._may_raise()
        faces = [
            face
            for i, face in enumerate(self._faces)
            if not any(overlap(face.box, front.box) > SUPPRESSED for front in self._faces[i + 1 :])
        ]
        if len(settled_xyxy) and faces:
            overlaps = iou_matrix(np.array([f.box for f in faces], np.float32), settled_xyxy).max(axis=1)
            faces = [face for face, share in zip(faces, overlaps, strict=True) if share < SETTLED]
        self.reported |= {(f.person, f.epoch) for f in faces}
        seen = self._spoiled(self._detections(faces, unsure_score=0.3))
        rows = np.arange(len(faces))
        if expected_xyxy is not None:
            is_expected = (iou_matrix(seen.boxes_xyxy, expected_xyxy) > EXPECTED_IOU).any(axis=1)
            rows = np.flatnonzero(is_expected)
        self._tell([faces[row] for row in rows])
        return Detections(seen.boxes_xyxy[rows], seen.scores[rows], seen.landmarks[rows])

    def refine(self, image: Image, boxes_xyxy: NDArray[np.float32]) -> Detections:
        """The nearest face for each box; score 0 where there is none."""
        self._may_raise()
        rows: list[Face | None] = [self._nearest(box) for box in boxes_xyxy]
        found = [f for f in rows if f is not None]
        self._tell(found)
        fresh = iter(zip(*_columns(self._detections(found)), strict=True))
        boxes, scores = boxes_xyxy.copy(), np.zeros(len(rows), np.float32)
        landmarks = np.zeros((len(rows), 5, 2), np.float32)
        for i, face in enumerate(rows):
            if face is not None:
                boxes[i], scores[i], landmarks[i] = next(fresh)
        return self._spoiled(Detections(boxes, scores, landmarks))

    def _tell(self, faces: list[Face]) -> None:
        keys = {(f.person, f.epoch) for f in faces}
        self.reported |= keys
        self.found |= keys

    def _nearest(self, box: NDArray[np.float32]) -> Face | None:
        cx, cy = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        best, best_gap = None, REACH
        for face in self._faces:
            x1, y1, x2, y2 = face.box
            gap = float(np.hypot((x1 + x2) / 2 - cx, (y1 + y2) / 2 - cy)) / (x2 - x1)
            if gap < best_gap:
                best, best_gap = face, gap
        return best

    def _detections(self, faces: list[Face], unsure_score: float = 0.7) -> Detections:
        if not faces:
            return Detections.none()
        boxes = np.array([f.box for f in faces], np.float32)
        size = boxes[:, 2:] - boxes[:, :2]
        noise = np.clip(self._rng.normal(0, self._sight.jitter, (len(faces), 4)), -0.06, 0.06)
        boxes += noise.astype(np.float32) * np.tile(size, 2)
        scores = np.array([unsure_score if self._is_unsure(f) else 0.98 for f in faces], np.float32)
        return Detections(boxes, scores, boxes[:, None, :2] + SPOTS[None] * size[:, None])

    def _is_unsure(self, face: Face) -> bool:
        return any(self._at in span for span in self._sight.unsure.get(face.person, []))

    def _may_raise(self) -> None:
        if any(self._at in span for span in self._sight.raises):
            raise RuntimeError("the accelerator is gone")

    def _spoiled(self, detections: Detections) -> Detections:
        boxes, scores = detections.boxes_xyxy.copy(), detections.scores.copy()
        if any(self._at in span for span in self._sight.nan_boxes):
            boxes[:] = np.nan
        if any(self._at in span for span in self._sight.nan_scores):
            scores[:] = np.nan
        return Detections(boxes, scores, detections.landmarks)


class ScriptedFinder:
    """Implements `vision.detections.FaceFinder` with the eyes of a `ScriptedDetector`."""

    is_quiet = True
    """It never foresees anybody."""

    def __init__(self, detector: ScriptedDetector) -> None:
        self._detector = detector
        self._glanced: Image | None = None

    def begin(self, image: Image) -> None:
        """Nothing takes time here."""

    def glance(self, image: Image) -> Detections:
        """What was seen comes with `examine`."""
        self._glanced = image
        return Detections.none()

    def examine(
        self,
        image: Image,
        glance: Detections,
        expected_xyxy: NDArray[np.float32],
        settled_xyxy: NDArray[np.float32],
        looks: int,
    ) -> Detections:
        """All that can be seen and is not settled, in an image that was glanced at; in others nothing beside
        what is expected. A closer look at that shows no more."""
        return self._detector.find(settled_xyxy, None if self._glanced is image else expected_xyxy)


def _columns(
    d: Detections,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    return d.boxes_xyxy, d.scores, d.landmarks
