"""Notices by HTTP, to a real server: signed, tried again, and given up in the end."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from edge_node.events.outbox import Outbox
from edge_node.events.webhook import MAX_ATTEMPTS, Webhook
from tests.edge_node.events.test_changes import notice

SECRET = b"a key of the operator's"


class Server:
    """Keeps what comes and answers as the test says."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.got: list[tuple[bytes, dict[str, str]]] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        self.got.append((await request.read(), dict(request.headers)))
        status = self.answers.pop(0) if self.answers else 204
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status == 302 else {})


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", server.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook/s3cr3t-path?token=s3cr3t"
    yield server
    await runner.cleanup()


async def settle(hook: Webhook, count: int) -> None:
    """Run the hook until `count` notices have left the outbox."""
    running = asyncio.create_task(hook.run())
    async with asyncio.timeout(100):
        while hook.outbox.sent + hook.outbox.dropped < count:  # noqa: ASYNC110 - the hook has no event for it
            await asyncio.sleep(0.005)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def hook_to(url: str, secret: bytes = SECRET) -> Webhook:
    return Webhook(url, secret, False, Outbox(), first_pause_s=0.0001)


async def test_a_notice_arrives_signed_over_time_and_body(server: Server) -> None:
    hook = hook_to(server.url)
    hook.outbox.put(notice())
    await settle(hook, 1)
    ((body, headers),) = server.got
    assert json.loads(body)["person"] == "id-ada"
    assert "name" not in json.loads(body)
    assert headers["X-Veilcast-Id"] == "boot-1"
    at, mac = (part.split("=")[1] for part in headers["X-Veilcast-Signature"].split(","))
    assert hmac.new(SECRET, f"{at}.".encode() + body, hashlib.sha256).hexdigest() == mac


async def test_without_a_key_there_is_no_signature(server: Server) -> None:
    hook = hook_to(server.url, b"")
    hook.outbox.put(notice())
    await settle(hook, 1)
    assert "X-Veilcast-Signature" not in server.got[0][1]


async def test_trouble_is_told_once_without_the_secret_path_and_tried_again_in_order(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server.answers = [503, 503, 429, 200]
    hook = hook_to(server.url)
    for n in (1, 2):
        hook.outbox.put(notice(n))
    await settle(hook, 2)
    assert [json.loads(body)["id"] for body, _ in server.got] == ["boot-1"] * 4 + ["boot-2"]
    assert hook.outbox.dropped == 0
    assert [r.message.split(": ")[-1] for r in caplog.records if r.levelno == logging.WARNING] == [
        "it answers 503", "it answers 429"
    ]  # fmt: skip
    assert "s3cr3t" not in caplog.text


async def test_a_refusal_is_final_and_redirects_are_not_followed(server: Server) -> None:
    server.answers = [401, 302]
    hook = hook_to(server.url)
    for n in (1, 2, 3):
        hook.outbox.put(notice(n))
    await settle(hook, 3)
    assert (hook.outbox.sent, hook.outbox.dropped) == (1, 2)
    assert len(server.got) == 3


async def test_a_receiver_that_is_away_costs_a_notice_in_the_end_and_no_more(
    caplog: pytest.LogCaptureFixture, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_node.events.webhook.LONGEST_PAUSE_S", 0.001)
    hook = hook_to(f"http://user:s3cr3t@127.0.0.1:{unused_tcp_port}/s3cr3t")
    hook.outbox.put(notice())
    await settle(hook, 1)
    assert hook.outbox.dropped == 1
    assert MAX_ATTEMPTS > 3
    assert "s3cr3t" not in caplog.text
    assert hook.label == f"http://127.0.0.1:{unused_tcp_port}"
