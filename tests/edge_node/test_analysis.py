"""The analysis of a frame: when it scans, glances and looks closely, and what it calls calm."""

from __future__ import annotations

import numpy as np

from edge_node.analysis import PARTS, AnalysisSettings, Analyzer
from edge_node.tracking.effort import LATE_S
from edge_node.tracking.track import Analysis, TrackState
from edge_node.tracking.tracker import Tracker, TrackerSettings
from tests.fakes import FakeDetector, FakeFinder, detections, raw_frame
from vision.detections import Detections, Image

FACE = (60.0, 40.0, 90.0, 80.0)


def test_scans_that_are_slow_are_spaced_so_that_the_veil_only_detector_comes_to_its_turn() -> None:
    now = 0.0

    class Slow(FakeDetector):
        def detect(self, image: Image, part: int = 0, parts: int = 1) -> Detections:
            nonlocal now
            now += 0.2
            return super().detect(image, part, parts)

    detector = Slow()
    analyzer = Analyzer(detector, Tracker(), AnalysisSettings(), FakeFinder(), clock=lambda: now)
    for i in range(2 * PARTS + 40):
        analyzer.analyze(raw_frame(i, 1.0 + i * 0.04))
    # All parts of the first scan at every other frame, then none for 3.2 s.
    assert detector.scans == PARTS


def test_the_veil_only_detector_looks_closely_where_mtcnn_lost_a_face() -> None:
    detector, finder = FakeDetector(), FakeFinder()
    detector.faces = detections(FACE)
    analyzer = Analyzer(detector, Tracker(), AnalysisSettings(), finder)
    for n in range(2 * PARTS):
        analyzer.analyze(raw_frame(n, 0.9 + 0.001 * n))
    detector.faces = Detections.none()
    analyzer.analyze(raw_frame(2 * PARTS, 1.04))
    assert len(finder.expected) == 0
    np.testing.assert_allclose(finder.settled, [FACE], atol=1)
    detector.refines = False
    analyzer.analyze(raw_frame(2 * PARTS + 1, 1.08))
    np.testing.assert_allclose(finder.expected, [FACE], atol=1)
    assert len(finder.settled) == 0


def test_of_frames_that_waited_in_vain_every_other_is_glanced_at_unless_a_face_leaps() -> None:
    for step_px, glanced in ((1.0, 2), (20.0, 4)):
        detector, finder = FakeDetector(), FakeFinder()
        analyzer = Analyzer(detector, Tracker(), AnalysisSettings(), finder)
        for n in range(3 * PARTS):
            x = 1.0 * step_px * n
            detector.faces = detections((FACE[0] + x, FACE[1], FACE[2] + x, FACE[3]))
            if n == 3 * PARTS - 4:
                finder.begun.clear()
            age_s = 2 * LATE_S if n >= 3 * PARTS - 4 else 0.0
            analyzer.analyze(raw_frame(n, 1.0 + n * 0.04), age_s)
        assert len(finder.begun) == glanced, f"{step_px} px a frame"


class Followed:
    """A face that MTCNN confirms in a room where nothing else happens, and nobody else is foreseen."""

    def __init__(self, settings: TrackerSettings | None = None) -> None:
        self.detector, self.finder = FakeDetector(), FakeFinder()
        self.detector.faces = detections(FACE)
        self.analyzer = Analyzer(self.detector, Tracker(settings), AnalysisSettings(), self.finder)
        self.finder.is_quiet = True
        self.seq = 0
        for _ in range(3 * PARTS):
            self.next()

    def next(self, image: Image | None = None) -> Analysis:
        self.seq += 1
        return self.analyzer.analyze(raw_frame(self.seq, 1.0 + self.seq * 0.04, image))

    def glances(self, *images: Image | None) -> list[int]:
        """How often each of these frames is glanced at."""
        found = []
        for image in images:
            self.finder.glanced.clear()
            self.next(image)
            found.append(len(self.finder.glanced))
        return found


