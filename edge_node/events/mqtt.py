"""Notices and the present state to an MQTT broker, through aiomqtt. [I/O]

Owns the connection and its retries. A notice is sent with QoS 1 and stays in the outbox until the broker
has it. State and availability are retained: who subscribes later knows how things are.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import aiomqtt

from edge_node.events.discovery import Topics, announcement
from edge_node.events.notices import Present, state_json
from edge_node.events.outbox import Outbox
from protocol.backoff import backoff_s

log = logging.getLogger(__name__)

TIMEOUT_S = 5.0
"""For each answer of the broker."""
KEEPALIVE_S = 30
GOODBYE_S = 1.0
STATE_EVERY_S = 0.5
"""The state is looked at this often, and sent where it has changed."""
LONGEST_PAUSE_S = 60.0
STEADY_S = 30.0
"""A connection that lasted this long was a good one: the next pause is short again."""


@dataclass(frozen=True, slots=True)
class Broker:
    """Where and how to connect."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    user: str = ""
    password: str = ""
    discovery_root: str = ""
    """Empty: Home Assistant is told nothing."""


class MqttSender:
    """Sends what lies in `outbox`, and what `present` says now."""

    def __init__(
        self,
        broker: Broker,
        topics: Topics,
        version: str,
        with_names: bool,
        outbox: Outbox,
        present: Callable[[], Present],
        *,
        first_pause_s: float = 1.0,
        roll: Callable[[], float] = random.random,
    ) -> None:  # one parameter a part: this is where they meet
        self._broker = broker
        self._topics = topics
        self._version = version
        self._with_names = with_names
        self.outbox = outbox
        self._present = present
        self._first_pause_s = first_pause_s
        self._roll = roll
        self._told = ""
        self.is_connected = False
        self.label = f"the MQTT broker {broker.host}:{broker.port}"

    async def run(self) -> None:
        """Keep a connection until cancelled."""
        attempt = 0
        while True:
            began = time.monotonic()
            try:
                await self._session()
            except (aiomqtt.MqttError, OSError) as exc:
                self._tell(_reason(exc))
            finally:
                self.is_connected = False
            attempt = 0 if time.monotonic() - began >= STEADY_S else attempt + 1
            roll = 0.5 + 0.5 * self._roll()
            await asyncio.sleep(backoff_s(max(0, attempt - 1), roll, self._first_pause_s, LONGEST_PAUSE_S))

    async def _session(self) -> None:
        broker, topics = self._broker, self._topics
        will = aiomqtt.Will(topics.availability, b"offline", qos=1, retain=True)
        client = aiomqtt.Client(
            broker.host, broker.port,
            username=broker.user or None, password=broker.password or None,
            tls_context=broker.tls, will=will, timeout=TIMEOUT_S, keepalive=KEEPALIVE_S,
            identifier=topics.device,
        )  # fmt: skip
        async with _connected(client):
            if broker.discovery_root:
                topic = topics.discovery(broker.discovery_root)
                await client.publish(topic, announcement(topics, self._version), qos=1, retain=True)
            await client.publish(topics.availability, b"online", qos=1, retain=True)
            self.is_connected = True
            if self._told:
                log.info("%s is reached again", self.label)
            self._told = ""
            parts = (self._send_states(client), self._send_notices(client), _listen(client))
            tasks = [asyncio.create_task(part) for part in parts]
            try:
                # None ends by itself: one that did has failed.
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            except asyncio.CancelledError:
                with suppress(
                    TimeoutError, aiomqtt.MqttError
                ):  # the will says it, where this does not arrive
                    async with asyncio.timeout(GOODBYE_S):
                        await client.publish(topics.availability, b"offline", qos=1, retain=True)
                raise
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _send_notices(self, client: aiomqtt.Client) -> None:
        while True:
            notice = await self.outbox.first()
            await client.publish(self._topics.event, notice.as_json(self._with_names), qos=1)
            self.outbox.done(notice)

    async def _send_states(self, client: aiomqtt.Client) -> None:
        last: Present | None = None
        while True:
            present = self._present()
            if present != last:
                last = present
                await client.publish(self._topics.state, json.dumps(state_json(present)), qos=1, retain=True)
            await asyncio.sleep(STATE_EVERY_S)

    def _tell(self, trouble: str) -> None:
        if trouble != self._told:
            log.warning("%s cannot be used: %s", self.label, trouble)
            self._told = trouble


@asynccontextmanager
async def _connected(client: aiomqtt.Client) -> AsyncIterator[None]:
    """The client's own context, but that it may be cancelled while it connects, where aiomqtt would leave a
    socket and a task behind."""
    connecting = asyncio.ensure_future(client.__aenter__())
    try:
        await asyncio.shield(connecting)
    except asyncio.CancelledError:
        with suppress(TimeoutError, aiomqtt.MqttError):
            async with asyncio.timeout(GOODBYE_S):
                await connecting
            await client.__aexit__(None, None, None)
        raise
    try:
        yield
    finally:
        await client.__aexit__(None, None, None)


async def _listen(client: aiomqtt.Client) -> None:
    """Nothing is subscribed to: this only notices that the connection has ended."""
    async for _ in client.messages:
        pass


def _reason(exc: Exception) -> str:
    """For a person; none of these texts holds a password."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted ({exc.verify_message}); set mqtt.ca"
    if isinstance(exc, aiomqtt.MqttCodeError):
        return f"it refuses or went away ({exc.rc})"
    return str(exc) or type(exc).__name__
