"""One codec's lane: its encoder follows the rate, and there is one at a time."""

from __future__ import annotations

import asyncio
import math
import weakref
from dataclasses import dataclass

from edge_node.bridge import LoopCaller
from edge_node.stream.webrtc import Lane
from edge_node.stream.webrtc_codec import CLOCK, Encoder, EncoderChoice, Shape, VideoCodec
from edge_node.stream.webrtc_queue import CodedFrame
from edge_node.stream.webrtc_rate import CHANGE_EVERY_S
from tests.edge_node.stream.frames import masked


@dataclass
class Viewer:
    limit_bps: float = math.inf
    ceiling_bps: float = math.inf
    is_watching: bool = True
    dropped: int = 0

    def offer(self, frame: CodedFrame) -> None: ...


class Choice(EncoderChoice):
    """Notes which encoders are still there when another one is opened."""

    def __init__(self) -> None:
        super().__init__(VideoCodec.H264, hardware=())
        self.shapes: list[Shape] = []
        self.alive: list[int] = []
        self._opened: weakref.WeakSet[Encoder] = weakref.WeakSet()

    def open(self, shape: Shape) -> Encoder:
        self.alive.append(len(self._opened))
        self.shapes.append(shape)
        encoder = super().open(shape)
        self._opened.add(encoder)
        return encoder


def test_an_encoder_is_given_up_before_the_next_one_is_opened() -> None:
    now, choice, viewer = 0.0, Choice(), Viewer()
    loop = asyncio.new_event_loop()
    lane = Lane(VideoCodec.H264, LoopCaller(loop), lambda: now, choice)
    lane.viewers = (viewer,)
    for seq, limit_bps in enumerate((math.inf, 1_500_000, 800_000)):
        viewer.limit_bps = limit_bps
        lane.code(masked(seq), seq * CLOCK // 25, 25.0)
        now += 2 * CHANGE_EVERY_S
    loop.close()
    assert lane.encoded == 3
    assert len({shape.bitrate_bps for shape in choice.shapes}) == 3
    assert choice.alive == [0, 0, 0]
