"""Notices and state through a real broker: retained state, the will, TLS, a broker that goes and comes."""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from edge_node.config import MqttSettings, NodeSettings, WebhookSettings
from edge_node.errors import ConfigError
from edge_node.events.discovery import Topics
from edge_node.events.mqtt import Broker as BrokerAddress
from edge_node.events.mqtt import MqttSender
from edge_node.events.notices import Present
from edge_node.events.opening import open_desk
from edge_node.events.outbox import Outbox
from tests.edge_node.events.broker import Broker, needs_mosquitto
from tests.edge_node.events.test_changes import notice
from tests.edge_node.stream.frames import masked

TOPICS = Topics("veilcast", "door")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path, "allow_anonymous true")
    broker.start()
    yield broker
    broker.stop()


def sender(port: int, present: Callable[[], Present] = Present, **more: Any) -> MqttSender:
    address = BrokerAddress("127.0.0.1", port, None, discovery_root="homeassistant", **more)
    return MqttSender(address, TOPICS, "1.2", False, Outbox(), present, first_pause_s=0.01)


@asynccontextmanager
async def running(who: MqttSender) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(who.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def heard(port: int, count: int, topic: str = "#", **access: Any) -> dict[str, list[bytes]]:
    """The first `count` messages below `topic`, by topic."""
    found: dict[str, list[bytes]] = {}
    async with asyncio.timeout(100), aiomqtt.Client("127.0.0.1", port, **access) as client:
        await client.subscribe(topic, qos=1)
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            found.setdefault(str(message.topic), []).append(message.payload)
            count -= 1
            if not count:
                break
    return found


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(100):
        while not condition():  # noqa: ASYNC110 - the sender has no event for it
            await asyncio.sleep(0.005)


@needs_mosquitto
async def test_who_subscribes_later_finds_availability_state_and_discovery(broker: Broker) -> None:
    who = sender(broker.port, lambda: Present(2, True, True, False))
    async with running(who):
        found = await heard(broker.port, 3)
        assert found[TOPICS.availability] == [b"online"]
        assert json.loads(found[TOPICS.state][0]) == {
            "people": 2, "stranger": True, "camera": True, "hub": False
        }  # fmt: skip
        assert "components" in json.loads(found[TOPICS.discovery("homeassistant")][0])
    assert await heard(broker.port, 1, TOPICS.availability) == {TOPICS.availability: [b"offline"]}


@needs_mosquitto
async def test_notices_arrive_in_order_with_ids_only(broker: Broker) -> None:
    who = sender(broker.port)
    listening = asyncio.create_task(heard(broker.port, 3, TOPICS.event))
    await asyncio.sleep(0.3)  # a notice is not retained: the listener has to be there first
    for n in range(3):
        who.outbox.put(notice(n))
    async with running(who):
        found = await listening
        await until(lambda: who.outbox.sent == 3)
    bodies = [json.loads(body) for body in found[TOPICS.event]]
    assert [b["id"] for b in bodies] == ["boot-0", "boot-1", "boot-2"]
    assert all(b["person"] == "id-ada" and "name" not in b for b in bodies)


@needs_mosquitto
async def test_a_broker_that_goes_and_comes_back_gets_what_waited(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    who = sender(broker.port)
    async with running(who):
        await until(lambda: who.is_connected)
        broker.stop()
        await until(lambda: not who.is_connected)
        who.outbox.put(notice())
        await asyncio.sleep(0.1)
        assert who.outbox.sent == 0
        broker.start()
        await until(lambda: who.outbox.sent == 1)
    assert sum("cannot be used" in r.message for r in caplog.records) <= 3


@needs_mosquitto
async def test_a_node_that_is_gone_is_offline_by_its_will(broker: Broker) -> None:
    who = sender(broker.port)
    async with running(who):
        await until(lambda: who.is_connected)
        # The second client of the same name pushes the first out without a goodbye: its will is sent.
        async with aiomqtt.Client("127.0.0.1", broker.port, identifier=TOPICS.device) as client:
            await client.subscribe(TOPICS.availability)
            async with asyncio.timeout(100):
                async for message in client.messages:
                    if message.payload == b"offline":
                        break


@needs_mosquitto
async def test_tls_with_a_certificate_of_ones_own_and_a_password(tmp_path: Path) -> None:
    make_access(tmp_path)
    broker = Broker(
        tmp_path, f"certfile {tmp_path}/cert.pem", f"keyfile {tmp_path}/key.pem",
        f"password_file {tmp_path}/users",
    )  # fmt: skip
    broker.start()
    try:
        password = tmp_path / "password"
        password.write_text("s3cr3t\n")
        password.chmod(0o600)
        settings = MqttSettings(
            host="localhost", port=broker.port, ca=str(tmp_path / "cert.pem"), user="door",
            password_file=str(password), discovery="",
        )  # fmt: skip
        desk = open_desk(
            NodeSettings(mqtt=settings), lambda: True, lambda: False,
            asyncio.get_running_loop().call_soon_threadsafe,
        )  # fmt: skip
        assert desk is not None
        access = {"tls_context": ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))}
        task = asyncio.create_task(desk.run())
        async with asyncio.timeout(100), aiomqtt.Client(
            "localhost", broker.port, username="door", password="s3cr3t", **access
        ) as client:  # fmt: skip
            await client.subscribe("#", qos=1)
            async for message in client.messages:
                if str(message.topic) == TOPICS.availability:
                    desk.push(masked(0, names=("Ada",)))
                if str(message.topic) == TOPICS.event:
                    assert json.loads(bytes(message.payload))["person"] == "id-Ada"
                    break
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    finally:
        broker.stop()


def make_access(folder: Path) -> None:
    """A certificate, and a user with a password."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    (folder / "users").touch(mode=0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(folder / "users"), "door", "s3cr3t"], check=True)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", folder / "key.pem", "-out", folder / "cert.pem", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip


def refused(tmp_path: Path, settings: NodeSettings) -> str:
    with pytest.raises(ConfigError) as caught:
        open_desk(settings, lambda: True, lambda: True, lambda: None)
    return str(caught.value)


def test_what_cannot_be_is_refused_with_the_setting_named(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x\n")
    secret.chmod(0o644)
    hook, names = WebhookSettings, NodeSettings().events.__class__(names=True)
    cases = [
        (NodeSettings(webhook=hook(url="ftp://u:s3cr3t@x/")), "webhook.url"),
        (NodeSettings(webhook=hook(url="http://x/"), events=names), "https://"),
        (NodeSettings(mqtt=MqttSettings(host="x", tls=False), events=names), "mqtt.tls"),
        (NodeSettings(mqtt=MqttSettings(host="x", ca=str(secret))), "mqtt.ca"),
        (NodeSettings(webhook=hook(url="https://x/", secret_file=str(secret))), "chmod 600"),
        (NodeSettings(webhook=hook(url="https://x/", secret_file=str(tmp_path / "no"))), "secret_file"),
    ]
    for settings, words in cases:
        text = refused(tmp_path, settings)
        assert words in text
        assert "s3cr3t" not in text


def test_without_a_receiver_there_is_no_desk() -> None:
    assert open_desk(NodeSettings(), lambda: True, lambda: True, lambda: None) is None
