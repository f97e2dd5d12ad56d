"""WebRTC with real connections: one encode for all, keyframes on demand, and nobody who harms another."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.rtp import RTCP_PSFB_PLI, RtcpPsfbPacket, RtcpReceiverInfo, RtcpRrPacket
from prometheus_client import CollectorRegistry

from edge_node.bridge import LoopCaller
from edge_node.stream.mjpeg import MjpegSink
from edge_node.stream.state import Health, LinkState, NodeState
from edge_node.stream.web import WebPorts, WebServer, media_addresses
from edge_node.stream.webrtc import WebRtcSink
from edge_node.stream.webrtc_codec import VideoCodec
from tests.edge_node.stream.frames import masked

SDP = {"Content-Type": "application/sdp"}


class Node:
    """A server with live video behind it."""

    def __init__(self, max_viewers: int = 4) -> None:
        self.mjpeg = MjpegSink()
        self.live = WebRtcSink(LoopCaller(asyncio.get_running_loop()), max_viewers)
        link = LinkState("live", "demo scene", 0.0)
        state = NodeState("door", link, link, (0.0, 0.0, 0.0), 0.0)
        self.registry = CollectorRegistry()
        ports = WebPorts(lambda: state, lambda: Health(True, "well"), self.mjpeg, self.registry, self.live)
        self.server = WebServer(ports, "127.0.0.1", 0)
        self.pushed = 0

    def url(self, path: str) -> str:
        return self.server.url.rstrip("/") + path

    async def push_until(self, is_reached: asyncio.Event | None = None, frames: int = 1000) -> None:
        """Frames at about 50 a second with fresh times, until something has happened."""
        for _ in range(frames):
            if is_reached is not None and is_reached.is_set():
                return
            image = np.full((90, 160, 3), 20 + self.pushed % 200, np.uint8)
            self.live.push(masked(self.pushed, image, pts_s=time.monotonic()))
            self.pushed += 1
            await asyncio.sleep(0.04)
        assert is_reached is None, "it never happened"


@asynccontextmanager
async def running(max_viewers: int = 4) -> AsyncIterator[tuple[Node, aiohttp.ClientSession]]:
    node = Node(max_viewers)
    await node.server.start()
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as client:
            yield node, client
    finally:
        node.live.close()
        node.mjpeg.close()
        await node.server.stop()


class Watcher:
    """A viewer, made of aiortc's receiving half."""

    def __init__(self, codec: str = "") -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.transceiver = self.connection.addTransceiver("video", direction="recvonly")
        if codec:
            known = type(self.transceiver.receiver).getCapabilities("video").codecs
            self.transceiver.setCodecPreferences([c for c in known if c.mimeType == f"video/{codec}"])
        self.channel: RTCDataChannel = self.connection.createDataChannel("clock")
        self.has_picture = asyncio.Event()
        self.pictures = 0
        self.location = ""
        self.sdp = ""
        self._task: asyncio.Task[None] | None = None

    async def offer(self) -> str:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return self.connection.localDescription.sdp

    async def watch(self, node: Node, client: aiohttp.ClientSession) -> None:
        async with client.post(node.url("/whep"), data=await self.offer(), headers=SDP) as response:
            assert response.status == 201, await response.text()
            assert response.content_type == "application/sdp"
            self.location = response.headers["Location"]
            self.sdp = await response.text()
        await self.connection.setRemoteDescription(RTCSessionDescription(self.sdp, "answer"))
        self._task = asyncio.create_task(self._count())

    async def _count(self) -> None:
        while True:
            await self.transceiver.receiver.track.recv()
            self.pictures += 1
            self.has_picture.set()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
        await self.connection.close()


@asynccontextmanager
async def watching(node: Node, client: aiohttp.ClientSession, codec: str = "") -> AsyncIterator[Watcher]:
    watcher = Watcher(codec)
    try:
        await watcher.watch(node, client)
        yield watcher
    finally:
        await watcher.close()


async def test_one_encode_serves_every_viewer() -> None:
    async with running() as (node, client):
        async with watching(node, client) as first, watching(node, client) as second:
            await node.push_until(first.has_picture)
            await node.push_until(second.has_picture)
            before = node.live.encoded
            pushed = node.pushed
            await node.push_until(frames=20)
            assert node.live.viewers == 2
            assert node.live.encoded - before <= node.pushed - pushed + 4
            assert min(first.pictures, second.pictures) > 5
        await node.push_until(frames=2)


