"""`veilcast-node bench`: what this machine can do, and which settings suit it.

Owns the measurements and the advice. Draws its own pictures, needs neither camera nor hub, starts no
thread and leaves nothing behind. `recommend` is pure: costs in, advice out. Called by `edge_node.__main__`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from edge_node.analysis import AnalysisSettings, Analyzer
from edge_node.capture.portraits import demo_portraits
from edge_node.capture.scene import Scenario
from edge_node.capture.synthetic import SceneRenderer
from edge_node.config import NodeSettings
from edge_node.frames import RawFrame
from edge_node.privacy.decisions import Plan
from edge_node.privacy.veil import VeilSettings, mask
from edge_node.stream.matroska import MatroskaWriter
from edge_node.stream.mjpeg import QUALITY
from edge_node.tracking.track import Analysis
from edge_node.tracking.tracker import Tracker
from vision.centerface import CenterFace, CenterFaceSettings
from vision.detections import FaceFinder, Image
from vision.detector import Mtcnn, MtcnnSettings
from vision.errors import ModelError

SIZES = ((1280, 720), (640, 480), (1920, 1080))
MIN_FACES_PX = (32, 24, 48)
"""Of pictures and faces, the usual ones first: time may not suffice for all on a slow machine."""
SCAN_SIDE_PX = 1280
FPS = 25.0
PEOPLE = 5
BUDGET_S = 50.0
"""No measurement begins later than this."""
CASE_S = 2.5
WARM_UP = 3
FRAMES = 12
"""Drawn for each case and analyzed again and again, back and forth so that nobody jumps."""
REPEATS = 8
"""Of painting and coding one frame."""
SPARE = 0.85
"""Share of the processors that the node may plan with: the rest is the system's, and the peaks'."""
BUSY = 1.5
"""Times its processor time that an analysis takes by the clock where others compute, too."""
ENOUGH_HZ = 12.0
"""Analyses a second below which fast faces are guessed at: a gap of 80 ms, a face's width for somebody who
hurries by."""
LOOKBACK = NodeSettings().release


@dataclass(frozen=True, slots=True)
class Cost:
    """What a frame of one size takes with one smallest face. Milliseconds."""

    width: int
    height: int
    min_face_px: int
    analysis_ms: float
    """By the clock, on this machine as busy as it is now."""
    analysis_cpu_ms: float
    """Of all processors together."""
    veil_ms: float
    decode_ms: float
    """A camera's JPEG picture."""
    jpeg_ms: float
    """For people who watch the MJPEG stream."""
    h264_ms: float
    """For a recording."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A node with these settings on this machine."""

    cost: Cost
    analyses_per_s: float
    cores: float
    """Processor time a second, with a recording and one viewer."""
    delay_ms: float
    """Capture to masked frame, on average."""

    @property
    def is_enough(self) -> bool:
        return self.analyses_per_s >= ENOUGH_HZ


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was found out."""

    cores: int
    estimates: tuple[Estimate, ...]
    best: Estimate | None
    """None where the machine is too slow for all of them."""
    has_veil_detector: bool
    unmeasured: tuple[str, ...] = field(default=())
    """For what the time was too short."""

    @property
    def was_busy(self) -> bool:
        """Whether other work took the processors meanwhile: an analysis computes nearly all of its time."""
        return any(e.cost.analysis_ms > BUSY * e.cost.analysis_cpu_ms for e in self.estimates)

    def as_json(self) -> dict[str, object]:
        return {
            "cores": self.cores,
            "veil_detector": self.has_veil_detector,
            "was_busy": self.was_busy,
            "measured": [{**asdict(e), "is_enough": e.is_enough} for e in self.estimates],
            "recommended": _settings_of(self.best) if self.best else None,
            "unmeasured": list(self.unmeasured),
        }


def estimate(cost: Cost, cores: int, fps: float = FPS) -> Estimate:
    """How a node does whose analysis has a thread of its own, and which does all else for each frame.

    Analysis takes what is left of the processors, and no more frames than there are.
    """
    others = fps * (cost.decode_ms + cost.veil_ms + cost.jpeg_ms + cost.h264_ms) / 1000
    left = max(0.0, SPARE * cores - others)
    hz = min(fps, 1000 / cost.analysis_ms, 1000 * left / cost.analysis_cpu_ms)
    period_ms = 1000 / hz if hz else float("inf")
    wait_ms = max(
        LOOKBACK.lookback_ms, min(LOOKBACK.lookback_analyses * period_ms, LOOKBACK.max_delay_ms / 2)
    )
    # A frame waits half a period for the analysis that is to cover its look-back.
    delay_ms = wait_ms + (period_ms / 2 if hz else 0.0) + cost.analysis_ms + cost.veil_ms
    return Estimate(cost, hz, others + hz * cost.analysis_cpu_ms / 1000, min(delay_ms, LOOKBACK.max_delay_ms))


def recommend(estimates: Sequence[Estimate]) -> Estimate | None:
    """The best that this machine keeps up with: every frame analyzed first of all, then the larger picture,
    then the smaller faces. Where nothing reaches every frame, the fastest that is enough; else None."""
    enough = [e for e in estimates if e.is_enough]
    if not enough:
        return None
    full = [e for e in enough if e.analyses_per_s >= 0.95 * FPS]
    if full:
        return max(full, key=lambda e: (e.cost.width * e.cost.height, -e.cost.min_face_px))
    return max(enough, key=lambda e: (round(e.analyses_per_s), e.cost.width * e.cost.height))


def measure(tell: Callable[[str], None] = lambda _: None, budget_s: float = BUDGET_S) -> Report:
    """Measure for `budget_s` at the most, and one case more. `tell` gets a line before each.

    Raises VisionError where the networks cannot be loaded, SourceError without the demo's portraits.
    """
    begun = time.monotonic()
    cores = len(os.sched_getaffinity(0))
    measured: list[Estimate] = []
    unmeasured: list[str] = []
    finder = _finder()
    for min_face_px, size in product(MIN_FACES_PX, SIZES):
        words = f"{size[0]}x{size[1]}, faces from {min_face_px} px"
        # A first case is measured however slow the machine: it must be told that it is.
        if measured and time.monotonic() - begun > budget_s:
            unmeasured.append(words)
            continue
        tell(words)
        measured.append(estimate(_cost(_scene(size), min_face_px, finder), cores))
    return Report(cores, tuple(measured), recommend(measured), finder is not None, tuple(unmeasured))


def toml_of(best: Estimate) -> str:
    """The advice as lines of a settings file."""
    settings = _settings_of(best)
    return (
        f"# camera: {settings['width']}x{settings['height']} at {settings['fps']:.0f} frames a second\n"
        f"[detect]\nmin_face_px = {settings['min_face_px']}\n"
        f"scan_every_ms = {settings['scan_every_ms']:.1f}"
    )


def _settings_of(best: Estimate) -> dict[str, float]:
    period_ms = 1000 / best.analyses_per_s
    return {
        "width": best.cost.width,
        "height": best.cost.height,
        "fps": FPS,
        "min_face_px": best.cost.min_face_px,
        "analyses_per_s": round(best.analyses_per_s, 1),
        # A scan every third analysis at the most, so that a slow machine follows faces between them.
        "scan_every_ms": round(max(NodeSettings().detect.scan_every_ms, 3 * period_ms)),
    }


def _finder() -> FaceFinder | None:
    try:
        return CenterFace(CenterFaceSettings(NodeSettings().detect.veil_width_px))
    except ModelError:
        return None  # as a node with veil_detector = "auto" does; the report says so


def _scene(size: tuple[int, int]) -> list[Image]:
    scenario = Scenario(
        width=size[0], height=size[1], people=PEOPLE, face_px=max(40.0, 0.18 * size[1]), turning_deg=25.0
    )
    renderer = SceneRenderer(scenario, demo_portraits())
    return [renderer.render(n)[0] for n in range(FRAMES)]


def _cost(frames: Sequence[Image], min_face_px: int, finder: FaceFinder | None) -> Cost:
    detect = NodeSettings().detect
    detector = Mtcnn(
        MtcnnSettings(
            min_face_px=min_face_px, onet_score=detect.min_score, exact=False, scan_side_px=SCAN_SIDE_PX
        )
    )
    analyzer = Analyzer(detector, Tracker(), AnalysisSettings(), finder)
    height, width = frames[0].shape[:2]
    analyzer.prepare(width, height)
    wall_ms, cpu_ms, analysis = _analyze(analyzer, frames)
    veil = VeilSettings()
    raw = RawFrame(seq=0, captured_at=0.0, pts_s=0.0, image=frames[0])
    plan = Plan(veiled=tuple(o.box_xyxy for o in analysis.observations), shown=())
    coded = cv2.imencode(".jpg", frames[0], [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    with _recording(frames) as record:
        return Cost(
            width,
            height,
            min_face_px,
            wall_ms,
            cpu_ms,
            veil_ms=_ms(lambda: mask(raw, plan, veil)),
            decode_ms=_ms(lambda: cv2.imdecode(coded, cv2.IMREAD_COLOR)),
            jpeg_ms=_ms(lambda: cv2.imencode(".jpg", frames[0], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])),
            h264_ms=_ms(record),
        )


def _analyze(analyzer: Analyzer, frames: Sequence[Image]) -> tuple[float, float, Analysis]:
    """Milliseconds by the clock and of processors for an analysis, and the last one."""
    walls: list[float] = []
    cpu_s = 0.0
    begun = time.monotonic()
    for seq, image in enumerate(_back_and_forth(frames)):
        frame = RawFrame(seq=seq, captured_at=begun + seq / FPS, pts_s=seq / FPS, image=image)
        wall_before, cpu_before = time.perf_counter(), time.process_time()
        analysis = analyzer.analyze(frame)
        if seq >= WARM_UP:
            walls.append(1000 * (time.perf_counter() - wall_before))
            cpu_s += time.process_time() - cpu_before
            if time.monotonic() - begun > CASE_S:
                return float(np.mean(walls)), 1000 * cpu_s / len(walls), analysis
    raise AssertionError("the frames go on for ever")


def _back_and_forth(frames: Sequence[Image]) -> Iterator[Image]:
    while True:
        yield from frames
        yield from frames[-2:0:-1]


@contextmanager
def _recording(frames: Sequence[Image]) -> Iterator[Callable[[], None]]:
    """A function that encodes the next frame, into a file that goes away."""
    height, width = frames[0].shape[:2]
    images, count = _back_and_forth(frames), iter(range(1_000_000))
    with TemporaryDirectory(prefix="veilcast-bench-") as folder:
        writer = MatroskaWriter(Path(folder) / "bench.mkv", width, height, FPS)
        try:
            yield lambda: writer.write(next(images), next(count) / FPS)
        finally:
            writer.close()


def _ms(work: Callable[[], object]) -> float:
    """Processor milliseconds of one call, threads of its own included: the mean of several."""
    before = time.process_time()
    for _ in range(REPEATS):
        work()
    return 1000 * (time.process_time() - before) / REPEATS
