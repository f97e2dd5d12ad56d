"""What else a node gives out, besides its page: recordings, a published stream, notices. Wiring, no logic.

Built by `edge_node.node` from the settings; its sinks take masked frames like all others. `run` keeps the
connections up in the event loop and never raises for what is wrong at the other end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
from prometheus_client import CollectorRegistry

from edge_node.config import NodeSettings, PublishSettings, RecordSettings
from edge_node.errors import ConfigError
from edge_node.events.desk import NoticeCollector
from edge_node.events.opening import open_desk
from edge_node.events.outbox import Outbox
from edge_node.frames import FrameSink
from edge_node.secret_file import read_secret
from edge_node.stream.publish import PublishCollector, RtspPublisher
from edge_node.stream.recorder import Recorder
from edge_node.stream.rtsp_client import PORTS
from edge_node.stream.shelf import GB, RecordPlan, Shelf
from edge_node.stream.webrtc import WebRtcSink
from edge_node.stream.whip import WhipPublisher

log = logging.getLogger(__name__)

DAY_S = 86_400.0
AGAIN_S = 5.0


@dataclass(frozen=True, slots=True)
class OutputPorts:
    """What the outputs need of the node."""

    nominal_fps: Callable[[], float]
    camera_up: Callable[[], bool]
    hub_up: Callable[[], bool]
    on_failure: Callable[[str], None]
    """A line for a person, where a source that is streamed once cannot be recorded."""
    call: Callable[..., None]
    """Runs a function on the event loop."""
    registry: CollectorRegistry
    live: WebRtcSink | None
    """Codes once for everybody; None where nobody can watch."""


class Outputs:
    """Raises RecordError and ConfigError where something cannot be given out as asked."""

    def __init__(self, settings: NodeSettings, ports: OutputPorts) -> None:
        self._is_once = settings.source.once
        self._on_failure = ports.on_failure
        self._desk = open_desk(settings, ports.camera_up, ports.hub_up, ports.call)
        self._recorder = self._make_recorder(settings.record, settings.name, ports.nominal_fps)
        ports.registry.register(NoticeCollector(self._outboxes))

        self._publisher = self._make_publisher(settings.publish, ports.live)
        ports.registry.register(PublishCollector(lambda: self._publisher))

    def sinks(self) -> list[FrameSink]:
        return [sink for sink in (self._recorder, self._desk) if sink is not None]

    async def run(self) -> None:
        """Keep connections up until cancelled."""
        parts = [] if self._desk is None else [_keep("notices", self._desk.run)]
        if self._publisher is not None:
            parts.append(_keep("publishing", self._publisher.run))
        await asyncio.gather(*parts, asyncio.Event().wait())

    def check_recording(self) -> str | None:
        """After the recorder was closed: what is wrong with the recording, if anything."""
        recorder = self._recorder
        if recorder is None or recorder.has_failed:
            return None  # its error was told when it happened
        if not recorder.dropped:
            log.info("recorded %d frames to %s", recorder.written, recorder.path)
            return None
        log.error("the recording lacks %d frames: the encoder was too slow", recorder.dropped)
        return f"the recording {recorder.path} lacks frames"

    def _make_recorder(
        self, record: RecordSettings, node: str, nominal_fps: Callable[[], float]
    ) -> Recorder | None:
        if not record.path:
            return None
        path = Path(record.path).expanduser()
        plan = RecordPlan(
            segment_s=record.segment_minutes * 60,
            keep_s=record.keep_days * DAY_S,
            keep_bytes=round(record.keep_gb * GB),
            min_free_bytes=round(record.min_free_gb * GB),
        )
        shelf = Shelf(path, plan, node)
        return Recorder(path, self._on_recorder_error, nominal_fps, shelf=shelf)

    def _make_publisher(
        self, publish: PublishSettings, live: WebRtcSink | None
    ) -> RtspPublisher | WhipPublisher | None:
        if not publish.url or live is None:
            return None
        scheme = check_publish_url(publish.url)
        secret = read_secret(publish.secret_file, "publish.secret_file")
        max_bps = publish.max_kbps * 1000.0
        if scheme in PORTS:
            publisher = RtspPublisher(publish.url, publish.user, secret, max_bps, live)
            live.join(publisher)
            return publisher
        authorization = f"Bearer {secret}" if secret else ""
        if publish.user:
            authorization = aiohttp.BasicAuth(publish.user, secret, "utf-8").encode()
        return WhipPublisher(publish.url, authorization, max_bps, live)

    def _outboxes(self) -> list[Outbox]:
        return [] if self._desk is None else [receiver.outbox for receiver in self._desk.receivers]

    def _on_recorder_error(self, line: str) -> None:
        log.error("%s", line)
        if self._is_once:
            self._on_failure(line)


def check_publish_url(url: str) -> str:
    """The scheme. Raises ConfigError, whose text never holds a password."""
    try:
        parts = urlsplit(url)
        host, _, has_secret = parts.hostname, parts.port, "@" in parts.netloc
    except ValueError:
        host, has_secret = None, False
    if has_secret:
        raise ConfigError(
            "publish.url must hold no user name or password: set publish.user, and the password's file as "
            "publish.secret_file"
        )
    if not host or parts.scheme not in (*PORTS, "http", "https"):
        raise ConfigError(
            "publish.url must be an address such as rtsp://host:8554/door or https://host/door/whip"
        )
    return parts.scheme


async def _keep(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """An output that stumbles over something unforeseen begins again: it must not end the stream."""
    while True:
        try:
            await run()
        except Exception as exc:  # noqa: BLE001 - told by its kind only: the text could hold an address
            log.error("%s failed (%s), trying again", name, type(exc).__name__)
        await asyncio.sleep(AGAIN_S)
