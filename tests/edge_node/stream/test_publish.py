"""Publishing by RTSP to FFmpeg's own RTSP server, and to servers that refuse, hang or go away."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import av
import numpy as np
import pytest

from edge_node.bridge import LoopCaller
from edge_node.config import NodeSettings, PublishSettings
from edge_node.errors import ConfigError
from edge_node.outputs import check_publish_url
from edge_node.stream.publish import RtspPublisher
from edge_node.stream.rtsp_client import PublishTrouble, authorization, parse_answer
from edge_node.stream.webrtc import WebRtcSink
from tests.e2e.rig import free_port
from tests.edge_node.stream.frames import masked

LIMIT = 8_000_000


class Server(threading.Thread):
    """An RTSP server that takes one stream (ANNOUNCE, RECORD) and decodes `count` pictures of it."""

    def __init__(self, port: int, count: int) -> None:
        super().__init__(daemon=True)
        self.port, self.count = port, count
        self.pictures: list[tuple[float, np.ndarray]] = []
        self.error = ""
        self.start()

    def run(self) -> None:
        url = f"rtsp://127.0.0.1:{self.port}/door"
        try:
            with av.open(
                url, options={"rtsp_flags": "listen", "listen_timeout": "100"}, timeout=100
            ) as container:
                for frame in container.decode(video=0):
                    self.pictures.append((float(frame.time or 0), frame.to_ndarray(format="bgr24")))
                    if len(self.pictures) == self.count:
                        return
        except av.error.FFmpegError as exc:
            self.error = str(exc)


@asynccontextmanager
async def publishing(url: str, user: str = "", password: str = "") -> AsyncIterator[RtspPublisher]:
    """A publisher, and a camera that gives pictures all the time."""
    live = WebRtcSink(LoopCaller(asyncio.get_running_loop()))
    publisher = RtspPublisher(url, user, password, LIMIT, live, first_pause_s=0.02)
    live.join(publisher)

    async def film() -> None:
        for n in range(1_000_000):
            live.push(masked(n, np.full((96, 128, 3), 60 + n % 120, np.uint8)))
            await asyncio.sleep(0.04)

    camera, running = asyncio.create_task(film()), asyncio.create_task(publisher.run())
    try:
        yield publisher
    finally:
        for task in (camera, running):
            task.cancel()
        await asyncio.gather(camera, running, return_exceptions=True)
        live.close()


async def until_done(server: Server) -> None:
    await asyncio.to_thread(server.join, 110)
    assert not server.is_alive()


async def test_masked_frames_arrive_in_order_and_go_on_after_the_server_was_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    port = free_port()
    async with publishing(f"rtsp://127.0.0.1:{port}/door") as publisher:
        for sessions in (1, 2):
            server = Server(port, 20)
            await until_done(server)
            assert len(server.pictures) == 20, server.error
            times = [at for at, _ in server.pictures]
            assert times == sorted(times)
            assert publisher.connects >= sessions
            assert all(40 < image.mean() < 200 for _, image in server.pictures)
        assert server.pictures[0][1].shape == (96, 128, 3)
    assert "publishing to rtsp://127.0.0.1" in caplog.text


@pytest.fixture
def mute() -> Iterator[int]:
    """A server that takes connections and never says a word."""
    held = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take() -> None:
            with contextlib.suppress(OSError):
                while True:
                    held.append(server.accept()[0])

        threading.Thread(target=take, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        for one in held:
            one.close()


async def test_a_server_that_hangs_holds_up_nothing(
    mute: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("edge_node.stream.rtsp_client.TIMEOUT_S", 0.3)
    async with publishing(f"rtsp://127.0.0.1:{mute}/door") as publisher:
        async with asyncio.timeout(100):
            while "does not take" not in caplog.text:  # noqa: ASYNC110 - a log line is no event
                await asyncio.sleep(0.01)
        assert not publisher.is_connected


async def test_without_a_server_it_is_told_once_without_the_password(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with publishing(f"rtsp://127.0.0.1:{free_port()}/door", "ada", "s3cr3t") as publisher:
        await asyncio.sleep(0.3)
        assert publisher.published == 0
    lines = [r.message for r in caplog.records if "does not take" in r.message]
    assert len(lines) == 1
    assert "s3cr3t" not in caplog.text
    assert "ada" not in caplog.text


async def test_a_server_that_wants_another_password_is_told_of_without_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                with server.accept()[0] as client:
                    while request := client.recv(4096).decode():
                        number = next((w for w in request.split("\r\n") if w.startswith("CSeq")), "")
                        if not number:
                            continue  # the body of a request
                        refusal = 'WWW-Authenticate: Digest realm="x", nonce="1"'
                        client.sendall(f"RTSP/1.0 401 Unauthorized\r\n{number}\r\n{refusal}\r\n\r\n".encode())

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=refuse, args=(server,), daemon=True).start()
        port = server.getsockname()[1]
        async with publishing(f"rtsp://127.0.0.1:{port}/door", "ada", "s3cr3t") as publisher:
            async with asyncio.timeout(100):
                while "does not take" not in caplog.text:  # noqa: ASYNC110 - a log line is no event
                    await asyncio.sleep(0.01)
            assert publisher.published == 0
        server.shutdown(socket.SHUT_RDWR)
    assert "it answers 401: check publish.user and publish.secret_file" in caplog.text
    assert "s3cr3t" not in caplog.text


def test_digest_is_that_of_the_standard() -> None:
    """The example of RFC 2617, section 3.5, but for the client's own nonce, which is random."""
    challenge = 'Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"'
    value = authorization(challenge, "Mufasa", "Circle Of Life", "GET", "/dir/index.html")
    assert 'response="670fd8c2df070c60b045671b8b24ff02"' in value
    assert authorization('Basic realm="x"', "ada", "pw", "OPTIONS", "x") == "Basic YWRhOnB3"
    assert authorization("Negotiate", "ada", "pw", "OPTIONS", "x") == ""


@pytest.mark.parametrize("head", [b"HTTP-ish\r\n\r\n", b"RTSP/1.0 OK\r\n\r\n", b"RTSP/1.0\r\n\r\n"])
def test_what_is_no_answer_is_none(head: bytes) -> None:
    if head.startswith(b"RTSP"):
        with pytest.raises(PublishTrouble, match="does not speak RTSP"):
            parse_answer(head)
    else:
        assert parse_answer(head) == (0, {})


@pytest.mark.parametrize("url", ["rtsp://u:s3cr3t@h/x", "ftp://h/x", "door", "rtsp://h:99999999/x"])
def test_an_address_that_cannot_be_is_refused_without_its_password(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        check_publish_url(url)
    assert "publish.url" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
    assert NodeSettings().publish == PublishSettings()
