"""Live video for browsers by WebRTC: masked frames coded once for everybody who watches.

Owns the encoding thread, which works only while someone watches, and the list of viewers. A codec is
coded once, whoever asks for it; rate and size follow the slowest viewer that is not far behind the
others. Sees masked frames only. The HTTP side (WHEP) is `stream.webrtc_whep`.
"""

from __future__ import annotations

import logging
import math
import secrets
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from fractions import Fraction
from typing import Protocol

import av
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edge_node.bridge import LoopCaller, Mailbox, Worker
from edge_node.frames import MaskedFrame
from edge_node.stream.mjpeg import ViewersFull
from edge_node.stream.webrtc_codec import CLOCK, Encoder, EncoderChoice, EncoderFault, Shape, VideoCodec
from edge_node.stream.webrtc_peer import Peer, PeerPorts
from edge_node.stream.webrtc_queue import CodedFrame
from edge_node.stream.webrtc_rate import KeyframeGate, RateControl

log = logging.getLogger(__name__)

MAX_VIEWERS = 32
"""At 3 Mbit/s and some percent of a core each; more belong behind a media server."""
WAITING_FRAMES = 4
"""Frames that left the node together (see `privacy.release`) and wait for the encoder."""
MAX_ON_WAY = 8
"""Coded frames on the way to the event loop; more means that the loop hangs."""
IDLE_S = 0.25
MAX_FPS = 30.0
FPS_SMOOTHING = 0.05


class LiveViewer(Protocol):
    """Somebody who gets coded frames. `offer` is called on the event loop and returns at once."""

    @property
    def is_watching(self) -> bool: ...

    @property
    def limit_bps(self) -> float:
        """What its network can carry, as far as that is known."""
        ...

    @property
    def ceiling_bps(self) -> float:
        """The most that it may be sent, as a person has set it."""
        ...

    @property
    def dropped(self) -> int: ...

    def offer(self, frame: CodedFrame) -> None: ...


class Lane:
    """One codec: its encoder, rate, keyframe wishes and viewers. `code` runs in the encoding thread."""

    def __init__(
        self,
        codec: VideoCodec,
        call: LoopCaller,
        now: Callable[[], float],
        choice: EncoderChoice | None = None,
    ) -> None:
        self.codec = codec
        self.viewers: tuple[LiveViewer, ...] = ()
        """Replaced as a whole, never changed: both threads may walk through it."""
        self.encoded = 0
        self.bitrate_bps = 0
        self._choice = choice or EncoderChoice(codec)
        self._rate = RateControl()
        self._gate = KeyframeGate()
        self._gate_lock = threading.Lock()
        self._encoder: Encoder | None = None
        self._call = call
        self._now = now
        self._on_way = 0

    def ask_keyframe(self, patience_s: float) -> None:
        with self._gate_lock:
            self._gate.ask(self._now(), patience_s)

    def sending_bps(self) -> float:
        return float(self._rate.bitrate_bps)

    def code(self, frame: MaskedFrame, pts: int, fps: float) -> None:
        """Code a frame for the viewers of this codec, if there are any, and send it on its way."""
        viewers = [viewer for viewer in self.viewers if viewer.is_watching]
        if not viewers:
            self._encoder = None
            return
        if self._on_way >= MAX_ON_WAY:
            self.ask_keyframe(0.0)
            return
        encoder = self._encoder_for(frame, viewers, fps)
        now = self._now()
        with self._gate_lock:
            wants_key = self._gate.is_due(now)
        try:
            data, is_key = encoder.encode(frame.image, pts, wants_key)
        except EncoderFault as exc:
            log.warning("%s; trying another encoder", exc)
            self._choice.give_up(encoder.kind, str(exc))
            self._encoder = None
            return
        if not data:
            return
        if is_key:
            with self._gate_lock:
                self._gate.sent(now)
        packet = av.Packet(data)
        packet.pts, packet.time_base = pts, Fraction(1, CLOCK)
        self.encoded += 1
        self._on_way += 1
        shape = encoder.shape
        coded = CodedFrame(packet, is_key, frame.captured_at, len(data), shape.width, shape.height)
        self._call.call(self._deliver, coded)

    def _encoder_for(self, frame: MaskedFrame, viewers: Sequence[LiveViewer], fps: float) -> Encoder:
        height, width = frame.image.shape[:2]
        limits_bps = [viewer.limit_bps for viewer in viewers]
        ceiling_bps = min(viewer.ceiling_bps for viewer in viewers)
        target = self._rate.step(limits_bps, (width, height), fps, self._now(), ceiling_bps)
        self.bitrate_bps = target.bitrate_bps
        wanted = (target.width, target.height, target.bitrate_bps)
        if self._encoder is not None:
            shape = self._encoder.shape
            if (shape.width, shape.height, shape.bitrate_bps) == wanted:
                return self._encoder
        self._encoder = None  # first: one for 720p holds 27 MB
        self._encoder = self._choice.open(Shape(*wanted, fps=fps))
        return self._encoder

    def _deliver(self, frame: CodedFrame) -> None:
        self._on_way -= 1
        for viewer in self.viewers:
            viewer.offer(frame)


