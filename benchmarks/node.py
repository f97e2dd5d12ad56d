"""A node on two cores: 720p at 25 a second with five faces, watched by WebRTC; 1080p; one core.

Real processes, real sockets: the clip is paced by its own time stamps, the numbers are the node's own
(/metrics and /state), processor time and memory are the kernel's. Node and hub are pinned to different
cores where there are enough; on two cores they share, and the hub's time is not counted. `--out`: short
runs besides, for a plot of what a frame costs by the number of faces and by the size of the picture.
"""

from __future__ import annotations

import os
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.glass import running
from benchmarks.interval import median_95, slope_95
from benchmarks.resident import by_mapping, growth, resident
from benchmarks.scenes import portraits, write_clip
from edge_node.capture.portraits import Portrait
from edge_node.capture.scene import Scenario
from tests.e2e.rig import Rig

SCENE = Scenario(people=5, face_px=130.0, crossing_every_s=12.0, turning_deg=25.0)
LARGE = replace(SCENE, width=1920, height=1080, face_px=195.0)
SMALL = replace(SCENE, width=640, height=480, face_px=80.0)
COST_FACES = (1, 2, 5, 8)
COST_FACE_PX = 90.0
"""Eight of them have room beside each other."""
COST_SIZES = ((640, 480), (1280, 720), (1920, 1080), (2560, 1440))
COST_FACE_SHARE = 0.125
"""Height of a face in the height of the picture."""
COST_S = 12.0
CLIP_S = 12.0
"""Drawn once and then streamed back and forth: nobody jumps."""
SETTLE_S = 6.0
"""Models are compiled and faces are found before counting begins."""
WARM_UP_MINUTES, MINUTES = 5.0, 20.0
"""Of the long run. What is kept once needed (kernels for each size of a batch, room for the most frames
that waited at once) comes in its first minutes: growth counts after those."""
MEMORY_EVERY_S = 1.0
"""A frame is 2.8 MB, and some more or less are there by chance: of the readings of a minute the median
counts."""
SAMPLE_S = 10.0
"""Between two readings: half of the delays that the node's percentiles are over are new."""
RATE_DIGITS = 1
"""Of frames a second: a reading holds a whole number of frames, so 25 a second read 24.9 to 25.1."""
PATIENCE_S = 120.0
"""For a process to be ready: other work may hold it up, which is no reason to give up."""


@dataclass(frozen=True, slots=True)
class Case:
    """One node, streamed for some time."""

    name: str
    scene: Scenario
    cores: int
    """That the node may use."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One stretch of a run."""

    at_s: float
    capture_fps: float
    analysis_fps: float
    release_fps: float
    cpu_cores: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    rss_mb: float
    """The median, as the two after it."""
    anonymous_mb: float
    file_mb: float
    rss_most_mb: float


@dataclass(frozen=True, slots=True)
class Run:
    """What a case came to."""

    samples: list[Sample]
    threads: dict[str, float]
    """Processor time by thread, in cores."""
    full_frame_rate: float
    grown_mb: dict[str, float] = field(default_factory=dict)
    """Resident memory by mapping, from the first sample to the last."""

    def middle(self, name: str) -> float:
        return float(median(getattr(s, name) for s in self.samples))


