"""Streams a clip through the node as it is wired, without a hub, and keeps what the checker needs.

`live` runs at the clip's own pace; `offline` gives every frame its analysis at once, which tells what
the detector cannot see from what the machine has no time to look at. Called by `benchmarks.leak`.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.leak_check import patch_box
from benchmarks.leak_clips import Clip, frames_of
from edge_node.config import HubSettings, NodeSettings, SourceSettings, WebSettings
from edge_node.frames import FrameSink, MaskedFrame, RawFrame
from edge_node.node import Node
from edge_node.pipeline import SourceGone

AREA_WIDTH = 480
"""Frames are compared at this width to find the painted part."""


def reduced(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A frame at the size at which its painted part is measured."""
    scale = min(1.0, AREA_WIDTH / image.shape[1])
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


@dataclass(frozen=True, slots=True)
class Output:
    """What is kept of an output frame."""

    patches: list[NDArray[np.uint8]]
    """One for each labeled face, in the order of the labels."""
    small: NDArray[np.uint8]


@dataclass(slots=True)
class Run:
    """One clip, streamed once."""

    outputs: dict[int, Output] = field(default_factory=dict)
    """By frame."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Frames released, by reason."""
    delays_s: list[float] = field(default_factory=list)
    """Capture to masked frame."""
    released_at: list[float] = field(default_factory=list)
    faults: int = 0
    cpu_s: float = 0.0
    """Processor time of the whole node."""
    analyzed: int = 0

    @property
    def fps(self) -> float:
        """Frames with a picture for each second of streaming."""
        shown = self.reasons.get("covered", 0)
        if len(self.released_at) < 2:
            return 0.0
        step_s = (self.released_at[-1] - self.released_at[0]) / (len(self.released_at) - 1)
        return shown / (step_s * len(self.released_at)) if step_s else 0.0


def keep(image: NDArray[np.uint8], clip: Clip, frame: int) -> Output:
    """Cut out what the checker looks at."""
    patches = []
    for face in clip.faces.get(frame, []):
        x1, y1, x2, y2 = patch_box(face.box_xyxy, (image.shape[0], image.shape[1]))
        patches.append(image[y1:y2, x1:x2].copy())
    return Output(patches, reduced(image))


class _Keeper:
    """A sink that keeps the frames, and cuts out what is checked once the run is over: while it lasts that
    would take the node's time, and so would fresh memory."""

    def __init__(self, clip: Clip, run: Run) -> None:
        self._clip = clip
        self._run = run
        shapes = [image.shape for image in frames_of(clip.path)]
        self._room = np.ones((len(shapes), *shapes[0]), np.uint8)
        self._kept: list[int] = []

    def push(self, frame: MaskedFrame) -> None:
        now = time.monotonic()
        run = self._run
        np.copyto(self._room[frame.seq], frame.image)
        self._kept.append(frame.seq)
        run.reasons[frame.reason.value] = run.reasons.get(frame.reason.value, 0) + 1
        run.delays_s.append(now - frame.captured_at)
        run.released_at.append(now)

    def close(self) -> None:
        """Nothing is held open."""

    def cut(self) -> None:
        """Move what is checked of each frame into the run."""
        for seq in self._kept:
            self._run.outputs[seq] = keep(self._room[seq], self._clip, seq)


class CheckedNode(Node):
    """The node, with one sink more: `keeper` gets every frame that leaves."""

    def __init__(self, settings: NodeSettings, loop: asyncio.AbstractEventLoop, keeper: FrameSink) -> None:
        self._keeper = keeper
        super().__init__(settings, loop)

    def _sinks(self) -> list[FrameSink]:
        return [*super()._sinks(), self._keeper]

    def analyze_each(self, path: Path, fps: float) -> None:
        """Every frame of a file through analysis and release in turn, at no particular pace."""
        # Far in the future: no frame can be late, whatever the analysis takes.
        begin = time.monotonic() + 1e6
        for n, image in enumerate(frames_of(path)):
            frame = RawFrame(seq=n, captured_at=begin + n / fps, pts_s=n / fps, image=image)
            self._release.mailbox.put(frame)
            self._analysis.slot.put(frame)
            self._analysis.step()
            self._release.step()
        self._release.mailbox.put(SourceGone(is_end=True))
        self._release.step()


def _settings(clip: Clip) -> NodeSettings:
    return NodeSettings(
        name="leak",
        source=SourceSettings(spec=str(clip.path), once=True),
        hub=HubSettings(enabled=False),
        web=WebSettings(enabled=False),
    )


def live(clip: Clip) -> Run:
    """The clip at its own pace, everyone veiled."""
    run = Run()
    keeper = _Keeper(clip, run)

    async def stream() -> None:
        node = CheckedNode(_settings(clip), asyncio.get_running_loop(), keeper)
        before = time.process_time()
        await node.run()
        run.cpu_s = time.process_time() - before
        _count(node, run)

    asyncio.run(stream())
    keeper.cut()
    return run


def offline(clip: Clip, fps: float = 25.0) -> Run:
    """The clip with an analysis of every frame. Its times mean nothing."""
    run = Run()
    keeper = _Keeper(clip, run)
    loop = asyncio.new_event_loop()
    try:
        node = CheckedNode(_settings(clip), loop, keeper)
        node.analyze_each(clip.path, fps)
        _count(node, run)
    finally:
        loop.close()
    keeper.cut()
    return run


def _count(node: Node, run: Run) -> None:
    totals = node.metrics.totals()
    run.faults = int(sum(v for k, v in totals.items() if k.startswith("faults")))
    run.analyzed = int(totals.get("frames_analyzed", 0))
