"""The two stages between camera and sinks, each with its own thread (see `edge_node.node`).

`AnalysisStage` takes the newest frame whenever it is free. `ReleaseStage` owns the timeline and the
release buffer: it sees every captured frame and every analysis, and hands masked frames to the
sinks. Both are written as a `step` that a `bridge.Worker` repeats. Neither ever raises a picture:
what goes wrong here is counted, and the frame leaves veiled in full.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_node.analysis import Analyzer
from edge_node.bridge import LatestSlot, Mailbox
from edge_node.frames import FrameSink, MaskedFrame, RawFrame, ReleaseReason
from edge_node.metrics import Metrics
from edge_node.privacy.decisions import Leases, plan
from edge_node.privacy.release import DISORDER_S, Release, ReleaseBuffer
from edge_node.privacy.timeline import Region, Timeline
from edge_node.privacy.veil import VeilSettings, mask, mask_fully, notice
from edge_node.tracking.sampling import Look, Sampler
from edge_node.tracking.track import Analysis

log = logging.getLogger(__name__)

MAILBOX_CAPACITY = 64
"""Frames and analyses under way to the release thread; it empties this in one go, so a full one means
that the thread hangs. The oldest is then dropped and counted."""
IDLE_S = 0.25
"""How often an idle stage looks whether it should stop."""
HURRY_SHARE = 0.8
"""Past this share of the longest wait, frames are painted plainly, so that the stage catches up."""
NOTICE_EVERY_S = 1.0
"""While there is no picture the sinks get a frame that says so this often: late viewers see it too."""


@dataclass(frozen=True, slots=True)
class SourceGone:
    """No frames come at present: the camera is lost, or the source has ended for good."""

    is_end: bool


@dataclass(frozen=True, slots=True)
class SourceBack:
    """Frames come again."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """Frames of this size will come: load what analyzing them needs."""

    width: int
    height: int
    done: threading.Event


ReleaseInput = RawFrame | Analysis | SourceGone | SourceBack


class AnalysisStage:
    """Newest frame in, analysis out; crops of tracks that are due go to `on_look`."""

    def __init__(
        self,
        analyzer: Analyzer,
        sampler: Sampler,
        leases: Callable[[], Leases],
        on_analysis: Callable[[Analysis], None],
        on_look: Callable[[Look], None],
        metrics: Metrics,
    ) -> None:
        self.slot: LatestSlot[RawFrame | Preparation] = LatestSlot()
        self._analyzer = analyzer
        self._sampler = sampler
        self._leases = leases
        self._on_analysis = on_analysis
        self._on_look = on_look
        self._metrics = metrics
        self._newest_pts_s = float("-inf")

    def prepare(self, width: int, height: int, limit_s: float) -> None:
        """Have the stage's own thread load its networks for frames of a size; wait for it.

        Compiling takes seconds at the first start. Frames that came meanwhile would leave veiled.
        """
        preparation = Preparation(width, height, threading.Event())
        self.slot.put(preparation)
        if not preparation.done.wait(limit_s):
            log.warning("the detector was not ready within %.0f s: the first frames leave veiled", limit_s)

    def step(self) -> None:
        """Analyze one frame, if there is one."""
        frame = self.slot.take(IDLE_S)
        if frame is None:
            return
        if isinstance(frame, Preparation):
            try:
                self._analyzer.prepare(frame.width, frame.height)
            finally:
                frame.done.set()
            return
        if 0 < self._newest_pts_s - frame.pts_s <= DISORDER_S:
            return  # it leaves veiled in full, and where faces were then would mislead the tracker
        self._newest_pts_s = frame.pts_s
        age_s = time.monotonic() - frame.captured_at
        with self._metrics.analysis_time.time():
            analysis = self._analyzer.analyze(frame, age_s)
        self._on_analysis(analysis)
        self._metrics.analyzed.inc()
        self._metrics.faces_suspected.set(analysis.suspected)
        now = time.monotonic()
        trusted = [o.track for o in analysis.observations if o.trusted]
        due = self._sampler.due(trusted, self._leases(), now)
        looks = self._analyzer.looks(frame.image, analysis.observations, due)
        for look in self._sampler.choose(looks, now):
            self._on_look(look)

    def faulted(self, exc: BaseException) -> None:
        """An analysis failed: its frame will leave veiled in full."""
        self._metrics.faults.labels("analysis").inc()
        log.error("analysis failed, the picture is veiled meanwhile: %s", exc)


class ReleaseStage:
    """Every captured frame in, the same frame masked out, in order, once at most (see `_let_go`)."""

    def __init__(
        self,
        buffer: ReleaseBuffer,
        timeline: Timeline,
        leases: Callable[[], Leases],
        veil: VeilSettings,
        sinks: Sequence[FrameSink],
        metrics: Metrics,
        on_drained: Callable[[], None],
        keeps_all: bool = False,
    ) -> None:  # one parameter a part: this is where they meet
        self.mailbox: Mailbox[ReleaseInput] = Mailbox(MAILBOX_CAPACITY)
        self._buffer = buffer
        self._timeline = timeline
        self._leases = leases
        self._veil = veil
        self._hurried = VeilSettings(growth=veil.growth, captions=veil.captions, soft=False)
        self._hurry_after_s = HURRY_SHARE * buffer.max_delay_s
        self._sinks = sinks
        self._metrics = metrics
        self._on_drained = on_drained
        self._keeps_all = keeps_all
        self._gone: SourceGone | None = None
        self._has_drained = False
        self._last: MaskedFrame | None = None
        self._noticed_at = float("-inf")
        self._dropped = 0

    def step(self) -> None:
        """Wait for something to do, take it in, and let go what may leave."""
        for item in self.mailbox.take_all(until=self._wake_at()):
            self._take(item)
        is_end = self._gone is not None and self._gone.is_end
        for release in self._buffer.poll(time.monotonic(), self._timeline.covered_until, is_last=is_end):
            self._let_go(release)
        self._timeline.forget_before(self._buffer.oldest_at or self._timeline.covered_until)
        if self._gone is not None and not len(self._buffer):
            self._without_source(self._gone)
        if self.mailbox.dropped > self._dropped:
            self._metrics.dropped.inc(self.mailbox.dropped - self._dropped)
            self._dropped = self.mailbox.dropped

    def faulted(self, exc: BaseException) -> None:
        """A step failed outside of the frame's own way (that is caught in `_masked`)."""
        self._metrics.faults.labels("release").inc()
        log.error("release failed: %s", exc)

    def _wake_at(self) -> float:
        idle_at = time.monotonic() + IDLE_S
        deadline = self._buffer.next_deadline()
        return idle_at if deadline is None else min(idle_at, deadline)

    def _take(self, item: ReleaseInput) -> None:
        match item:
            case RawFrame():
                self._buffer.push(item)
            case Analysis():
                self._timeline.add(item)
                self._buffer.note(item.at, item.is_calm)
            case SourceGone():
                self._gone = item
            case SourceBack():
                self._gone = None

    def _let_go(self, release: Release) -> None:
        is_covered = release.reason is ReleaseReason.COVERED
        if is_covered and self._timeline.is_guesswork(release.frame.captured_at):
            # Rather a picture less than a face where nobody looked for it: an overloaded node stutters.
            if not self._keeps_all:
                self._metrics.thinned.inc()
                return
            release = Release(release.frame, ReleaseReason.GAP)
        frame = self._masked(release)
        self._push(frame)
        self._last = frame
        self._metrics.released.labels(frame.reason.value).inc()
        self._metrics.released_after(time.monotonic() - frame.captured_at)
        self._metrics.faces_veiled.set(frame.veiled_count)
        self._metrics.faces_shown.set(len(frame.shown))

    def _masked(self, release: Release) -> MaskedFrame:
        if release.reason is not ReleaseReason.COVERED:
            return mask_fully(release.frame, release.reason)
        try:
            regions = self._timeline.regions_at(release.frame.captured_at, release.frame.seq)
            now = time.monotonic()
            decided = plan(regions, self._leases(), now, self._veil.growth)
            self._count(regions, len(decided.shown), release.frame.pts_s)
            is_behind = now - release.frame.captured_at > self._hurry_after_s
            return mask(release.frame, decided, self._hurried if is_behind else self._veil)
        except Exception as exc:  # noqa: BLE001 - fail closed: whatever it was, the frame is veiled
            self._metrics.faults.labels("veil").inc()
            log.error("veil failed, the frame leaves veiled in full: %s", exc)
            return mask_fully(release.frame, ReleaseReason.FAULT)

    def _count(self, regions: Sequence[Region], shown: int, pts_s: float) -> None:
        for region in regions:
            self._metrics.regions.labels(region.evidence.value).inc()
            self._metrics.mask_age.observe(region.age_s)
        if self._last is not None:
            self._metrics.reveal_seconds.inc(shown * min(max(0.0, pts_s - self._last.pts_s), 1.0))

    def _push(self, frame: MaskedFrame) -> None:
        for sink in self._sinks:
            try:
                sink.push(frame)
            except Exception as exc:  # noqa: BLE001 - one sink's trouble must not reach the others
                self._metrics.faults.labels("sink").inc()
                log.error("%s failed: %s", type(sink).__name__, exc)

    def _without_source(self, gone: SourceGone) -> None:
        now = time.monotonic()
        if gone.is_end and not self._has_drained:
            self._has_drained = True
            self._on_drained()
        elif not gone.is_end and now - self._noticed_at >= NOTICE_EVERY_S:
            self._noticed_at = now
            self._push(notice(self._last, now, ReleaseReason.NO_SOURCE))