def measure(quick: bool = False, out: Path | None = None) -> dict[str, Any]:
    """Keys as documented in docs/performance.md. out: folder for the plot of costs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        people = portraits(SCENE.people, folder / "people")
        minutes = WARM_UP_MINUTES + MINUTES
        main = _run(Case("five", SCENE, 2, 10.0 if quick else 60 * minutes), folder, people, quick)
        short_s = 4.0 if quick else 30.0
        large = _run(Case("large", LARGE, 2, short_s), folder, people, quick)
        one_small = _run(Case("one_small", SMALL, 1, short_s), folder, people, quick)
        one = _run(Case("one", SCENE, 1, short_s), folder, people, quick)
        costs = _costs(folder, quick, out) if out is not None else {}
    analysis = median_95([s.analysis_fps for s in main.samples])
    share = median_95([s.cpu_cores for s in main.samples])
    return {
        "analysis_per_s": round(analysis[0], RATE_DIGITS),
        "analysis_per_s_lo": round(analysis[1], RATE_DIGITS),
        "cpu_share_of_core": round(share[0], 2),
        "cpu_share_of_core_hi": round(share[2], 2),
        **_memory(main),
        "p50_ms": main.middle("p50_ms"),
        "p95_ms": main.middle("p95_ms"),
        "p99_ms": main.middle("p99_ms"),
        "p99_ms_worst": max(s.p99_ms for s in main.samples),
        "capture_fps": round(main.middle("capture_fps"), RATE_DIGITS),
        "full_frame_rate": main.full_frame_rate,
        "cpu_by_thread": main.threads,
        "fps_1080p": round(large.middle("release_fps"), RATE_DIGITS),
        "analysis_per_s_1080p": round(large.middle("analysis_fps"), RATE_DIGITS),
        "cpu_share_of_core_1080p": round(large.middle("cpu_cores"), 2),
        **_one_core("640x480", one_small),
        **_one_core("720p", one),
        **costs,
        "faces": SCENE.people,
        "different_people": len(people),
        "hub_shares_cores": not _spare_cores(2),
        "seconds": round(main.samples[-1].at_s, 1),
        "load_average": round(os.getloadavg()[0], 2),
    }


def _memory(run: Run) -> dict[str, Any]:
    """The most, the growth after the warm-up with its 95 % interval, that before, and all samples: [seconds,
    resident, allocated, of files] in MB."""
    minutes = by_minute(run.samples)
    warm = [m for m in minutes if m.at_s > 60 * WARM_UP_MINUTES] or minutes
    at_h = [m.at_s / 3600 for m in warm]
    slope, low, high = slope_95(at_h, [m.rss_mb for m in warm])
    return {
        "rss_mb": round(max(s.rss_most_mb for s in run.samples), 1),
        "rss_mb_per_h": round(slope, 2),
        "rss_mb_per_h_lo": round(low, 2),
        "rss_mb_per_h_hi": round(high, 2),
        "anonymous_mb_per_h": round(slope_95(at_h, [m.anonymous_mb for m in warm])[0], 2),
        "warm_up_mb": round(warm[0].rss_mb - minutes[0].rss_mb, 1),
        "memory_grown_mb": run.grown_mb,
        "memory_samples": [
            [round(s.at_s), *(round(mb, 1) for mb in (s.rss_mb, s.anonymous_mb, s.file_mb))]
            for s in run.samples
        ],
    }


@dataclass(frozen=True, slots=True)
class Minute:
    """Medians of memory, at the middle of the samples."""

    at_s: float
    rss_mb: float
    anonymous_mb: float


def by_minute(samples: Sequence[Sample]) -> list[Minute]:
    """One for each minute that has samples."""
    minutes: dict[int, list[Sample]] = {}
    for sample in samples:
        minutes.setdefault(int((sample.at_s - 1e-3) // 60), []).append(sample)
    return [
        Minute(
            *(float(median(getattr(s, name) for s in some)) for name in ("at_s", "rss_mb", "anonymous_mb"))
        )
        for some in minutes.values()
    ]


def _one_core(name: str, run: Run) -> dict[str, Any]:
    return {
        f"one_core_{name}_analysis_per_s": round(run.middle("analysis_fps"), RATE_DIGITS),
        f"one_core_{name}_fps": round(run.middle("release_fps"), RATE_DIGITS),
        f"one_core_{name}_p50_ms": run.middle("p50_ms"),
        f"one_core_{name}_p99_ms": run.middle("p99_ms"),
    }


def _costs(folder: Path, quick: bool, out: Path) -> dict[str, Any]:
    """Processor milliseconds a released frame: by the number of faces in 720p, by size with five of them."""
    people = portraits(max(COST_FACES), folder / "crowd")
    seconds = 4.0 if quick else COST_S

    def cost(name: str, scene: Scenario) -> float:
        run = _run(Case(name, scene, 2, seconds), folder, people, quick)
        return round(1000 * run.middle("cpu_cores") / run.middle("release_fps"), 1)

    by_faces = {
        n: cost(f"faces{n}", replace(SCENE, people=n, face_px=COST_FACE_PX, crossing_every_s=0.0))
        for n in COST_FACES
    }
    by_size = {
        f"{width}x{height}": cost(
            f"size{height}", replace(SCENE, width=width, height=height, face_px=COST_FACE_SHARE * height)
        )
        for width, height in COST_SIZES
    }
    _plot(by_faces, by_size, out / "node.png")
    return {"cpu_ms_by_faces": by_faces, "cpu_ms_by_size": by_size}


def _plot(by_faces: dict[int, float], by_size: dict[str, float], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.6), dpi=110, sharey=True)
    left.plot(list(by_faces), list(by_faces.values()), "o-")
    left.set_xlabel("faces in 1280x720")
    left.set_ylabel("processor time a frame, ms")
    pixels = [width * height / 1e6 for width, height in (map(int, s.split("x")) for s in by_size)]
    right.plot(pixels, list(by_size.values()), "o-")
    right.set_xticks(pixels, list(by_size))
    right.set_xlabel("size of the picture, five faces")
    right.tick_params(axis="x", rotation=20)
    left.set_ylim(0, 1.1 * max(*by_faces.values(), *by_size.values()))
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    pyplot.close(figure)


def _run(case: Case, folder: Path, people: list[Portrait], quick: bool) -> Run:
    """Stream a case: coded in H.264 for one viewer, who decodes nothing, with a hub."""
    place = folder / case.name
    place.mkdir()
    clip = place / "clip.mp4"
    write_clip(clip, case.scene, people, 2.0 if quick else CLIP_S, back_and_forth=True)
    rig = Rig(place, PATIENCE_S)
    every = sorted(os.sched_getaffinity(0))
    own = set(every[: case.cores])
    try:
        with only_on(_spare_cores(case.cores) or set(every)):
            rig.start_hub()
        with only_on(own):
            rig.start_node("--source", str(clip))
        viewer = running("benchmarks.glass_viewers", "watch", rig.url, "1")
        with only_on(_spare_cores(case.cores) or set(every)), viewer:
            time.sleep(SETTLE_S / 2 if quick else SETTLE_S)
            return _sampled(rig, case.seconds, min(SAMPLE_S, case.seconds / 3))
    finally:
        rig.stop()


def _sampled(rig: Rig, seconds: float, every_s: float) -> Run:
    assert rig.node is not None
    first = before = counters(rig)
    begun = started = time.monotonic()
    threads_before = thread_seconds(rig.node.pid)
    samples: list[Sample] = []
    mapped_before: dict[str, float] = {}
    while time.monotonic() - begun < seconds:
        memory = _watched(rig.node.pid, every_s)
        after, now = counters(rig), time.monotonic()
        delays, elapsed = rig.state()["latency_ms"], now - started
        mapped_before = mapped_before or by_mapping(rig.node.pid)
        samples.append(
            Sample(
                now - begun,
                rate("veilcast_frames_captured_total", before, after, elapsed),
                rate("veilcast_frames_analyzed_total", before, after, elapsed),
                (_released(after) - _released(before)) / elapsed,
                (after["cpu_s"] - before["cpu_s"]) / elapsed,
                delays["p50"], delays["p95"], delays["p99"],
                *(float(median(values)) for values in zip(*memory, strict=True)),
                max(rss_mb for rss_mb, *_ in memory),
            )
        )  # fmt: skip
        before, started = after, now
    spent = {
        name: round((total - threads_before.get(name, 0.0)) / (started - begun), 3)
        for name, total in thread_seconds(rig.node.pid).items()
    }
    grown = growth(mapped_before, by_mapping(rig.node.pid))
    spent = dict(sorted(spent.items(), key=lambda item: -item[1]))
    return Run(samples, spent, late_share(first, before), grown)


def _watched(pid: int, seconds: float) -> list[tuple[float, float, float]]:
    """Memory of a process for so long: resident, allocated, of files, in MB."""
    until = time.monotonic() + seconds
    readings: list[tuple[float, float, float]] = []
    while not readings or time.monotonic() < until:
        time.sleep(max(0.0, min(MEMORY_EVERY_S, until - time.monotonic())))
        memory = resident(pid)
        readings.append((memory.rss_mb, memory.anonymous_mb, memory.file_mb))
    return readings


def _spare_cores(taken: int) -> set[int]:
    """The cores that the node does not get; empty where there are none."""
    return set(sorted(os.sched_getaffinity(0))[taken:])


@contextmanager
def only_on(cores: set[int]) -> Iterator[None]:
    """What this thread starts meanwhile runs on these cores, for good."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def thread_seconds(pid: int) -> dict[str, float]:
    """Processor seconds by the name of the thread; those with one name are added up."""
    seconds: dict[str, float] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            stat = (task / "stat").read_text()
        except OSError:
            continue  # it has just ended
        name = stat[stat.index("(") + 1 : stat.rindex(")")]
        fields = stat.rsplit(")", 1)[1].split()
        seconds[name] = seconds.get(name, 0.0) + (int(fields[11]) + int(fields[12])) / 100
    return seconds


def counters(rig: Rig) -> dict[str, float]:
    """The node's counters by name and labels, and its processor seconds."""
    with urllib.request.urlopen(rig.url + "metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    values = {k: float(v) for k, v in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}
    assert rig.node is not None
    fields = Path(f"/proc/{rig.node.pid}/stat").read_text().rsplit(")", 1)[1].split()
    values["cpu_s"] = (int(fields[11]) + int(fields[12])) / 100
    return values


def rate(name: str, before: dict[str, float], after: dict[str, float], seconds: float) -> float:
    return (after[name] - before[name]) / seconds


def _released(values: dict[str, float], reason: str = "") -> float:
    """Frames that left, of one reason or of all."""
    return sum(v for k, v in values.items() if k.startswith("veilcast_frames_released_total") and reason in k)


def late_share(before: dict[str, float], after: dict[str, float]) -> float:
    """Share of the released frames that left veiled in full."""
    total = _released(after) - _released(before)
    covered = _released(after, "covered") - _released(before, "covered")
    return round(1 - covered / total, 5) if total else 0.0
