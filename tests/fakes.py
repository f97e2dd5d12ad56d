"""Stand-ins for parts, as small classes. Shared by the tests of several packages."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_node.frames import RawFrame
from edge_node.tracking.track import Analysis, Box, Evidence, Observation, TrackState
from vision.detections import Detections, Image


def detections(*boxes: Box, score: float = 0.99) -> Detections:
    """Detections with plausible landmarks inside each box."""
    if not boxes:
        return Detections.none()
    array = np.array(boxes, np.float32)
    size = array[:, 2:] - array[:, :2]
    spots = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)], np.float32)
    landmarks = array[:, None, :2] + spots[None] * size[:, None]
    return Detections(array, np.full(len(boxes), score, np.float32), landmarks)


class FakeDetector:
    """Sees what the test sets in `faces`; follows every box it is asked about."""

    def __init__(self) -> None:
        self.faces: Detections = Detections.none()
        self.refines = True
        self.fault: Exception | None = None
        self.scans = 0

    def detect(self, image: Image, part: int = 0, parts: int = 1) -> Detections:
        if self.fault is not None:
            raise self.fault
        self.scans += 1
        return self.faces

    def refine(self, image: Image, boxes_xyxy: NDArray[np.float32]) -> Detections:
        if self.fault is not None:
            raise self.fault
        scores = np.full(len(boxes_xyxy), 0.99 if self.refines else 0.0, np.float32)
        landmarks = np.zeros((len(boxes_xyxy), 5, 2), np.float32)
        return Detections(boxes_xyxy, scores, landmarks)


class FakeFinder:
    """A veil-only detector that sees what the test sets, and remembers what it was told."""

    def __init__(self) -> None:
        self.faces = Detections.none()
        self.expected = self.settled = np.zeros((0, 4), np.float32)
        self.looks = 0
        self.begun: list[Image] = []
        self.glanced: list[Image] = []
        self.is_quiet = False

    def begin(self, image: Image) -> None:
        self.begun.append(image)

    def glance(self, image: Image) -> Detections:
        self.glanced.append(image)
        return Detections.none()

    def examine(
        self,
        image: Image,
        glance: Detections,
        expected_xyxy: NDArray[np.float32],
        settled_xyxy: NDArray[np.float32],
        looks: int,
    ) -> Detections:
        self.expected, self.settled, self.looks = expected_xyxy, settled_xyxy, looks
        return self.faces


def raw_frame(seq: int, at: float, image: Image | None = None) -> RawFrame:
    """A frame captured at `at`; gray where no image is given."""
    if image is None:
        image = np.full((120, 160, 3), 128, np.uint8)
    return RawFrame(seq=seq, captured_at=at, pts_s=at, image=image)


def observation(
    path: int,
    box: Box,
    *,
    track: int | None = None,
    evidence: Evidence = Evidence.DETECTED,
    unseen_s: float = 0.0,
    trusted: bool = True,
    watched: bool = True,
) -> Observation:
    """An observation of a confirmed path."""
    return Observation(
        path=path,
        track=path if track is None else track,
        state=TrackState.LOST if evidence is Evidence.COASTED else TrackState.CONFIRMED,
        evidence=evidence,
        box_xyxy=box,
        score=0.99,
        unseen_s=unseen_s,
        trusted=trusted and evidence is not Evidence.COASTED,
        watched=watched,
    )


def analysis(
    at: float, *observations: Observation, cut: bool = False, frame_width: int | None = None
) -> Analysis:
    return Analysis(seq=0, at=at, observations=tuple(observations), cut=cut, frame_width=frame_width)
