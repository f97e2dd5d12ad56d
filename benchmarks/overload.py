"""Twice the frames that the machine can analyze: does delay grow with time, does a face slip through?

The node as it is wired, without a hub, gets a drawn clip of 720p at 70 a second for ten minutes (one in
the quick version). Every frame that leaves is timed from its capture; of every few frames the faces are
kept and judged afterwards by `benchmarks.leak_check`. `--out` gets a plot.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.interval import slope_95
from benchmarks.leak_check import check_patches, patch_box
from benchmarks.leak_clips import Clip, Scene, drawn_clip, frames_of
from benchmarks.leak_ours import CheckedNode
from edge_node.capture.scene import Scenario
from edge_node.config import HubSettings, NodeSettings, SourceSettings, WebSettings
from edge_node.frames import MaskedFrame

SCENE = Scene(
    "overload",
    Scenario(width=1280, height=720, fps=70, seed=31, people=5, face_px=110, visit_s=7, absence_s=1,
             turning_deg=30, shot_every_s=421 / 70),
    seconds=842 / 70,
)  # fmt: skip
"""Two shots: where the clip starts over there is a cut like any other, and not people who jump."""
MINUTES, QUICK_MINUTES = 10.0, 1.0
SETTLE_S = 5.0
"""Networks are warm and the first faces are found by then."""
BEGIN_S = 60.0
"""Networks are compiled for a size once; after this the run begins anyway."""
KEPT_EVERY = 3
"""Of so many frames one is judged: the clip has a length that this does not divide, so that in the next
round others are."""
PATCH_QUALITY = 95
"""JPEG; hides nothing that the checker looks for."""
SLEEPER = """
import select, sys, time
worst = 0.0
while True:
    begun = time.monotonic()
    if select.select([sys.stdin], [], [], 0.05)[0]:
        break
    worst = max(worst, time.monotonic() - begun - 0.05)
print(worst)
"""
"""A process that sleeps and tells how much too long the longest time was: what it lost was taken by other
work on the machine, not by the node."""
ENDS = 0.1
"""Share of the run that is its start, and its end."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of a judged frame."""

    seq: int
    frame: int
    """The same one, counted within the clip."""
    patches: tuple[bytes, ...]
    """One JPEG for each labeled face, in the order of the labels."""


@dataclass(slots=True)
class Overloaded:
    """A sink that times every frame and keeps some faces."""

    clip: Clip
    length: int
    """Frames of the clip."""
    released_at: list[float] = field(default_factory=list)
    delays_s: list[float] = field(default_factory=list)
    is_full: list[bool] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    has_begun: threading.Event = field(default_factory=threading.Event)
    """A first frame has left."""

    def push(self, frame: MaskedFrame) -> None:
        now = time.monotonic()
        self.has_begun.set()
        self.released_at.append(now)
        self.delays_s.append(now - frame.captured_at)
        self.is_full.append(frame.fully_veiled)
        if frame.seq % KEPT_EVERY or frame.fully_veiled:
            return
        n = frame.seq % self.length
        shape = (frame.image.shape[0], frame.image.shape[1])
        boxes = [patch_box(face.box_xyxy, shape) for face in self.clip.faces.get(n, [])]
        self.kept.append(
            Kept(frame.seq, n, tuple(_jpeg(frame.image[y1:y2, x1:x2]) for x1, y1, x2, y2 in boxes))
        )

    def close(self) -> None:
        """Nothing is held open."""