@pytest.mark.parametrize("codec", ["H264", "VP8"])
async def test_both_codecs_are_served_and_h264_goes_first(codec: str) -> None:
    async with running() as (node, client):
        async with watching(node, client, codec) as watcher:
            await node.push_until(watcher.has_picture)
            assert [p.codec for p in node.live._peers.values()] == [VideoCodec(codec)]
        async with watching(node, client) as watcher:
            await node.push_until(watcher.has_picture)
            assert "H264" in [p.codec for p in node.live._peers.values()]


async def test_media_is_offered_where_the_page_is_and_nowhere_else() -> None:
    async with running() as (node, client), watching(node, client) as watcher:
        candidates = [line.split()[4] for line in watcher.sdp.splitlines() if line.startswith("a=candidate:")]
        assert candidates
        assert set(candidates) == {"127.0.0.1"}
    assert media_addresses("localhost") == ["127.0.0.1"]
    assert media_addresses("192.168.1.5") == ["192.168.1.5"]
    assert media_addresses("0.0.0.0") == media_addresses("camera.example") == []


async def test_a_session_ends_by_delete_and_by_going_away() -> None:
    async with running() as (node, client):
        async with watching(node, client) as watcher:
            await node.push_until(watcher.has_picture)
            async with client.delete(node.url(watcher.location)) as response:
                assert response.status == 200
            assert node.live.viewers == 0
            async with client.delete(node.url(watcher.location)) as response:
                assert response.status == 404
        async with watching(node, client) as watcher:
            await node.push_until(watcher.has_picture)
        for _ in range(100):
            if not node.live._peers:
                break
            await asyncio.sleep(0.05)
        assert not node.live._peers


async def test_a_keyframe_comes_when_a_viewer_asks() -> None:
    """aiortc keeps these requests to itself: this fails where the hook is not in place any more."""
    async with running() as (node, client), watching(node, client) as watcher:
        await node.push_until(watcher.has_picture)
        (peer,) = node.live._peers.values()
        wishes: list[float] = []
        lane = node.live._lanes[peer.codec]
        ask, lane.ask_keyframe = lane.ask_keyframe, wishes.append  # type: ignore[method-assign]
        assert peer._sender is not None
        receiver = watcher.transceiver.receiver
        await receiver._send_rtcp_pli(peer._sender._ssrc)
        for _ in range(100):
            if wishes:
                break
            await asyncio.sleep(0.02)
        assert wishes == [0.0]
        lane.ask_keyframe = ask  # type: ignore[method-assign]


async def test_loss_that_a_viewer_reports_lowers_its_limit() -> None:
    async with running() as (node, client), watching(node, client) as watcher:
        await node.push_until(watcher.has_picture)
        (peer,) = node.live._peers.values()
        sender = peer._sender
        assert sender is not None
        report = RtcpReceiverInfo(
            ssrc=sender._ssrc, fraction_lost=128, packets_lost=9, highest_sequence=1, jitter=0, lsr=0, dlsr=0
        )
        assert peer.limit_bps == float("inf")
        await sender._handle_rtcp_packet(RtcpRrPacket(ssrc=1, reports=[report]))
        assert peer.limit_bps < peer._ports.sending_bps()
        wishes: list[float] = []
        lane = node.live._lanes[peer.codec]
        lane.ask_keyframe = wishes.append  # type: ignore[method-assign]
        await sender._handle_rtcp_packet(RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=1, media_ssrc=sender._ssrc))
        assert wishes == [2.0]  # a slow viewer waits, so that its keyframes do not cost the others


