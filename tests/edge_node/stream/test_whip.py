"""Publishing by WHIP to a small server of aiohttp and aiortc."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
from aiohttp import web
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from edge_node.bridge import LoopCaller
from edge_node.stream.webrtc import WebRtcSink
from edge_node.stream.webrtc_hooks import offer_addresses
from edge_node.stream.whip import WhipPublisher
from tests.edge_node.stream.frames import masked


class Server:
    """Takes streams and keeps what it sees of them."""

    def __init__(self) -> None:
        self.status = 201
        self.answer: str | None = None
        self.location = "/door/whip/session-1"
        self.authorizations: list[str] = []
        self.deleted: list[tuple[str, str]] = []
        self.pictures: list[np.ndarray] = []
        self.got = asyncio.Event()
        self.url = ""
        self.peers: list[RTCPeerConnection] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def post(self, request: web.Request) -> web.StreamResponse:
        self.authorizations.append(request.headers.get("Authorization", ""))
        assert request.content_type == "application/sdp"
        if self.status != 201:
            return web.Response(status=self.status, headers={"Location": "/elsewhere"})
        sdp = self.answer if self.answer is not None else await self._accept(await request.text())
        headers = {"Content-Type": "application/sdp", "Location": self.location}
        response = web.StreamResponse(status=201, headers=headers)
        await response.prepare(request)
        middle = len(sdp) // 2
        for piece in (sdp[:middle], sdp[middle:]):
            await response.write(piece.encode())
            await asyncio.sleep(0.02)  # two reads on the other side
        return response

    async def delete(self, request: web.Request) -> web.Response:
        self.deleted.append((request.path, request.headers.get("Authorization", "")))
        return web.Response()

    async def _accept(self, offer: str) -> str:
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.peers.append(peer)
        peer.on("track", lambda track: self._tasks.append(asyncio.ensure_future(self._watch(track))))
        await peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        offer_addresses(peer, ["127.0.0.1"])
        await peer.setLocalDescription(await peer.createAnswer())
        return peer.localDescription.sdp

    async def _watch(self, track: MediaStreamTrack) -> None:
        while True:
            frame = await track.recv()
            self.pictures.append(frame.to_ndarray(format="bgr24"))
            self.got.set()

    async def close(self) -> None:
        for peer in self.peers:
            await peer.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_post("/door/whip", server.post)
    app.router.add_delete("/{tail:.*}", server.delete)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/door/whip"
    yield server
    await server.close()
    await runner.cleanup()


@asynccontextmanager
async def publishing(url: str) -> AsyncIterator[WhipPublisher]:
    live = WebRtcSink(LoopCaller(asyncio.get_running_loop()))
    publisher = WhipPublisher(url, "Bearer s3cr3t", 2e6, live, first_pause_s=0.02)

    async def film() -> None:
        for n in range(1_000_000):
            live.push(masked(n, np.full((96, 128, 3), 90, np.uint8)))
            await asyncio.sleep(0.04)

    camera, running = asyncio.create_task(film()), asyncio.create_task(publisher.run())
    try:
        yield publisher
    finally:
        for task in (camera, running):
            task.cancel()
        await asyncio.gather(camera, running, return_exceptions=True)
        await live.hang_up()
        live.close()


async def see(server: Server) -> None:
    server.got.clear()
    async with asyncio.timeout(100):
        await server.got.wait()


async def test_the_server_sees_the_pictures_and_is_told_of_the_end(server: Server) -> None:
    async with publishing(server.url) as publisher:
        await see(server)
        assert publisher.is_connected
    assert server.pictures[0].shape == (96, 128, 3)
    assert abs(float(server.pictures[0].mean()) - 90) < 6
    assert server.authorizations == ["Bearer s3cr3t"]
    assert server.deleted == [("/door/whip/session-1", "Bearer s3cr3t")]


async def test_no_more_is_sent_than_was_set(server: Server) -> None:
    async with publishing(server.url) as publisher:
        await see(server)
        assert publisher._peer is not None
        assert publisher._peer.ceiling_bps == 2e6


async def test_a_server_that_hangs_up_is_called_again(server: Server) -> None:
    async with publishing(server.url) as publisher:
        await see(server)
        async with asyncio.timeout(100):
            while publisher.connects < 1:  # noqa: ASYNC110 - it has no event for it
                await asyncio.sleep(0.02)
        await server.peers[0].close()
        async with asyncio.timeout(100):
            while publisher.connects < 2:  # noqa: ASYNC110 - it has no event for it
                await asyncio.sleep(0.02)
        await see(server)
    assert len(server.authorizations) >= 2


@pytest.mark.parametrize(
    ("status", "answer", "words"),
    [
        (401, None, "publish.secret_file"),
        (307, None, "it answers 307"),
        (201, "v=0\r\nnonsense", "cannot be used"),
        (201, "x" * 100_000, "too long"),
    ],
)
async def test_trouble_is_told_once_and_tried_again(
    server: Server, caplog: pytest.LogCaptureFixture, status: int, answer: str | None, words: str
) -> None:
    server.status, server.answer = status, answer
    async with publishing(server.url), asyncio.timeout(100):
        while len(server.authorizations) < 3:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.01)
    lines = [r.message for r in caplog.records if "does not take the stream" in r.message]
    assert len(lines) == 1
    assert words in lines[0]
    assert "s3cr3t" not in caplog.text


async def test_the_token_is_given_to_no_other_server(server: Server) -> None:
    other = Server()
    app = web.Application()
    app.router.add_delete("/{tail:.*}", other.delete)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.location = f"http://127.0.0.1:{runner.addresses[0][1]}/session"
    async with publishing(server.url):
        await see(server)
    assert other.deleted == []
    await runner.cleanup()