def measure(quick: bool = False, out: Path | None = None) -> dict[str, Any]:
    """Keys as documented in docs/performance.md. Raises FileNotFoundError without LFW."""
    clip = drawn_clip(SCENE)
    length = sum(1 for _ in frames_of(clip.path))
    sink = Overloaded(clip, length)
    with subprocess.Popen(
        [sys.executable, "-c", SLEEPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as sleeper:
        node = _stream(sink, 60 * (QUICK_MINUTES if quick else MINUTES) + SETTLE_S)
        overslept_s = float(sleeper.communicate()[0])
    totals = node.metrics.totals()
    if node.skipped:
        raise RuntimeError(f"{node.skipped} frames were not decoded: the frames cannot be told apart")
    at = np.array(sink.released_at) - sink.released_at[0] - SETTLE_S
    settled = at >= 0
    at, delays_ms = at[settled], np.array(sink.delays_s)[settled] * 1000
    seconds = float(at[-1])
    medians_at, medians_ms = by_second(at, delays_ms)
    slope = slope_95(medians_at / 60, medians_ms)[0]
    first, last = at < ENDS * seconds, at > (1 - ENDS) * seconds
    leaks, face_frames = judged(clip, sink.kept)
    for leak in leaks[:200]:
        print(f"  LEAK {leak}", file=sys.stderr)
    if out is not None:
        _plot(out / "overload.png", at, delays_ms, medians_at, medians_ms, slope)
    analyzed, captured = totals.get("frames_analyzed", 0.0), totals.get("frames_captured", 0.0)
    return {
        "slope_ms_per_min": round(slope, 3),
        "p95_start_ms": round(float(np.percentile(delays_ms[first], 95)), 1),
        "p95_end_ms": round(float(np.percentile(delays_ms[last], 95)), 1),
        "delay_ms_p50": round(float(np.percentile(delays_ms, 50)), 1),
        "delay_ms_max": round(float(delays_ms.max()), 1),
        "leaks": len(leaks),
        "face_frames": face_frames,
        "full_frame_rate": round(float(np.array(sink.is_full)[settled].mean()), 5),
        "captured_fps": round(captured / (seconds + SETTLE_S), 1),
        "analyzed_fps": round(analyzed / (seconds + SETTLE_S), 1),
        "overload": round(captured / analyzed, 2) if analyzed else None,
        "dropped": int(totals.get("frames_dropped", 0)),
        "faults": int(sum(v for k, v in totals.items() if k.startswith("faults"))),
        "seconds": round(seconds, 1),
        "machine_stall_s_max": round(overslept_s, 2),
        "load_average": round(os.getloadavg()[0], 2),
    }


def by_second(
    at: NDArray[np.float64], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times (N,) in seconds, ascending, with values (N,): the middle of every second that has any, and
    the median in it."""
    second = np.floor(at).astype(int)
    present = np.unique(second)
    return present + 0.5, np.array([np.median(values[second == s]) for s in present])


class _Node(CheckedNode):
    """Streams the clip over and over."""

    @property
    def skipped(self) -> int:
        return self._grabber.skipped


def _stream(sink: Overloaded, seconds: float) -> _Node:
    """Run a node for so long from its first frame on."""
    settings = NodeSettings(
        name="overload",
        source=SourceSettings(spec=str(sink.clip.path)),
        hub=HubSettings(enabled=False),
        web=WebSettings(enabled=False),
    )

    async def run() -> _Node:
        node = _Node(settings, asyncio.get_running_loop(), sink)
        task = asyncio.create_task(node.run())
        begun = asyncio.ensure_future(asyncio.to_thread(sink.has_begun.wait, BEGIN_S))
        await asyncio.wait([task, begun], return_when=asyncio.FIRST_COMPLETED)
        done, _ = await asyncio.wait([task], timeout=seconds)
        for ended in done:
            ended.result()
            raise RuntimeError("the node has ended by itself")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return node

    return asyncio.run(run())


def judged(clip: Clip, kept: list[Kept]) -> tuple[list[str], int]:
    """A line for each leak, and the number of face-frames. The clip is read once."""
    wanted: dict[int, list[Kept]] = {}
    for one in kept:
        wanted.setdefault(one.frame, []).append(one)
    leaks: list[str] = []
    face_frames = 0
    for n, source in enumerate(frames_of(clip.path)):
        for one in wanted.get(n, []):
            for face, jpeg in zip(clip.faces.get(n, []), one.patches, strict=True):
                x1, y1, x2, y2 = patch_box(face.box_xyxy, (source.shape[0], source.shape[1]))
                if x2 - x1 < 8 or y2 - y1 < 8:
                    continue
                patch = np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)
                verdict = check_patches(source[y1:y2, x1:x2], patch, (x1, y1), face)
                if verdict is None:
                    continue
                face_frames += 1
                if verdict.leaked:
                    box = tuple(round(v) for v in face.box_xyxy)
                    leaks.append(
                        f"frame {one.seq} ({n}), {face.kind} {box}: {verdict.window} {verdict.score:.2f}"
                    )
    return leaks, face_frames


def _jpeg(patch: NDArray[np.uint8]) -> bytes:
    if not patch.size:
        return b""
    ok, data = cv2.imencode(".jpg", patch, [cv2.IMWRITE_JPEG_QUALITY, PATCH_QUALITY])
    if not ok:
        raise ValueError(f"a patch of shape {patch.shape} cannot be kept")
    return data.tobytes()


def _plot(
    path: Path,
    at: NDArray[np.float64],
    delays_ms: NDArray[np.float64],
    medians_at: NDArray[np.float64],
    medians_ms: NDArray[np.float64],
    slope: float,
) -> None:  # what is drawn
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 3.6), dpi=110)
    axes.plot(at / 60, delays_ms, ".", color="#b9cfcd", markersize=1.5, label="each frame")
    axes.plot(medians_at / 60, medians_ms, color="#2f6f6a", linewidth=1.0, label="median of each second")
    begin = float(np.median(medians_ms - slope * medians_at / 60))
    line = [begin, begin + slope * at[-1] / 60]
    axes.plot(
        [0, at[-1] / 60], line, color="#b0413e", linewidth=1.5, label=f"trend: {slope:+.2f} ms a minute"
    )
    top = 1.45 * float(np.percentile(delays_ms, 99.9))
    axes.set(xlabel="minutes", ylabel="capture to release, ms", xlim=(0, at[-1] / 60), ylim=(0, top))
    if (above := int((delays_ms > top).sum())) > 0:
        axes.set_title(f"{above} frames lie higher, up to {delays_ms.max():,.0f} ms", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper right", frameon=False, markerscale=6)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)
