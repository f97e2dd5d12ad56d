"""One viewer by WebRTC: a peer connection that sends coded frames and tells the time. [I/O]

Owns the connection, what waits for it, and the small data channel by which a page works out how old a
picture is. What is coded, and for whom, is `stream.webrtc`'s part. Runs inside the event loop.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import av
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from aiortc.sdp import SessionDescription, candidate_from_sdp

from edge_node.stream.webrtc_codec import VideoCodec
from edge_node.stream.webrtc_hooks import MAX_BACKLOG_BYTES, Feedback, backlog_bytes, offer_addresses, watch
from edge_node.stream.webrtc_queue import CodedFrame, FrameQueue
from edge_node.stream.webrtc_rate import ViewerRate

log = logging.getLogger(__name__)

CONNECT_S = 15.0
"""A browser that is not connected by then never will be; it shows the other stream meanwhile."""
MAX_CANDIDATES = 32
MAX_PING_CHARS = 64
PING_GAP_S = 0.1
SLOW_PATIENCE_S = 2.0
"""A viewer whose way is too small asks for keyframes this seldom: each costs everybody's rate."""
_MDNS_CANDIDATE = re.compile(r"^a=candidate:(?:\S+ ){4}\S+\.local .*\r?\n", re.MULTILINE)
_END_OF_CANDIDATES = re.compile(r"^a=end-of-candidates\s*\r?\n", re.MULTILINE)


class OfferRefused(Exception):  # noqa: N818 - an answer to a client, not a mistake of ours
    """The offer cannot be answered; the text says why."""


@dataclass(frozen=True, slots=True)
class PeerPorts:
    """What a viewer tells its owner. All are called on the event loop."""

    on_keyframe_wish: Callable[[float], None]
    """With the seconds that it can wait."""
    sending_bps: Callable[[], float]
    on_closed: Callable[[Peer], None]


class FrameTrack(MediaStreamTrack):
    """Coded frames for aiortc to cut into packets. `recv` never works or blocks: it waits for a frame."""

    kind = "video"

    def __init__(self, on_begin: Callable[[], None]) -> None:
        super().__init__()
        self.queue = FrameQueue()
        self.last: CodedFrame | None = None
        """The frame that was handed out last."""
        self.is_read = False
        """The connection stands: frames are wanted."""
        self._on_begin = on_begin
        self._has_news = asyncio.Event()

    def offer(self, frame: CodedFrame, fits: bool) -> bool:
        taken = self.queue.offer(frame, fits)
        if taken:
            self._has_news.set()
        return taken

    def stop(self) -> None:
        super().stop()
        self._has_news.set()

    async def recv(self) -> av.Packet[Any]:
        if not self.is_read:
            self.is_read = True
            self._on_begin()
        while (frame := self.queue.take()) is None:
            if self.readyState != "live":
                raise MediaStreamError
            self._has_news.clear()
            await self._has_news.wait()
        self.last = frame
        return frame.packet


