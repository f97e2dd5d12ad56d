"""The two stages, stepped by hand: what leaves, in which order, and what happens when parts fail."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from edge_node.analysis import AnalysisError, AnalysisSettings, Analyzer
from edge_node.frames import MaskedFrame, RawFrame, ReleaseReason
from edge_node.metrics import Metrics
from edge_node.pipeline import AnalysisStage, ReleaseStage, SourceBack, SourceGone
from edge_node.privacy.decisions import Lease, Leases
from edge_node.privacy.release import ReleaseBuffer, ReleaseSettings
from edge_node.privacy.timeline import Timeline, TimelineSettings
from edge_node.privacy.veil import VeilSettings
from edge_node.tracking.sampling import Look, Sampler, SamplingSettings
from edge_node.tracking.track import Analysis
from edge_node.tracking.tracker import Tracker
from tests.fakes import FakeDetector, analysis, detections, observation, raw_frame
from vision.detections import Image

FACE = (60.0, 40.0, 90.0, 80.0)


class Sink:
    def __init__(self) -> None:
        self.frames: list[MaskedFrame] = []
        self.fault: Exception | None = None

    def push(self, frame: MaskedFrame) -> None:
        if self.fault is not None:
            raise self.fault
        self.frames.append(frame)

    def close(self) -> None: ...


class Rig:
    """A release stage with one sink and leases that the test sets."""

    def __init__(
        self,
        max_delay_s: float = 0.3,
        sinks: int = 1,
        max_gap_s: float = 1.0,
        keeps_all: bool = False,
        release: ReleaseSettings | None = None,
    ) -> None:
        self.sinks = [Sink() for _ in range(sinks)]
        self.leases = Leases(session=1)
        self.metrics = Metrics()
        self.drained = 0
        self.stage = ReleaseStage(
            ReleaseBuffer(release or ReleaseSettings(max_delay_s=max_delay_s)),
            Timeline(TimelineSettings(max_gap_s=max_gap_s)),
            lambda: self.leases,
            VeilSettings(captions=False),
            self.sinks,
            self.metrics,
            self._count_drained,
            keeps_all,
        )

    def _count_drained(self) -> None:
        self.drained += 1

    def step(self, *items: object) -> list[MaskedFrame]:
        before = len(self.sinks[0].frames)
        for item in items:
            self.stage.mailbox.put(item)  # type: ignore[arg-type]
        self.stage.step()
        return self.sinks[0].frames[before:]


def picture() -> Image:
    return np.random.default_rng(1).integers(0, 256, (120, 160, 3), dtype=np.uint8)


def face_pixels(image: Image) -> Image:
    return image[50:70, 65:85]


def test_a_frame_waits_and_leaves_veiled_where_its_face_was() -> None:
    rig, now = Rig(), time.monotonic()
    assert rig.step(raw_frame(0, now, picture())) == []
    (frame,) = rig.step(analysis(now, observation(1, FACE)))
    assert frame.reason is ReleaseReason.COVERED
    assert frame.veiled_count == 1
    assert np.abs(face_pixels(frame.image).astype(int) - face_pixels(picture())).mean() > 30
    np.testing.assert_array_equal(frame.image[:20], picture()[:20])


def test_a_leased_face_is_shown_as_it_is() -> None:
    rig, now = Rig(), time.monotonic()
    rig.leases = Leases({1: Lease(1, now + 60, "id", "Ada")}, session=1)
    (frame,) = rig.step(raw_frame(0, now, picture()), analysis(now, observation(1, FACE)))
    assert [s.name for s in frame.shown] == ["Ada"]
    np.testing.assert_array_equal(frame.image, picture())


def test_a_lease_that_ends_while_the_frame_waits_does_not_show_it() -> None:
    rig, now = Rig(), time.monotonic()
    rig.leases = Leases({1: Lease(1, now, "id", "Ada")}, session=1)
    (frame,) = rig.step(raw_frame(0, now, picture()), analysis(now, observation(1, FACE)))
    assert frame.shown == ()


def test_without_an_analysis_the_frame_leaves_veiled_in_full() -> None:
    rig = Rig()
    (frame,) = rig.step(raw_frame(0, time.monotonic() - 1.0, picture()))
    assert frame.reason is ReleaseReason.LATE
    assert (frame.image == frame.image[0, 0]).mean() > 0.9


def test_a_veil_that_fails_leaves_the_frame_veiled_in_full() -> None:
    rig, now = Rig(), time.monotonic()
    broken = (float("nan"), 0.0, 10.0, 10.0)
    (frame,) = rig.step(raw_frame(0, now, picture()), analysis(now, observation(1, broken)))
    assert frame.reason is ReleaseReason.FAULT
    assert rig.metrics.totals()["faults[veil]"] == 1


def test_one_sink_in_trouble_does_not_reach_the_others() -> None:
    rig, now = Rig(sinks=2), time.monotonic()
    rig.sinks[1].fault = OSError("disk full")
    frames = rig.step(raw_frame(0, now), analysis(now))
    assert len(frames) == 1
    assert rig.metrics.totals()["faults[sink]"] == 1


def test_every_frame_leaves_once_and_in_order() -> None:
    rig, now = Rig(), time.monotonic()
    frames = rig.step(*[raw_frame(i, now + i / 1000) for i in range(10)], analysis(now + 0.0045))
    frames += rig.step(analysis(now + 0.02))
    assert [f.seq for f in frames] == list(range(10))
    assert rig.metrics.totals()["frames_released[covered]"] == 10


def test_between_analyses_too_far_apart_only_analyzed_frames_leave() -> None:
    rig, now = Rig(max_delay_s=2.0, max_gap_s=0.12), time.monotonic()
    rig.step(*[raw_frame(i, now + i * 0.04) for i in range(9)])
    frames = rig.step(analysis(now), analysis(now + 0.08), analysis(now + 0.32))
    assert [f.seq for f in frames] == [0, 1, 2, 8]
    assert rig.metrics.totals()["frames_thinned"] == 5


def test_where_every_frame_is_kept_those_between_are_veiled_in_full() -> None:
    rig, now = Rig(max_delay_s=2.0, max_gap_s=0.12, keeps_all=True), time.monotonic()
    rig.step(*[raw_frame(i, now + i * 0.04, picture()) for i in range(9)])
    frames = rig.step(analysis(now), analysis(now + 0.08), analysis(now + 0.32))
    assert [f.reason for f in frames] == [ReleaseReason.COVERED] * 3 + [ReleaseReason.GAP] * 5 + [
        ReleaseReason.COVERED
    ]
    assert all(not np.array_equal(f.image, picture()) for f in frames[3:8])


def test_a_lost_camera_is_announced_in_the_usual_size_and_forgotten_when_it_is_back() -> None:
    rig, now = Rig(), time.monotonic()
    rig.step(raw_frame(0, now, picture()), analysis(now))
    (told,) = rig.step(SourceGone(is_end=False))
    assert told.reason is ReleaseReason.NO_SOURCE
    assert told.image.shape == (120, 160, 3)
    assert rig.step(SourceBack()) == []


def test_at_the_end_the_waiting_frames_leave_before_the_stage_says_so() -> None:
    rig, now = Rig(max_delay_s=0.1), time.monotonic()
    assert rig.step(raw_frame(0, now), SourceGone(is_end=True)) == []
    assert rig.drained == 0
    time.sleep(0.1)
    frames = rig.step()
    assert [f.seq for f in frames] == [0]
    assert rig.drained == 1


class AnalysisRig:
    def __init__(self) -> None:
        self.detector = FakeDetector()
        self.analyses: list[Analysis] = []
        self.looks: list[Look] = []
        self.leases = Leases(session=1)
        self.stage = AnalysisStage(
            Analyzer(self.detector, Tracker(), AnalysisSettings(min_ask_px=10, min_ask_quality=0.0)),
            Sampler(SamplingSettings(collect_s=0.0)),
            lambda: self.leases,
            self.analyses.append,
            self.looks.append,
            Metrics(),
        )

    def feed(self, at: float, image: Image | None = None) -> None:
        self.stage.slot.put(raw_frame(0, at, picture() if image is None else image))
        self.stage.step()


def test_an_analysis_is_made_of_the_newest_frame() -> None:
    rig = AnalysisRig()
    rig.stage.slot.put(raw_frame(0, 1.0))
    rig.feed(1.1)
    assert [a.at for a in rig.analyses] == [1.1]


def test_a_confirmed_face_is_asked_about_once_at_first() -> None:
    rig = AnalysisRig()
    rig.detector.faces = detections(FACE)
    for i in range(4):
        rig.feed(1.0 + i * 0.2)
    assert rig.looks
    assert {look.track for look in rig.looks} == {1}
    assert rig.looks[0].crop.image_rgb.shape == (224, 224, 3)


def test_without_a_hub_nothing_is_asked() -> None:
    rig = AnalysisRig()
    rig.leases = Leases()
    rig.detector.faces = detections(FACE)
    for i in range(4):
        rig.feed(1.0 + i * 0.2)
    assert rig.looks == []


def test_a_detector_that_fails_gives_no_analysis() -> None:
    rig = AnalysisRig()
    rig.detector.fault = RuntimeError("no memory")
    with pytest.raises(RuntimeError):
        rig.feed(1.0)
    assert rig.analyses == []


def test_a_detector_that_returns_nonsense_gives_no_analysis() -> None:
    rig = AnalysisRig()
    rig.detector.faces = detections((float("nan"), 0.0, 10.0, 10.0))
    with pytest.raises(AnalysisError):
        rig.feed(1.0)
    assert rig.analyses == []


def test_between_scans_known_faces_are_followed() -> None:
    rig = AnalysisRig()
    rig.detector.faces = detections(FACE)
    for i in range(10):
        rig.feed(1.0 + i * 0.04)
    assert rig.detector.scans < 6
    assert all(a.observations[0].unseen_s == 0 for a in rig.analyses)


def test_a_cut_ends_all_tracks() -> None:
    rig = AnalysisRig()
    rig.detector.faces = detections(FACE)
    rig.feed(1.0, np.full((120, 160, 3), 20, np.uint8))
    rig.feed(1.04, np.full((120, 160, 3), 220, np.uint8))
    before, after = rig.analyses
    assert after.cut
    assert before.observations[0].path != after.observations[0].path


def test_a_light_that_goes_on_is_no_cut() -> None:
    rig = AnalysisRig()
    dark = (picture() // 3).astype(np.uint8)
    rig.feed(1.0, dark)
    rig.feed(1.04, (dark * 2).astype(np.uint8))
    assert not rig.analyses[1].cut


def test_the_release_is_told_of_each_analysis_whether_it_was_calm() -> None:
    settings = ReleaseSettings(
        max_delay_s=20.0, lookback_s=0.19, lookback_analyses=1.9, calm_lookback_analyses=0.9
    )
    for is_calm, left in ((True, 39), (False, 35)):
        rig, begun = Rig(release=settings), time.monotonic()
        for n in range(40):
            at = begun + n * 0.04
            rig.step(raw_frame(n, at, picture()), replace(analysis(at), is_calm=is_calm))
        assert len(rig.sinks[0].frames) == left


def test_a_frame_that_comes_out_of_order_does_not_mislead_the_tracker() -> None:
    rig = AnalysisRig()
    for seq, at, pts_s in ((0, 1.0, 1.0), (1, 1.1, 0.6), (2, 1.2, 1.2), (3, 1.3, -900.0)):
        frame = raw_frame(seq, at)
        rig.stage.slot.put(RawFrame(frame.seq, frame.captured_at, pts_s, frame.image))
        rig.stage.step()
    assert [a.seq for a in rig.analyses] == [0, 2, 3], "a clock that was set is no disorder"


def test_networks_are_loaded_before_the_first_frame_comes() -> None:
    rig = AnalysisRig()
    asking = threading.Thread(target=rig.stage.prepare, args=(160, 120, 5.0))
    asking.start()
    while asking.is_alive():
        rig.stage.step()
    assert rig.detector.scans == 1
    assert rig.analyses == []


def test_a_stage_that_is_behind_paints_plainly_and_covers_the_same() -> None:
    rig, now = Rig(max_delay_s=0.5), time.monotonic()
    late = now - 0.45
    (frame,) = rig.step(raw_frame(0, late, picture()), analysis(late, observation(1, FACE)))
    assert frame.reason is ReleaseReason.COVERED
    assert (face_pixels(frame.image) == face_pixels(frame.image)[0, 0]).all()
