"""A whole node in virtual time: real stages, tracker, timeline, buffer, veil, hub link and sessions,
with a scripted detector, camera and hub around them, and the checker at the exit.

`run(scenario, seed)` is all that tests and the benchmark call. A second of the node's life takes some
tens of milliseconds; a run is a pure function of its scenario and seed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_node.analysis import AnalysisError, AnalysisSettings, Analyzer
from edge_node.bridge import LatestSlot
from edge_node.config import NodeSettings
from edge_node.frames import FrameSink, MaskedFrame, RawFrame
from edge_node.pipeline import AnalysisStage, ReleaseStage, SourceBack, SourceGone
from edge_node.privacy.decisions import Leases
from edge_node.privacy.release import ReleaseBuffer
from edge_node.privacy.timeline import Timeline
from edge_node.privacy.veil import Style, VeilSettings
from edge_node.tracking import sampling
from edge_node.tracking.sampling import Sampler, SamplingSettings
from edge_node.tracking.track import Analysis
from edge_node.tracking.tracker import Tracker
from tests.faults.clock import Agenda
from tests.faults.detector import ScriptedDetector, ScriptedFinder, Sight
from tests.faults.hub import HubFaults, Recognizer, SimHub
from tests.faults.link import Line, LineFaults, NodeEnd
from tests.faults.oracle import Account, Oracle, Question, Tally
from tests.faults.oracle import Look as Seen
from tests.faults.world import Scene, Script, Span, World, clip

FPS = 25.0
SCRIPTED = (RuntimeError, AnalysisError)
"""What a scripted detector makes an analysis raise. Anything else is a mistake, and would hide what it does:
a node whose analysis always fails shows nobody."""
WAKE_LATE_S = 0.001
"""A thread wakes up a little after the time it asked for."""


@dataclass(slots=True)
class CameraFaults:
    doubled: list[Span] = field(default_factory=list)
    """Every other frame is the one before once more."""
    reordered: list[Span] = field(default_factory=list)
    """Neighbors change places."""
    stale: list[tuple[Span, float]] = field(default_factory=list)
    """Every fourth frame is one from so many seconds ago."""
    frozen: list[Span] = field(default_factory=list)
    held_up: list[Span] = field(default_factory=list)
    """Nothing arrives, then everything at once."""
    gone: list[Span] = field(default_factory=list)
    pts_jumps: list[Span] = field(default_factory=list)


@dataclass(slots=True)
class Plot:
    """Everything that goes wrong in one run. Times in seconds from its start."""

    duration_s: float = 16.0
    consenting: int = 3
    script: Script = field(default_factory=Script)
    sight: Sight = field(default_factory=Sight)
    camera: CameraFaults = field(default_factory=CameraFaults)
    line: LineFaults = field(default_factory=LineFaults)
    hub: HubFaults = field(default_factory=HubFaults)
    analysis_s: tuple[float, float] = (0.015, 0.05)
    analysis_slow: list[tuple[Span, float]] = field(default_factory=list)
    """Analyses begun in this span take up to so many seconds."""
    release_stalled: list[Span] = field(default_factory=list)
    sink_fails: list[Span] = field(default_factory=list)
    leases_fail: list[Span] = field(default_factory=list)
    """Whatever the veil needs raises."""
    wall_steps: list[tuple[float, float]] = field(default_factory=list)
    has_finder: bool = False
    style: Style = Style.VEIL
    is_soft: bool = True
    """Edges fade out. Without, plain ellipses as a node paints that is behind: they cover less."""
    clears_at: float | None = None
    """When the last fault has passed: from here on the time to recovery counts."""


class SecondSink:
    """A sink that fails when it should."""

    def __init__(self, fails: Callable[[], bool]) -> None:
        self._fails = fails

    def push(self, frame: MaskedFrame) -> None:
        if self._fails():
            raise OSError("no space left on device")

    def close(self) -> None: ...


class Simulation:
    """One run. Build it, call `run` once."""

    def __init__(self, plot: Plot, seed: int) -> None:
        self._plot = plot
        rng = np.random.default_rng(seed)
        self._rng = rng
        self.agenda = Agenda()
        self.world = World(rng, plot.consenting, plot.script)
        self._account = Account()
        self.oracle = Oracle(self.world, self._account, may_be_calm=plot.has_finder)
        self._detector = ScriptedDetector(rng, plot.sight)
        self._recognizer = Recognizer(self.world)
        self._line = Line(self.agenda, rng, plot.line)
        identity_of = {p.identity: p.index for p in self.world.people}
        self._node = NodeEnd(self.agenda, self._line, rng, self._account, identity_of, self._on_asked)
        self._hub = SimHub(self.agenda, self._line, rng, self.world, plot.hub)
        self._node.deliver_up = self._hub.receive
        self._hub.deliver_down = self._node.receive
        self._hub.who_asked = lambda seq: self._asked_about.get(seq)
        self._asked_about: dict[int, int | None] = {}
        self._look: sampling.Look | None = None
        self._slot: LatestSlot[RawFrame] = LatestSlot()
        self._is_busy = False
        self._seq = 0
        self._shot = 0
        self._last: tuple[Scene, RawFrame] | None = None
        self._scenes: dict[int, tuple[Scene, NDArray[np.uint8]]] = {}
        self._latest: Analysis | None = None
        self._wake_at = float("inf")
        self._make_stages()

    def _make_stages(self) -> None:
        plot = self._plot
        self._buffer = ReleaseBuffer(NodeSettings().release.of_buffer())
        sinks: list[FrameSink] = [SecondSink(lambda: self._in(plot.sink_fails)), self.oracle]
        veil = VeilSettings(plot.style, captions=False, soft=plot.is_soft)
        self._release = ReleaseStage(
            self._buffer, Timeline(), self._leases, veil, sinks,
            self._node.hub_link._metrics, on_drained=lambda: None,
        )  # fmt: skip
        analyzer = Analyzer(
            self._detector,
            Tracker(),
            AnalysisSettings(min_ask_px=8, min_ask_quality=0.0),
            ScriptedFinder(self._detector) if plot.has_finder else None,
            clock=self.agenda.monotonic,
        )
        self._analysis = AnalysisStage(
            analyzer,
            Sampler(SamplingSettings(good_quality=0.0)),
            lambda: self._node.hub_link.leases,
            on_analysis=self._on_analysis,
            on_look=self._on_look,
            metrics=self._node.hub_link._metrics,
        )

    def _leases(self) -> Leases:
        if self._in(self._plot.leases_fail):
            raise RuntimeError("a part of the veil is broken")
        return self._node.hub_link.leases

    def _in(self, spans: list[Span]) -> bool:
        now = self.agenda.monotonic()
        return any(now in span for span in spans)

    def run(self) -> Tally:
        """Live through the plot."""
        plot = self._plot
        arrived = 0.0
        for k in range(int(plot.duration_s * FPS)):
            due = k / FPS + float(self._rng.uniform(0, 0.008))
            held = next((s for s in plot.camera.held_up if due in s), None)
            # What holds frames up is a queue: none overtakes another (that is `camera.reordered`).
            arrived = max(held.until if held else due, arrived + 1e-4)
            self.agenda.at(arrived, lambda k=k: self._capture(k))  # type: ignore[misc]
        for span in plot.camera.gone:
            self.agenda.at(span.since, lambda: self._to_release(SourceGone(is_end=False)))
            self.agenda.at(span.until, lambda: self._to_release(SourceBack()))
        for span in plot.release_stalled:
            self.agenda.at(span.until, self._step_release)
        for at, step_s in plot.wall_steps:
            self.agenda.at(at, lambda step_s=step_s: self._step_wall(step_s))  # type: ignore[misc]
        if plot.clears_at is not None:
            self.agenda.at(plot.clears_at, self._cleared)
        with self.agenda.in_charge():
            self.agenda.run(plot.duration_s + 1.5)
        self._check_complete()
        self._note_failed()
        return self.oracle.tally

    def _note_failed(self) -> None:
        failed = self.oracle.tally.failed
        if failed and not self._plot.leases_fail:
            self.oracle.tally.faults.append(f"{failed} frames could not be painted")

    def _step_wall(self, step_s: float) -> None:
        self.agenda.wall_offset_s += step_s

    def _cleared(self) -> None:
        self.oracle.waits_for = (0, self.agenda.monotonic())

    def _check_complete(self) -> None:
        lost = self._seq - self.oracle.tally.frames
        dropped = self._release.mailbox.dropped
        if not 0 <= lost <= dropped:
            self.oracle.tally.faults.append(f"{lost} of {self._seq} frames never left ({dropped} dropped)")

    # --- camera -----------------------------------------------------------------------------

    def _capture(self, k: int) -> None:
        camera, now = self._plot.camera, self.agenda.monotonic()
        if self._in(camera.gone):
            return
        at = k / FPS
        if any(at in span for span in camera.reordered):
            at += (1 if k % 2 else -1) / FPS
        stale_s = next((s for span, s in camera.stale if at in span), None)
        if stale_s is not None and k % 4 == 0:
            at -= stale_s
        frozen = next((span for span in camera.frozen if at in span), None)
        if frozen is not None:
            at = frozen.since
        if self._in(camera.doubled) and k % 2:
            at -= 1 / FPS
        scene = self.world.scene(at)
        self._shot = scene.shot
        image, owner = self.world.paint(scene)
        pts_s = float(self._rng.uniform(-1e6, 1e6)) if self._in(camera.pts_jumps) else at
        frame = RawFrame(self._seq, now, pts_s, image)
        self._seq += 1
        self.oracle.captured(frame.seq, scene, owner)
        self._scenes[frame.seq] = (scene, owner)
        self._slot.put(frame)
        self._to_release(frame)
        self._start_analysis()

    # --- analysis thread --------------------------------------------------------------------

    def _start_analysis(self) -> None:
        if self._is_busy or self._slot.is_empty:
            return
        frame = self._slot.take(0.0)
        assert frame is not None
        low, high = self._plot.analysis_s
        now = self.agenda.monotonic()
        slow_s = max((s for span, s in self._plot.analysis_slow if now in span), default=0.0)
        takes_s = float(self._rng.uniform(low, high)) + slow_s * float(self._rng.uniform(0.3, 1.0))
        self._is_busy = True
        self.agenda.at(now + takes_s, lambda: self._finish_analysis(frame))

    def _finish_analysis(self, frame: RawFrame) -> None:
        scene, owner = self._scenes[frame.seq]
        for old in [s for s in self._scenes if s < frame.seq]:
            del self._scenes[old]
        self._detector.look_at(scene, self._visible(scene, owner))
        self._analysis.slot.put(frame)
        pause_s = 0.0
        self._latest = None
        try:
            self._analysis.step()
        except Exception as exc:  # as the worker that runs the stage does
            self._analysis.faulted(exc)
            if not isinstance(exc, SCRIPTED):
                self.oracle.tally.faults.append(f"an analysis failed: {exc!r}")
            pause_s = 0.05
        if self._latest is not None:
            reported = frozenset(self._detector.reported)
            sure, found = reported - self._detector.doubted, frozenset(self._detector.found)
            self.oracle.tally.calm += self._latest.is_calm
            self.oracle.analyzed(Seen(frame.captured_at, scene.shot, reported, sure, found))
            self._to_release(self._latest)
        self.agenda.at(self.agenda.monotonic() + pause_s, self._free_analysis)

    def _free_analysis(self) -> None:
        self._is_busy = False
        self._start_analysis()

    def _visible(self, scene: Scene, owner: NDArray[np.uint8]) -> dict[int, float]:
        """The share of each face that nothing hides."""
        shares: dict[int, float] = {}
        for face in scene.faces:
            person = self.world.people[face.person]
            rows, columns, _ = clip(face.left, face.top, person)
            seen = int(np.count_nonzero(owner[rows, columns] == face.person))
            shares[face.person] = seen / person.noise.size
        return shares

    def _on_analysis(self, analysis: Analysis) -> None:
        self._latest = analysis

    def _on_look(self, look: sampling.Look) -> None:
        self._look = look
        self._node.hub_link.ask(look, b"a crop")

    def _on_asked(self, seq: int, track: int) -> None:
        assert self._look is not None
        person = self._recognizer.who(self._look.crop)
        self._asked_about[seq] = person
        self._account.asked(seq, Question(person, track, self.agenda.monotonic(), self._shot))

    # --- release thread ---------------------------------------------------------------------

    def _to_release(self, item: RawFrame | Analysis | SourceGone | SourceBack) -> None:
        self._release.mailbox.put(item)
        self._step_release()

    def _step_release(self) -> None:
        if self._in(self._plot.release_stalled):
            return
        self.oracle.now = self.agenda.monotonic()
        try:
            self._release.step()
        except Exception as exc:  # as the worker that runs the stage does
            self._release.faulted(exc)
            self.oracle.tally.faults.append(f"the release failed: {exc!r}")
        deadline = self._buffer.next_deadline()
        if deadline is not None:
            deadline = max(deadline, self.agenda.monotonic()) + WAKE_LATE_S
            self._wake_at = deadline
            self.agenda.at(deadline, lambda: self._wake(deadline))

    def _wake(self, planned: float) -> None:
        if planned == self._wake_at and len(self._buffer):
            self._step_release()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `run` returns; travels between processes."""

    scenario: str
    seed: int
    tally: Tally
    recovered_in: float | None
    """Seconds from the end of the last fault until the person in question was shown again."""
    has_recovered: bool
    """False where they should have been shown again and were not."""


def run(name: str, plot: Plot, seed: int) -> Outcome:
    """Live through one plot; what is logged meanwhile is of no interest."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        simulation = Simulation(plot, seed)
        tally = simulation.run()
    finally:
        logging.disable(before)
    oracle = simulation.oracle
    return Outcome(name, seed, tally, oracle.recovered_in, oracle.waits_for is None)