class Peer:
    """A viewer, which gets `ceiling_bps` at most. `answer` first; `close` may be called twice."""

    def __init__(
        self, ports: PeerPorts, now: Callable[[], float] = time.monotonic, ceiling_bps: float = math.inf
    ) -> None:
        self._ports = ports
        self._now = now
        self.ceiling_bps = ceiling_bps
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._track = FrameTrack(lambda: self._wish_keyframe())
        self._sender: RTCRtpSender | None = None
        self._rate = ViewerRate(now())
        self._clock: tuple[int, float] | None = None
        self._ponged_at = -math.inf
        self._candidates = 0
        self._is_closed = False
        self._deadline: asyncio.TimerHandle | None = None
        self.codec = VideoCodec.H264

    @property
    def is_watching(self) -> bool:
        """Connected, and fetching frames."""
        return self._track.is_read and not self._is_closed

    @property
    def dropped(self) -> int:
        return self._track.queue.dropped

    @property
    def limit_bps(self) -> float:
        return self._rate.limit_bps

    async def answer(self, offer_sdp: str, addresses: Sequence[str]) -> str:
        """The answer to a browser's offer, with our candidates on `addresses` (all if empty).

        Raises OfferRefused; the peer is closed then.
        """
        try:
            sdp = await self._negotiate(offer_sdp, addresses)
        except OfferRefused:
            await self.close()
            raise
        except Exception as exc:
            # The text comes from outside and is parsed by a library: whatever it stumbles over is a refusal.
            await self.close()
            log.debug("an offer was refused", exc_info=True)
            raise OfferRefused(f"the offer cannot be answered ({type(exc).__name__})") from exc
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(CONNECT_S, self._give_up_unless_watching)
        return sdp

    async def _negotiate(self, offer_sdp: str, addresses: Sequence[str]) -> str:
        offered = [media.kind for media in SessionDescription.parse(offer_sdp).media]
        if offered.count("video") != 1:
            raise OfferRefused("the offer must have one video section, to receive")
        connection = self._connection
        connection.on("datachannel", self._on_channel)
        self._prepare(list(VideoCodec))
        # Names ending in .local would be asked for all over the network. The browser's own checks tell
        # where it is, and tell it sooner; candidates may also follow, so the list is left open.
        offer_sdp = _END_OF_CANDIDATES.sub("", _MDNS_CANDIDATE.sub("", offer_sdp))
        await connection.setRemoteDescription(RTCSessionDescription(offer_sdp, "offer"))
        if addresses:
            offer_addresses(connection, addresses)
        await connection.setLocalDescription(await connection.createAnswer())
        sdp = connection.localDescription.sdp
        self._note_codec(sdp)
        return sdp

    async def call(self, ask: Callable[[str], Awaitable[str]], addresses: Sequence[str]) -> None:
        """Offer to send H.264, as WHIP has it: `ask` gets the offer, with our candidates on `addresses` (all
        if empty), and returns the answer. Raises OfferRefused and what `ask` raises; the peer is closed then.
        """
        connection = self._connection
        try:
            self._prepare([VideoCodec.H264])
            if addresses:
                offer_addresses(connection, addresses)
            await connection.setLocalDescription(await connection.createOffer())
            answer = await ask(connection.localDescription.sdp)
        except BaseException:
            await self.close()
            raise
        try:
            await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
            self._note_codec(answer)
        except Exception as exc:
            await self.close()
            raise OfferRefused(f"its answer cannot be used ({type(exc).__name__})") from exc
        self._deadline = asyncio.get_running_loop().call_later(CONNECT_S, self._give_up_unless_watching)

    def _prepare(self, codecs: Sequence[VideoCodec]) -> None:
        """Make ready to send one of these, the first if possible."""
        self._connection.on("connectionstatechange", self._on_state)
        transceiver = self._connection.addTransceiver(self._track, direction="sendonly")
        wanted = {f"video/{codec}".lower(): n for n, codec in enumerate(codecs)} | {"video/rtx": 9}
        known = RTCRtpSender.getCapabilities("video").codecs
        usable = [c for c in known if c.mimeType.lower() in wanted]
        transceiver.setCodecPreferences(sorted(usable, key=lambda c: wanted[c.mimeType.lower()]))
        self._sender = transceiver.sender
        watch(self._sender, Feedback(self._wish_keyframe, self._on_estimate, self._on_loss, self._on_report))

    def _note_codec(self, answer_sdp: str) -> None:
        video = next(m for m in SessionDescription.parse(answer_sdp).media if m.kind == "video")
        if not video.port or not video.rtp.codecs:
            raise OfferRefused("the offer has neither H.264 (packetization mode 1) nor VP8")
        self.codec = VideoCodec(video.rtp.codecs[0].name.upper())

    async def add_candidates(self, fragment: str) -> None:
        """Candidates that follow the offer (RFC 8840). Raises OfferRefused."""
        for line in fragment.splitlines():
            if not line.startswith("a=candidate:") or ".local " in line:
                continue
            self._candidates += 1
            if self._candidates > MAX_CANDIDATES:
                raise OfferRefused("too many candidates")
            try:
                candidate = candidate_from_sdp(line.removeprefix("a=candidate:"))
            except (ValueError, AssertionError, IndexError) as exc:
                raise OfferRefused("a candidate cannot be read") from exc
            candidate.sdpMLineIndex = 0  # everything is bundled on the first section
            await self._connection.addIceCandidate(candidate)

    def offer(self, frame: CodedFrame) -> None:
        """Send a frame, or leave it out where this viewer cannot follow. Returns at once."""
        track, sender = self._track, self._sender
        if not self.is_watching or sender is None:
            return
        now, sending = self._now(), self._ports.sending_bps()
        is_clear = backlog_bytes(sender) <= MAX_BACKLOG_BYTES
        needed_key = track.queue.needs_key
        # A frame that cannot be used anyway must not use up what the way can carry.
        usable = frame.is_key or not needed_key
        fits = is_clear and usable and self._rate.may_send(frame.size_bytes, sending, now)
        if not track.offer(frame, fits) and not needed_key:
            self._wish_keyframe()

    async def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        if self._deadline is not None:
            self._deadline.cancel()
        self._track.stop()
        await self._connection.close()
        self._ports.on_closed(self)

    # --- what the browser tells ---------------------------------------------------------------

    def _wish_keyframe(self) -> None:
        is_slow = self._rate.limit_bps < self._ports.sending_bps()
        self._ports.on_keyframe_wish(SLOW_PATIENCE_S if is_slow else 0.0)

    def _on_estimate(self, bps: float) -> None:
        self._rate.on_estimate(bps, self._now())

    def _on_loss(self, fraction: float) -> None:
        self._rate.on_loss(fraction, self._ports.sending_bps())

    def _on_report(self, rtp_timestamp: int) -> None:
        if self._track.last is not None:
            self._clock = (rtp_timestamp, self._track.last.captured_at)

    async def _on_state(self) -> None:
        if self._connection.connectionState in ("failed", "closed"):
            await self.close()

    def _give_up_unless_watching(self) -> None:
        if not self.is_watching:
            self._closing = asyncio.ensure_future(self.close())

    def _on_channel(self, channel: RTCDataChannel) -> None:
        channel.on("message", lambda message: self._pong(channel, message))

    def _pong(self, channel: RTCDataChannel, message: object) -> None:
        """Tell our clock, and when a frame of known RTP timestamp was captured, both in milliseconds."""
        now = self._now()
        if not isinstance(message, str) or len(message) > MAX_PING_CHARS:
            return
        if now - self._ponged_at < PING_GAP_S or channel.readyState != "open":
            return
        self._ponged_at = now
        pong: dict[str, object] = {"ping": message, "now_ms": round(1000 * now, 2)}
        if self._clock is not None:
            pong |= {"rtp": self._clock[0], "captured_ms": round(1000 * self._clock[1], 2)}
        channel.send(json.dumps(pong))