class WebRtcSink:
    """A sink for people with a browser. `push` from any thread; everything else on the event loop."""

    def __init__(
        self, caller: LoopCaller, max_viewers: int = MAX_VIEWERS, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_viewers = max_viewers
        self._now = now
        self._lanes = {codec: Lane(codec, caller, now) for codec in VideoCodec}
        self._peers: dict[str, Peer] = {}
        self._missed = 0
        self._mailbox: Mailbox[MaskedFrame] = Mailbox(WAITING_FRAMES)
        self._epoch = now()
        self._last_pts = -1
        self._last_at: float | None = None
        self._fps = 25.0
        self._worker = Worker("webrtc", self._step, self._faulted)
        self._worker.start()

    @property
    def viewers(self) -> int:
        return sum(peer.is_watching for peer in self._peers.values())

    @property
    def encoded(self) -> int:
        """Frames coded, each codec for itself."""
        return sum(lane.encoded for lane in self._lanes.values())

    @property
    def bitrate_bps(self) -> int:
        return sum(lane.bitrate_bps for lane in self._lanes.values() if lane.viewers)

    @property
    def dropped(self) -> int:
        """Frames that a viewer, or the encoder, missed because it could not follow."""
        return self._missed + sum(p.dropped for p in self._peers.values()) + self._mailbox.dropped

    def push(self, frame: MaskedFrame) -> None:
        """Take a frame; returns at once."""
        if any(lane.viewers for lane in self._lanes.values()):
            self._mailbox.put(frame)

    def close(self) -> None:
        """Stop coding. Connections are closed by `hang_up`, on the event loop."""
        self._worker.stop()

    # --- viewers, on the event loop -------------------------------------------------------------

    async def admit(self, offer_sdp: str, addresses: Sequence[str]) -> tuple[str, str]:
        """A new viewer: its name (a secret of that viewer) and the answer to its offer.

        Raises ViewersFull, and OfferRefused where the offer cannot be answered.
        """
        if len(self._peers) >= self._max_viewers:
            raise ViewersFull(f"{self._max_viewers} viewers are watching already")
        name = secrets.token_urlsafe(18)
        peer = self._make_peer(lambda closed: self._leave(name, closed))
        self._peers[name] = peer
        answer = await peer.answer(offer_sdp, addresses)
        self.join(peer, peer.codec)
        return name, answer

    async def invite(
        self,
        ask: Callable[[str], Awaitable[str]],
        addresses: Sequence[str],
        on_closed: Callable[[], None],
        ceiling_bps: float = math.inf,
    ) -> Peer:
        """Send to a server that takes our offer: `ask` gets it and returns the answer (see `Peer.call`). It
        gets `ceiling_bps` at most."""

        def closed(peer: Peer) -> None:
            self.leave(peer)
            on_closed()

        peer = self._make_peer(closed, ceiling_bps)
        await peer.call(ask, addresses)
        self.join(peer, peer.codec)
        return peer

    def join(self, viewer: LiveViewer, codec: VideoCodec = VideoCodec.H264) -> None:
        """Give coded frames to somebody who is no browser, too."""
        lane = self._lanes[codec]
        lane.viewers = (*lane.viewers, viewer)

    def leave(self, viewer: LiveViewer) -> None:
        """No more. May be called twice."""
        for lane in self._lanes.values():
            if viewer in lane.viewers:
                self._missed += viewer.dropped
                lane.viewers = tuple(other for other in lane.viewers if other is not viewer)

    def wish_keyframe(self, codec: VideoCodec = VideoCodec.H264) -> None:
        """From any thread."""
        self._lanes[codec].ask_keyframe(0.0)

    def _make_peer(self, on_closed: Callable[[Peer], None], ceiling_bps: float = math.inf) -> Peer:
        peer = Peer(PeerPorts(
            on_keyframe_wish=lambda patience_s: self._lanes[peer.codec].ask_keyframe(patience_s),
            sending_bps=lambda: self._lanes[peer.codec].sending_bps(),
            on_closed=on_closed,
        ), self._now, ceiling_bps)  # fmt: skip
        return peer

    def find(self, name: str) -> Peer | None:
        return self._peers.get(name)

    async def hang_up(self) -> None:
        """Close every connection."""
        for peer in list(self._peers.values()):
            await peer.close()

    def _leave(self, name: str, peer: Peer) -> None:
        self._peers.pop(name, None)
        self.leave(peer)

    # --- encoding thread ------------------------------------------------------------------------

    def _step(self) -> None:
        for frame in self._mailbox.take_all(until=time.monotonic() + IDLE_S):
            if self._is_too_soon(frame.captured_at):
                continue
            pts = max(self._last_pts + 1, round((frame.captured_at - self._epoch) * CLOCK))
            self._last_pts = pts
            for lane in self._lanes.values():
                lane.code(frame, pts, self._fps)

    def _is_too_soon(self, captured_at: float) -> bool:
        """A camera at 50 or 60 frames a second is sent at half its rate."""
        last = self._last_at
        if last is not None and 0 <= captured_at - last < 0.85 / MAX_FPS:
            return True
        if last is not None and 0 < captured_at - last < 1:
            self._fps += FPS_SMOOTHING * (min(1 / (captured_at - last), MAX_FPS) - self._fps)
        self._last_at = captured_at
        return False

    def _faulted(self, exc: BaseException) -> None:
        log.error("coding a frame for live viewers failed: %s", exc)


class WebRtcCollector(Collector):
    """The sink's counters for Prometheus."""

    def __init__(self, sink: WebRtcSink) -> None:
        self._sink = sink

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("veilcast_live_viewers", "Viewers by WebRTC", self._sink.viewers)
        bitrate = "Bits a second that live video is coded at"
        yield GaugeMetricFamily("veilcast_live_bitrate_bps", bitrate, self._sink.bitrate_bps)
        encoded = "Frames coded for live video, once for all viewers"
        yield CounterMetricFamily("veilcast_live_frames_encoded", encoded, self._sink.encoded)
        dropped = "Frames that a live viewer missed because it could not follow"
        yield CounterMetricFamily("veilcast_live_frames_dropped", dropped, self._sink.dropped)