async def test_the_page_can_work_out_when_a_picture_was_captured() -> None:
    async with running() as (node, client), watching(node, client) as watcher:
        answers: list[dict[str, object]] = []
        has_clock = asyncio.Event()

        def take(message: str) -> None:
            answers.append(json.loads(message))
            if "rtp" in answers[-1]:
                has_clock.set()

        watcher.channel.on("message", take)
        pushing = asyncio.create_task(node.push_until(has_clock))
        for n in range(100):
            if has_clock.is_set():
                break
            if watcher.channel.readyState == "open":
                watcher.channel.send(str(n))
            await asyncio.sleep(0.2)
        await pushing
        answer = answers[-1]
        now_ms = 1000 * time.monotonic()
        assert answer["ping"].isdigit()
        assert now_ms - 20_000 < answer["captured_ms"] <= answer["now_ms"] <= now_ms
        watcher.channel.send("x" * 500)  # too long, and then too soon: neither is answered
        watcher.channel.send("1")
        watcher.channel.send("2")
        known = len(answers)
        await asyncio.sleep(0.3)
        assert len(answers) <= known + 1


async def test_a_viewer_that_does_not_fetch_misses_frames_and_harms_nobody() -> None:
    async with running() as (node, client):  # noqa: SIM117
        async with watching(node, client) as slow, watching(node, client) as quick:
            await node.push_until(slow.has_picture)
            await node.push_until(quick.has_picture)
            stuck = next(iter(node.live._peers.values()))
            never = asyncio.Event()

            async def hang() -> None:
                await never.wait()

            stuck._track.recv = hang  # type: ignore[method-assign, assignment]
            before = quick.pictures
            await node.push_until(frames=30)
            assert stuck.dropped > 0
            assert len(stuck._track.queue._frames) <= 8
            assert quick.pictures - before > 10
            never.set()


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"v=0\r\n", "application/sdp", 400),
        (b"\xff\xfe", "application/sdp", 400),
        (b"", "application/sdp", 400),
        (b"v=0\r\n", "text/plain", 415),
        (b"v=0\r\n" + b"a=x\r\n" * 20_000, "application/sdp", 413),
    ],
)
async def test_offers_that_are_none_are_refused(body: bytes, kind: str, status: int) -> None:
    async with running() as (node, client):
        headers = {"Content-Type": kind}
        async with client.post(node.url("/whep"), data=body, headers=headers) as response:
            assert response.status == status
        assert not node.live._peers


async def test_an_offer_without_a_codec_of_ours_is_refused() -> None:
    async with running() as (node, client):
        watcher = Watcher()
        offer = (await watcher.offer()).replace("H264/90000", "AV1/90000").replace("VP8/90000", "VP9/90000")
        async with client.post(node.url("/whep"), data=offer, headers=SDP) as response:
            assert response.status == 400
        assert not node.live._peers
        await watcher.close()


async def test_too_many_viewers_are_told_so() -> None:
    async with running(max_viewers=1) as (node, client), watching(node, client):
        watcher = Watcher()
        async with client.post(node.url("/whep"), data=await watcher.offer(), headers=SDP) as response:
            assert response.status == 503
            assert response.headers["Retry-After"] == "10"
        await watcher.close()


async def test_candidates_may_follow() -> None:
    kind = {"Content-Type": "application/trickle-ice-sdpfrag"}
    async with running() as (node, client), watching(node, client) as watcher:
        url = node.url(watcher.location)
        good = "a=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host\r\n"
        named = "a=candidate:1 1 udp 2130706431 5f2b.local 9 typ host\r\n"
        for body, status in ((good + named, 204), ("a=candidate:1 1\r\n", 400), (good * 40, 400)):
            async with client.patch(url, data=body, headers=kind) as response:
                assert response.status == status, body
        async with client.patch(url, data=good, headers=SDP) as response:
            assert response.status == 415
        async with client.patch(node.url("/whep/nobody"), data=good, headers=kind) as response:
            assert response.status == 404


async def test_without_viewers_nothing_is_coded_and_with_them_it_is_counted() -> None:
    async with running() as (node, client):
        await node.push_until(frames=5)
        assert node.live.encoded == 0
        async with watching(node, client) as watcher:
            await node.push_until(watcher.has_picture)
            async with client.get(node.url("/metrics")) as response:
                assert "veilcast_live_viewers 1.0" in await response.text()
            async with client.get(node.url("/state")) as response:
                assert (await response.json())["viewers"] == 1


async def test_stopping_hangs_up() -> None:
    async with running() as (node, client), watching(node, client) as watcher:
        await node.push_until(watcher.has_picture)
        await node.server.stop()
        assert not node.live._peers
