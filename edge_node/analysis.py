"""The analysis of one frame: detector and tracker together, and the crops worth asking about.

Owned by the analysis thread. Decides when a full scan is due; between scans the refining networks
look where the tracker expects each face, so every analyzed frame gives every face a fresh box. Fails
loud: a detector that raises or returns nonsense yields no Analysis, so the frame leaves veiled.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_node.errors import NodeError
from edge_node.frames import RawFrame
from edge_node.liveness.watch import LivenessWatch
from edge_node.tracking.appearance import signature
from edge_node.tracking.effort import LOOKS, Effort, EffortControl, Glance
from edge_node.tracking.pace import Pace
from edge_node.tracking.sampling import Look
from edge_node.tracking.stillness import Stillness
from edge_node.tracking.track import Analysis, Evidence, Observation, TrackState
from edge_node.tracking.tracker import Tracker
from vision.crops import cut_crop
from vision.detections import Detections, Detector, FaceFinder, Image
from vision.quality import quality_of

REFINE_EVERY = 3
"""Analyses between two attempts to refine a face that MTCNN did not confirm."""
BY_MTCNN = (Evidence.DETECTED, Evidence.REFINED)
NOWHERE: NDArray[np.float32] = np.zeros((0, 4), np.float32)
"""(0, 4): no boxes."""
SCAN_SPACING = 16.0
"""With a veil-only detector, the least time between two parts of a scan, in parts: they take little of its
time."""
FAST_LEAP = 0.3
"""A face that moves by so many sizes between two analyses is gone before the one after."""
PARTS = 16
"""Parts that a scan is made in then, at different frames, so that none of them waits for a whole scan."""


class AnalysisError(NodeError):
    """The detector returned what cannot be a detection. The frame must leave veiled."""


@dataclass(frozen=True, slots=True)
class AnalysisSettings:
    """When to scan, what to ask with."""

    scan_every_s: float = 0.12
    """Between two full scans while something changes: a face appeared, was lost or is not sure..."""
    scan_still_s: float = 0.4
    """... and while nothing does."""
    cut_decorrelation: float = 0.45
    """1 - correlation of two thumbnails beyond which the shot has changed: in `hamilton.mp4` its three
    cuts give 0.69 to 0.94, any other pair of frames in the test clips 0.28 at most."""
    settled_score: float = 0.8
    """A face that MTCNN is so sure of needs no look of the veil-only detector."""
    min_ask_px: float = 32.0
    """Smaller faces are veiled but not asked about."""
    min_ask_quality: float = 0.25
    """Worse crops teach the hub nothing."""


class Analyzer:
    """Turns frames into analyses. Not thread-safe: one thread owns it and its detector."""

    def __init__(
        self,
        detector: Detector,
        tracker: Tracker,
        settings: AnalysisSettings,
        finder: FaceFinder | None = None,
        clock: Callable[[], float] = time.perf_counter,
        liveness: LivenessWatch | None = None,
    ) -> None:  # the parts that look at a frame, and what they go by
        self._liveness = liveness
        self._detector = detector
        self._clock = clock
        self._scan_cost_s = 0.0
        self._part = 0
        self._effort = EffortControl()
        self._stillness = Stillness()
        self._observations: tuple[Observation, ...] = ()
        """Of the last analysis: one for each path that the tracker predicts, in its order."""
        self._analyses = self._seq = 0
        self._urgent_parts = PARTS
        self._finder = finder
        self._is_still = False
        self._tracker = tracker
        self._pace = Pace()
        self._settings = settings
        self._scanned_at = float("-inf")
        self._thumbnail: NDArray[np.float32] | None = None

    def prepare(self, width: int, height: int) -> None:
        """Load what frames of this size need. Changes nothing of what is known about faces."""
        gray = np.full((height, width, 3), 128, np.uint8)
        self._detector.detect(gray, 0, 1 if self._finder is None else PARTS)
        center = np.array([[width / 4, height / 4, width * 3 / 4, height * 3 / 4]], np.float32)
        self._detector.refine(gray, center)
        if self._finder is not None:
            self._finder.examine(gray, self._finder.glance(gray), center, NOWHERE, LOOKS[-1])

    def analyze(self, frame: RawFrame, age_s: float = 0.0) -> Analysis:
        """Find and follow the faces of a frame captured after all earlier ones, so long ago."""
        now, image = self._pace.at(frame.captured_at, frame.seq), frame.image
        is_cut = self._is_cut(image)
        if is_cut:
            self._tracker.reset()
            self._urgent_parts = PARTS
            self._stillness.reset()
            if self._liveness is not None:
                self._liveness.reset()
        predicted = self._tracker.predict(now)
        is_eventful = self._urgent_parts > 0 or self._leap(predicted) > FAST_LEAP
        is_unchanged = self._finder is not None and self._stillness.is_still(image, predicted)
        effort = self._effort.for_frame(
            frame.seq, age_s, is_eventful, lambda: is_unchanged and self._is_settled(self._observations)
        )
        if self._finder is not None and effort.glance is Glance.NOW:
            self._finder.begin(image)
            self._stillness.saw(image)
        scanned = self._scan(image, now) if self._is_scan_due(now) else None
        refined = self._refine(image, predicted)
        found = self._find(image, predicted, refined, scanned, effort)
        observations = self._tracker.step(
            now, refined, scanned, found, look=lambda box: signature(image, box)
        )
        is_calm = (
            is_unchanged
            and frame.seq == self._seq + 1
            and not is_eventful  # a cut is
            and [o.path for o in observations] == [o.path for o in self._observations]
            and self._is_settled(observations)
        )
        self._seq = frame.seq
        self._observations = observations
        self._analyses += 1
        self._is_still = found is not None and all(
            o.state is TrackState.CONFIRMED and o.unseen_s == 0 for o in observations
        )
        suspected = 0
        if self._liveness is not None:
            observations = self._liveness.judge(image, observations, now)
            suspected = self._liveness.suspected
        width = image.shape[1]
        return Analysis(frame.seq, frame.captured_at, observations, is_cut, suspected, width, is_calm)

    def _refine(self, image: Image, predicted: NDArray[np.float32]) -> Detections:
        """MTCNN's refining network on the predicted boxes, one row each. A face that it did not confirm last
        time (a side view, say) is offered to it only now and then, if a veil-only detector follows it."""
        if not len(predicted):
            return Detections.none()
        rows = np.arange(len(predicted))
        if self._finder is not None:
            worth = [self._is_worth_refining(o) for o in self._observations]
            rows = np.flatnonzero(worth)
        scores = np.zeros(len(predicted), np.float32)
        boxes, landmarks = predicted.copy(), np.zeros((len(predicted), 5, 2), np.float32)
        if len(rows):
            refined = _checked(self._detector.refine(image, predicted[rows]))
            boxes[rows], scores[rows] = refined.boxes_xyxy, refined.scores
            landmarks[rows] = refined.landmarks
        return Detections(boxes, scores, landmarks)

    def _leap(self, predicted: NDArray[np.float32]) -> float:
        """The furthest way of a face since the last analysis, in face sizes."""
        if not len(predicted) or len(predicted) != len(self._observations):
            return 0.0
        before = np.array([o.box_xyxy for o in self._observations], np.float32)
        way = (predicted[:, :2] + predicted[:, 2:] - before[:, :2] - before[:, 2:]) / 2
        size = np.maximum((before[:, 2:] - before[:, :2]).max(axis=1), 1.0)
        return float((np.abs(way).max(axis=1) / size).max())

    def _is_settled(self, observations: tuple[Observation, ...]) -> bool:
        """Whether MTCNN has confirmed all who are followed, and the last glance promised nobody else."""
        if self._finder is None or not self._finder.is_quiet:
            return False
        return all(o.state is TrackState.CONFIRMED and o.evidence in BY_MTCNN for o in observations)

    def _is_worth_refining(self, last: Observation) -> bool:
        is_mtcnns = last.evidence in BY_MTCNN
        is_new = last.state is TrackState.TENTATIVE
        return is_mtcnns or is_new or (self._analyses + last.path) % REFINE_EVERY == 0

    def _find(
        self,
        image: Image,
        predicted: NDArray[np.float32],
        refined: Detections,
        scanned: Detections | None,
        effort: Effort,
    ) -> Detections | None:
        """The veil-only detector's faces: it is told which of the predicted ones MTCNN has not confirmed."""
        if self._finder is None:
            return None
        is_confirmed = refined.scores >= self._settings.settled_score
        settled = [refined.boxes_xyxy[is_confirmed]]
        if scanned is not None:
            settled.append(scanned.boxes_xyxy[scanned.scores >= self._settings.settled_score])
        expected = predicted[~is_confirmed]
        is_lost = effort.glance is Glance.IF_LOST and len(expected) > 0
        is_due = effort.glance is Glance.NOW or is_lost
        glance = self._finder.glance(image) if is_due else Detections.none()
        return _checked(self._finder.examine(image, glance, expected, np.concatenate(settled), effort.looks))

    def _is_scan_due(self, now: float) -> bool:
        """Without a veil-only detector every new face waits for a scan, so they are whole and frequent. With
        one they must not take its time: they are made in parts, further apart where they cost much."""
        if self._urgent_parts:  # with a veil-only detector every other frame: it must keep up
            return self._finder is None or self._analyses % 2 == 0
        if self._finder is None:
            return now - self._scanned_at >= self._settings.scan_every_s
        wanted_s = self._settings.scan_still_s if self._is_still else self._settings.scan_every_s
        return now - self._scanned_at >= max(wanted_s / PARTS, SCAN_SPACING * self._scan_cost_s)

    def _scan(self, image: Image, now: float) -> Detections:
        parts = 1 if self._finder is None else PARTS
        started = self._clock()
        scanned = _checked(self._detector.detect(image, self._part % parts, parts))
        self._scan_cost_s = self._clock() - started
        self._scanned_at = now
        self._part += 1
        self._urgent_parts = max(0, self._urgent_parts - PARTS // parts)
        return scanned

    def looks(self, image: Image, observations: Iterable[Observation], tracks: Iterable[int]) -> list[Look]:
        """Crops of the given tracks, where this frame shows them well enough to ask about."""
        by_track = {o.track: o for o in observations if o.trusted}
        looks = []
        for observation in (by_track[t] for t in tracks if t in by_track):
            x1, y1, x2, y2 = observation.box_xyxy
            face_px = min(x2 - x1, y2 - y1)
            if observation.landmarks is None or face_px < self._settings.min_ask_px:
                continue
            box = np.array(observation.box_xyxy, np.float32)
            crop = cut_crop(image, box, observation.landmarks)
            quality = quality_of(crop, face_px).overall
            if quality >= self._settings.min_ask_quality:
                looks.append(Look(observation.track, crop, quality))
        return looks

    def _is_cut(self, image: Image) -> bool:
        k = max(1, min(image.shape[:2]) // THUMBNAIL_FROM_PX)  # averaging every pixel would take 3 ms
        some = cv2.resize(image, (image.shape[1] // k, image.shape[0] // k), interpolation=cv2.INTER_NEAREST)
        small = cv2.resize(some, (32, 18), interpolation=cv2.INTER_AREA).astype(np.float32)
        before, self._thumbnail = self._thumbnail, small
        if before is None:
            return False
        a, b = small - small.mean(), before - before.mean()
        spread = float(np.sqrt((a * a).sum() * (b * b).sum()))
        if spread < FLAT_SPREAD:  # no structure to compare: a cut if the brightness changed
            return float(np.abs(small - before).mean()) > FLAT_CHANGE
        return 1.0 - float((a * b).sum()) / spread > self._settings.cut_decorrelation


THUMBNAIL_FROM_PX = 120
"""Thumbnails are averaged from rows and columns of about this many pixels."""
FLAT_SPREAD = 32 * 18 * 3 * 4.0
"""Thumbnails whose gray values deviate by less than 2 levels on average have nothing to correlate."""
FLAT_CHANGE = 40.0
"""Gray levels."""


def _checked(detections: Detections) -> Detections:
    for values in (detections.boxes_xyxy, detections.scores, detections.landmarks):
        if not np.isfinite(values).all():
            raise AnalysisError("the detector returned numbers that are not finite")
    return detections