def room(left: int = 0, top: int = 0, size: int = 0, gray: int = 160) -> Image:
    """A gray picture, and in it a square."""
    image = np.full((120, 160, 3), 128, np.uint8)
    image[top : top + size, left : left + size] = gray
    return image


def test_where_nothing_changes_every_other_frame_is_glanced_at() -> None:
    assert sum(Followed().glances(*[None] * 6)) == 3


def test_whoever_comes_into_view_is_glanced_at_at_once() -> None:
    for turn in range(2):  # whichever frame is the one that would not be glanced at
        followed = Followed()
        followed.glances(*[None] * turn)
        assert followed.glances(room(120, 10, 12)) == [1]


def test_those_who_are_followed_may_move() -> None:
    left, top = int(FACE[0]), int(FACE[1])
    moving = [room(left + n, top, 20) for n in range(6)]
    assert sum(Followed().glances(*moving)) <= 4


def test_a_face_that_is_lost_is_glanced_for_at_once() -> None:
    followed = Followed()
    while followed.glances(None) == [1]:
        pass
    followed.next()
    followed.detector.refines = False
    assert followed.glances(None) == [1]


def test_nobody_looks_away_where_a_glance_promised_somebody() -> None:
    followed = Followed()
    followed.finder.is_quiet = False
    assert followed.glances(*[None] * 4) == [1] * 4


def test_an_analysis_is_calm_where_all_are_confirmed_and_nothing_else_is_promised_or_changes() -> None:
    followed = Followed()
    assert all(followed.next().is_calm for _ in range(6))
    left, top = int(FACE[0]), int(FACE[1])
    assert followed.next(room(left, top, 20)).is_calm, "those who are followed may move"


def test_no_analysis_is_calm_when_somebody_may_have_come_or_gone() -> None:
    followed = Followed()
    assert not followed.next(room(120, 10, 12)).is_calm, "something changed"
    followed = Followed()
    followed.finder.is_quiet = False
    assert not followed.next().is_calm, "somebody was promised"
    followed = Followed()
    followed.seq += 1
    assert not followed.next().is_calm, "a frame was left out"
    followed = Followed()
    followed.detector.refines, followed.detector.faces = False, Detections.none()
    assert not followed.next().is_calm, "a face was not confirmed"
    followed = Followed()
    followed.finder.faces = detections((120.0, 10.0, 140.0, 30.0))
    assert not followed.next().is_calm, "somebody joined"
    followed = Followed()
    assert not followed.next(np.full((120, 160, 3), 250, np.uint8)).is_calm, "the shot changed"


def test_no_analysis_is_calm_that_finds_somebody_however_sure_of_it() -> None:
    followed = Followed(TrackerSettings(confirm_hits=1))
    followed.detector.faces = detections(FACE, (120.0, 10.0, 140.0, 30.0))
    for _ in range(2 * PARTS):
        found = followed.next()
        if len(found.observations) > 1:
            break
    assert len(found.observations) == 2
    assert found.observations[1].state is TrackState.CONFIRMED
    assert not found.is_calm


def test_no_analysis_is_calm_in_which_a_face_leaps() -> None:
    for step_px, is_calm in ((1.0, True), (20.0, False)):
        detector, finder = FakeDetector(), FakeFinder()
        finder.is_quiet = True
        analyzer = Analyzer(detector, Tracker(), AnalysisSettings(), finder)
        for n in range(3 * PARTS):
            x = step_px * n
            detector.faces = detections((FACE[0] + x, FACE[1], FACE[2] + x, FACE[3]))
            found = analyzer.analyze(raw_frame(n, 1.0 + n * 0.04))
        assert found.is_calm is is_calm, f"{step_px} px a frame"


def test_without_a_veil_only_detector_nothing_is_calm() -> None:
    detector = FakeDetector()
    analyzer = Analyzer(detector, Tracker(), AnalysisSettings())
    assert not any(analyzer.analyze(raw_frame(n, 1.0 + n * 0.04)).is_calm for n in range(1, 40))
