"""The web server on real sockets: who may connect, what comes, and that nobody holds it up."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import cv2
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from edge_node.frames import ReleaseReason
from edge_node.stream import web as web_module
from edge_node.stream.errors import WebError
from edge_node.stream.mjpeg import MjpegSink
from edge_node.stream.state import Health, LinkState, NodeState, state_json
from edge_node.stream.web import Viewer, WebPorts, WebServer, tls_context
from protocol.hosts import is_loopback
from tests.edge_node.stream.frames import masked


class Node:
    """A server with everything behind it, for a test to play with."""

    def __init__(self, max_viewers: int = 4) -> None:
        self.sink = MjpegSink(max_viewers=max_viewers)
        self.registry = CollectorRegistry()
        self.health = Health(True, "frames are flowing")
        self.camera = LinkState("live", "demo scene, 1280x720", time.monotonic())
        self.hub = LinkState("connected", "gallery of 1", time.monotonic())
        ports = WebPorts(self.state, lambda: self.health, self.sink, self.registry)
        self.server = WebServer(ports, "127.0.0.1", 0)

    def state(self) -> NodeState:
        return NodeState("door", self.camera, self.hub, (210.4, 280.0, 300.0), time.monotonic())

    def url(self, path: str) -> str:
        return self.server.url.rstrip("/") + path


@asynccontextmanager
async def running(max_viewers: int = 4) -> AsyncIterator[tuple[Node, aiohttp.ClientSession]]:
    node = Node(max_viewers)
    await node.server.start()
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as client:
            yield node, client
    finally:
        await node.server.stop()
        node.sink.close()


async def next_picture(response: aiohttp.ClientResponse) -> np.ndarray:
    while not (line := await response.content.readline()).lower().startswith(b"content-length"):
        assert line, "the stream has ended"
    length = int(line.split(b":")[1])
    await response.content.readline()
    jpeg = await response.content.readexactly(length)
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture


async def test_the_page_and_its_files_come_with_strict_headers() -> None:
    async with running() as (node, client):
        for path, kind in (
            ("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript"),
            ("/live_video.js", "text/javascript"),
            ("/icon.svg", "image/svg+xml"), ("/state", "application/json"), ("/nothing", "text/plain"),
        ):  # fmt: skip
            async with client.get(node.url(path)) as response:
                assert response.content_type == kind
                assert response.status == (404 if path == "/nothing" else 200)
                policy = response.headers["Content-Security-Policy"]
                assert "default-src 'none'" in policy
                assert "unsafe" not in policy
                assert response.headers["Cache-Control"] == "no-store"
                assert response.headers["X-Content-Type-Options"] == "nosniff"
                assert response.headers["X-Frame-Options"] == "DENY"
                assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
                assert "aiohttp" not in response.headers["Server"].lower()


def test_the_page_brings_everything_and_runs_nothing_inline() -> None:
    page = (Path(web_module.__file__).parent / "page.html").read_text()
    assert "http:" not in page
    assert "https:" not in page
    assert "style=" not in page
    assert " on" not in page.replace(" only", "").lower().split("<body")[0]
    assert page.count("<script") == page.count("<script src=")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1:8080", "[::2]:80", "x"])
async def test_another_name_for_this_address_gets_nothing(host: str) -> None:
    async with running() as (node, client):
        node.sink.push(masked(0))
        for path in ("/", "/stream.mjpg", "/snapshot.jpg", "/state", "/healthz", "/nothing"):
            async with client.get(node.url(path), headers={"Host": host}) as response:
                assert response.status == 403


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:8080"])
async def test_its_own_names_are_answered(host: str) -> None:
    async with (
        running() as (node, client),
        client.get(node.url("/state"), headers={"Host": host}) as response,
    ):
        assert response.status == 200


async def test_the_snapshot_is_the_newest_frame_and_absent_before_the_first() -> None:
    async with running() as (node, client):
        async with client.get(node.url("/snapshot.jpg")) as response:
            assert response.status == 503
        node.sink.push(masked(1))
        node.sink.push(masked(12))
        async with client.get(node.url("/snapshot.jpg")) as response:
            assert response.content_type == "image/jpeg"
            picture = cv2.imdecode(np.frombuffer(await response.read(), np.uint8), cv2.IMREAD_COLOR)
    assert round((picture.mean() - 16) / 8) == 12


async def test_the_stream_moves_and_frees_its_place() -> None:
    async with running() as (node, client):
        node.sink.push(masked(1))
        async with client.get(node.url("/stream.mjpg")) as response:
            assert response.content_type == "multipart/x-mixed-replace"
            for n in (1, 7, 20):
                node.sink.push(masked(n))
                picture = await next_picture(response)
                while round((picture.mean() - 16) / 8) != n:
                    picture = await next_picture(response)
        for _ in range(200):
            if not node.sink.viewers:
                break
            node.sink.push(masked(3))
            await asyncio.sleep(0.02)
        assert node.sink.viewers == 0


async def test_too_many_viewers_are_told_so() -> None:
    async with running(max_viewers=1) as (node, client):
        node.sink.push(masked(1))
        async with client.get(node.url("/stream.mjpg")) as response:
            await next_picture(response)
            async with client.get(node.url("/stream.mjpg")) as refused:
                assert refused.status == 503
                assert "watching already" in await refused.text()


async def test_a_viewer_that_does_not_read_harms_nobody() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (480, 640, 3), np.uint8)
    async with running() as (node, client):
        host, port = node.url("").removeprefix("http://").split(":")
        slow = socket.create_connection((host, int(port)))
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with client.get(node.url("/stream.mjpg")) as response:
            for n in range(300):
                node.sink.push(masked(n, noise))
                await next_picture(response)
                if node.sink.dropped > 3 and node.sink.viewers == 2:
                    break
            assert node.sink.dropped > 3
            assert node.sink.viewers == 2
        slow.close()


async def test_a_viewer_gets_the_newest_and_counts_what_it_missed() -> None:
    drops: list[int] = []
    viewer = Viewer(lambda: drops.append(1))
    assert await viewer.take(0.0) is None
    for jpeg in (b"1", b"2", b"3"):
        viewer.offer(jpeg)
    assert await viewer.take(1.0) == b"3"
    assert await viewer.take(0.0) is None
    assert len(drops) == 2


async def test_state_and_events_say_what_the_picture_shows() -> None:
    async with running() as (node, client):
        node.sink.push(masked(5, names=("Grace Hopper",), veiled=2))
        async with client.get(node.url("/state")) as response:
            state = await response.json()
        assert state["picture"]["shown"] == [{"track": 0, "name": "Grace Hopper"}]
        assert state["picture"]["veiled"] == 2
        assert state["latency_ms"] == {"p50": 210, "p95": 280, "p99": 300}
        assert (state["camera"]["state"], state["hub"]["state"]) == ("live", "connected")
        node.sink.push(masked(6, reason=ReleaseReason.LATE))
        async with client.get(node.url("/events")) as response:
            assert response.content_type == "text/event-stream"
            lines = [await response.content.readline() for _ in range(2)]
        event = json.loads(lines[1].removeprefix(b"data: "))
        assert event["picture"]["fully_veiled"] is True
        assert event["picture"]["reason"] == "late"
        assert "Grace" not in json.dumps(event)


def test_before_the_first_picture_the_state_says_so() -> None:
    link = LinkState("opening", "opening the source", 5.0)
    state = state_json(NodeState("door", link, link, (0, 0, 0), 1.0), None, 0, now=7.0)
    assert state["picture"] is None
    assert state["camera"]["since_s"] == 2.0
    assert state["uptime_s"] == 6.0


async def test_health_and_metrics() -> None:
    async with running() as (node, client):
        async with client.get(node.url("/healthz")) as response:
            assert response.status == 200
            assert await response.json() == {"status": "ok", "reason": "frames are flowing"}
        node.health = Health(False, "the camera is lost")
        async with client.get(node.url("/healthz")) as response:
            assert response.status == 503
            assert (await response.json())["reason"] == "the camera is lost"
        async with client.get(node.url("/metrics")) as response:
            assert "veilcast_viewers 0.0" in await response.text()


async def test_stopping_ends_streams_and_events_and_frees_the_port() -> None:
    async with running() as (node, client):
        node.sink.push(masked(0))
        port = int(node.server.url.rstrip("/").rpartition(":")[2])
        stream = await client.get(node.url("/stream.mjpg"))
        events = await client.get(node.url("/events"))
        await next_picture(stream)
        await node.server.stop()
        await node.server.stop()
        await stream.content.read()  # raises where the stream was torn off instead of ended
        await events.content.read()
        stream.close()
        events.close()
        with socket.create_server(("127.0.0.1", port)):
            assert True


async def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        node = Node()
        server = WebServer(node.server._app_ports, "127.0.0.1", taken.getsockname()[1])
        with pytest.raises(WebError, match=r"choose another web\.port"):
            await server.start()
        node.sink.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "", "192.168.1.5", "::", "camera.local", "127.0.0.1.evil"])
def test_other_addresses_need_tls(host: str) -> None:
    with pytest.raises(WebError, match=r"without TLS: set web.tls_cert"):
        tls_context(host, "", "")


def test_tls_files_are_checked_with_one_line(tmp_path: Path) -> None:
    with pytest.raises(WebError, match="needs both"):
        tls_context("127.0.0.1", "cert.pem", "")
    with pytest.raises(WebError, match="there is no file"):
        tls_context("127.0.0.1", str(tmp_path / "a"), str(tmp_path / "b"))
    for name in "ab":
        (tmp_path / name).write_text("no certificate")
    with pytest.raises(WebError, match="are no certificate and its key"):
        tls_context("127.0.0.1", str(tmp_path / "a"), str(tmp_path / "b"))


def test_loopback_names() -> None:
    assert is_loopback("127.9.9.9")
    assert is_loopback("::1")
    assert not is_loopback("localhost.evil.example")
    assert not is_loopback("")
