"""[I/O] The hub's socket: ROUTER with CURVE, a ZAP allow-list, and requests under way per peer.

Owns the socket, the registry of sessions and the tasks that answer requests; what an answer says is
the `Handler`'s (hub/service.py). A key that is not in the allow-list folder gets no byte. The folder
is looked at every second: a key that was removed loses its session then.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import zmq
import zmq.asyncio
from zmq.auth.asyncio import AsyncioAuthenticator

from hub.allow_list import AllowList
from hub.errors import DeclinedError, StartError
from hub.registry import Asked, Happening, Lost, Opened, Registry
from protocol import limits
from protocol.keys import KeyPair, Peer
from protocol.messages import AnyMessage, FaceQuery, NodeReport, Refusal, RefusalCode, Request, clip
from protocol.session import HEARTBEAT_S, LIVENESS, HubFacts

log = logging.getLogger(__name__)

HIGH_WATER_MARK = 64
"""Messages waiting per peer and direction: with MAXMSGSIZE at most 16 MB, in practice 1 MB."""
HANDSHAKE_MS = 5_000
"""A connection that has not proven its key by then is closed."""
ZAP_DOMAIN = "veilcast"
ALLOW_LIST_EVERY_S = 1.0
LONGEST_WAIT_S = 0.25
"""Bounds the time until a deadline that a message has just moved closer is noticed."""
TAKEN_AT_ONCE = 32
"""Messages taken in before the event loop has its turn again: about 3 ms."""
GOODBYE_LINGER_MS = 200
GOODBYE_S = 0.05
MAX_ADMIN_REQUESTS = 8
"""Admin requests under way per connection; more are refused, none is given up half done."""


class Handler(Protocol):
    """Who knows the answers."""

    def facts(self, peer: Peer) -> HubFacts:
        """What a peer is told in its Welcome."""
        ...

    def opened(self, peer: Peer, session: bytes) -> None: ...

    def lost(self, peer: Peer, session: bytes) -> None: ...

    def reported(self, peer: Peer, session: bytes, report: NodeReport) -> None: ...

    async def answer(self, peer: Peer, request: Request, payloads: Sequence[bytes]) -> AnyMessage:
        """The answer, under the request's session and seq. Raises DeclinedError."""
        ...


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Where to listen and how much at once."""

    address: str = "tcp://127.0.0.1:5570"
    max_peers: int = 64
    max_in_flight: int = 32
    """Face queries under way per node; the oldest is refused for a newer one."""
    heartbeat_s: float = HEARTBEAT_S
    liveness: int = LIVENESS


@dataclass(slots=True)
class _Work:
    """The requests of one session that are being answered."""

    queries: dict[asyncio.Task[None], FaceQuery] = field(default_factory=dict)
    """Oldest first."""
    admin: set[asyncio.Task[None]] = field(default_factory=set)

    def finished(self, task: asyncio.Task[None]) -> None:
        """A query is answered, or was given up."""
        self.queries.pop(task, None)


class Server:
    """Listens from `start` to `stop`; both in the same event loop, as is everything between."""

    def __init__(self, settings: ServerSettings, keys: KeyPair, allow_list: Path, handler: Handler) -> None:
        self._settings = settings
        self._keys = keys
        self._allow_list = AllowList(allow_list)
        self._handler = handler
        self._registry = Registry(handler.facts, settings.max_peers, settings.heartbeat_s, settings.liveness)
        self._work: dict[bytes, _Work] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._context: zmq.asyncio.Context | None = None
        self.shed = 0
        """Requests answered "overloaded"."""
        self.unreachable = 0
        """Peers given up because a message could not be sent to them."""
        self.address = settings.address
        """After `start`, with the port in place of a wildcard."""

    @property
    def let_in(self) -> frozenset[Peer]:
        """Whom the allow-list names at this moment."""
        return frozenset(self._allow_list.peers.values())

    @property
    def registry(self) -> Registry:
        return self._registry

    async def start(self) -> None:
        """Listen. Raises StartError where that is not possible."""
        self._allow_list.read()
        self._context = zmq.asyncio.Context()
        # Before the socket: a connection that finds no authenticator would be let in.
        self._auth = AsyncioAuthenticator(self._context)
        self._auth.start()
        self._auth.configure_curve_callback(ZAP_DOMAIN, credentials_provider=self)
        self._socket = self._context.socket(zmq.ROUTER)
        try:
            _configure(self._socket, self._keys)
            # Only where asked for: with the option set, names resolve to IPv6 addresses alone.
            self._socket.setsockopt(zmq.IPV6, "[" in self._settings.address)
            self._socket.bind(self._settings.address)
        except zmq.ZMQError as exc:
            self._socket.close()
            self._auth.stop()
            self._context.term()
            self._context = None
            raise StartError(
                f"cannot listen on {self._settings.address}: {exc.strerror}; "
                "write tcp://ADDRESS:PORT of this machine, with a port that is free"
            ) from exc
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._tasks = [
            asyncio.create_task(self._receive_forever(), name="hub-receive"),
            asyncio.create_task(self._keep_time(), name="hub-time"),
        ]

    async def run(self) -> None:
        """Wait; raises what ended a part of the server (a mistake in this program)."""
        await asyncio.gather(*self._tasks)

    async def stop(self) -> None:
        """Say goodbye to every peer and close the socket."""
        under_way = [task for work in self._work.values() for task in work.queries]
        under_way += [task for work in self._work.values() for task in work.admin]
        for task in [*self._tasks, *under_way]:
            task.cancel()
        await asyncio.gather(*self._tasks, *under_way, return_exceptions=True)
        self._tasks = []
        self._work.clear()
        if self._context is not None:
            self._registry.close("the hub is stopping", time.monotonic())
            self._flush()
            # A client with ZMQ_IMMEDIATE loses what it has not read when the connection goes.
            await asyncio.sleep(GOODBYE_S)
            self._socket.close(linger=GOODBYE_LINGER_MS)
            self._auth.stop()
            self._context.term()
            self._context = None

    def callback(self, domain: str, key: bytes) -> bool:
        """Asked by the ZAP authenticator for every new connection; the key is in Z85."""
        return key in self._allow_list.peers

    def push(self, session: bytes, message: AnyMessage) -> bool:
        """Send a message that was not asked for; False where that session is over."""
        is_sent = self._registry.send(session, message, (), time.monotonic())
        self._flush()
        return is_sent

    async def _receive_forever(self) -> None:
        while True:
            self._receive(await self._socket.recv_multipart(copy=False))
            # What has arrived with it is taken in at once: waiting for each by itself costs as much again.
            for _ in range(TAKEN_AT_ONCE - 1):
                arrived = cast(
                    "asyncio.Future[list[zmq.Frame]]", self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
                )
                exc = arrived.exception()  # with NOBLOCK the future is done at once
                if isinstance(exc, zmq.Again):
                    break
                self._receive(arrived.result())
            self._flush()
            # Peers that always have something to say must not keep answers from being made.
            await asyncio.sleep(0)

    def _receive(self, frames: list[zmq.Frame]) -> None:
        route, *parts = frames
        if not parts:
            return
        peer = self._allow_list.peers.get(_proven_key(parts[0]))
        if peer is None:  # its key was removed while it was connected
            return
        now = time.monotonic()
        self._take(self._registry.receive(route.bytes, peer, [p.bytes for p in parts], now))

    async def _keep_time(self) -> None:
        next_read_at = time.monotonic() + ALLOW_LIST_EVERY_S
        while True:
            now = time.monotonic()
            self._take(self._registry.poll(now))
            if now >= next_read_at:
                next_read_at = now + ALLOW_LIST_EVERY_S
                self._allow_list.read()
                self._take(self._registry.keep_only(self._allow_list.peers.values(), now))
            self._flush()
            deadline = min(self._registry.next_deadline(now), next_read_at)
            await asyncio.sleep(min(max(deadline - time.monotonic(), 0.0), LONGEST_WAIT_S))

    def _take(self, happenings: list[Happening]) -> None:
        for happening in happenings:
            match happening:
                case Opened(peer, session):
                    self._work[session] = _Work()
                    self._handler.opened(peer, session)
                    log.info("%s %s connected", peer.role, peer.name)
                case Lost(peer, session, reason):
                    self._forget(session)
                    self._handler.lost(peer, session)
                    log.info("%s %s left: %s", peer.role, peer.name, reason)
                case Asked(peer, session, NodeReport() as report):
                    self._handler.reported(peer, session, report)
                case Asked():
                    self._start_answer(happening)

    def _forget(self, session: bytes) -> None:
        work = self._work.pop(session, None)
        # Admin requests are finished: what was asked for is done even if nobody hears of it.
        for task in work.queries if work is not None else ():
            task.cancel()

    def _start_answer(self, asked: Asked) -> None:
        work = self._work[asked.session]
        message = asked.message
        if isinstance(message, FaceQuery):
            if len(work.queries) >= self._settings.max_in_flight:
                under_way = next(iter(work.queries))
                oldest = work.queries.pop(under_way)
                under_way.cancel()
                self._refuse(oldest, "overloaded", "newer questions went first")
            query_task = asyncio.create_task(self._answer(asked))
            work.queries[query_task] = message
            query_task.add_done_callback(work.finished)
        elif len(work.admin) >= MAX_ADMIN_REQUESTS:
            self._refuse(message, "overloaded", "too many requests at once; wait for the answers")
        else:
            task = asyncio.create_task(self._answer(asked))
            work.admin.add(task)
            task.add_done_callback(work.admin.discard)

    async def _answer(self, asked: Asked) -> None:
        request = asked.message
        assert isinstance(request, Request), "sessions let nothing else through"
        try:
            answer = await self._handler.answer(asked.peer, request, asked.payloads)
        except DeclinedError as exc:
            self._refuse(request, exc.code, str(exc), exc.retry_after_s)
        except Exception as exc:  # noqa: BLE001 - one request must not end the hub
            # The type alone: the text of an unforeseen error could hold a name.
            log.error("a %s failed: %s", type(request).__name__, type(exc).__name__)
            self._refuse(request, "internal", "the hub failed at this; its log says more")
        else:
            self.push(asked.session, answer)

    def _refuse(self, request: AnyMessage, code: RefusalCode, text: str, retry_after_s: float = 0.0) -> None:
        self.shed += code == "overloaded"
        seq: int = getattr(request, "seq", 0)
        refusal = Refusal(
            session=request.session,
            code=code,
            text=clip(text),
            seq=seq,
            retry_after_s=retry_after_s,
        )
        self.push(request.session, refusal)

    def _flush(self) -> None:
        """Put everything on the wire. Whoever cannot take it is given up: a revocation that does not
        arrive must end the session, so that the node veils everyone."""
        for route, parts in self._registry.take_outgoing():
            # With NOBLOCK the future is done at once.
            sent = self._socket.send_multipart([route, *parts], zmq.NOBLOCK)
            exc = cast("asyncio.Future[Any]", sent).exception()
            if exc is None:
                continue
            if not isinstance(exc, zmq.ZMQError):
                raise exc
            dropped = self._registry.drop(route, f"cannot be reached: {exc.strerror}")
            self.unreachable += len(dropped)
            self._take(dropped)


def _proven_key(frame: zmq.Frame) -> bytes:
    """The sender's public key in Z85: CURVE has proven it, ZAP attached it to every message."""
    try:
        key = frame.get("User-Id")
    except zmq.ZMQError:  # no authenticator has seen this connection
        return b""
    return str(key).encode()


def _configure(socket: zmq.asyncio.Socket, keys: KeyPair) -> None:
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.MAXMSGSIZE, max(limits.MAX_REQUEST_HEADER_BYTES, limits.MAX_CROP_BYTES))
    socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MARK)
    socket.setsockopt(zmq.RCVHWM, HIGH_WATER_MARK)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
    socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
    # With a domain, and that enforced, no connection is let in where no authenticator answers.
    socket.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN.encode())
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.public)
    socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)
