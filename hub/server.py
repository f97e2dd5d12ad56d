"""[I/O] The hub's socket: ROUTER with CURVE, a ZAP allow-list, and requests under way per peer.

Owns the socket, the registry of sessions and the tasks that answer requests; what an answer says is
the `Handler`'s (hub/service.py). A key that is not in the allow-list folder gets no byte. The folder
is looked at every second: a key that was removed loses its session then.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import zmq
import zmq.asyncio
from zmq.auth.asyncio import AsyncioAuthenticator

from hub.allow_list import AllowList
from hub.errors import DeclinedError, StartError
from hub.registry import Asked, Happening, Lost, Opened, Registry
from hub.router import ZAP_DOMAIN, configure, received, send
from protocol.errors import LocalProtocolError
from protocol.keys import KeyPair, Peer
from protocol.messages import (
    AnyMessage,
    FaceDecision,
    FaceQuery,
    NodeReport,
    Refusal,
    RefusalCode,
    Request,
    clip,
)
from protocol.session import HEARTBEAT_S, LIVENESS, HubFacts

log = logging.getLogger(__name__)

ALLOW_LIST_EVERY_S = 1.0
LONGEST_WAIT_S = 0.25
"""Bounds the time until a deadline that a message has just moved closer is noticed."""
SHORTEST_WAIT_S = 0.02
"""With 200 nodes a heartbeat is due every 5 ms, and each look at the time asks all of them."""
TAKEN_AT_ONCE = 32
"""Messages taken in before the event loop has its turn again: about 2 ms."""
GOODBYE_LINGER_MS = 200
GOODBYE_S = 0.05
MAX_ADMIN_REQUESTS = 8
"""Admin requests under way per connection; more are refused, none is given up half done."""


Told = Callable[[FaceDecision | Exception], None]


class Handler(Protocol):
    """Who knows the answers."""

    def facts(self, peer: Peer) -> HubFacts:
        """What a peer is told in its Welcome."""
        ...

    def opened(self, peer: Peer, session: bytes) -> None: ...

    def lost(self, peer: Peer, session: bytes) -> None: ...

    def reported(self, peer: Peer, session: bytes, report: NodeReport) -> None: ...

    def decide(self, peer: Peer, query: FaceQuery, crop: bytes, told: Told) -> Callable[[], None]:
        """Begin to answer a question of a node. `told` is called once, on the event loop, with the answer or
        with why there is none. Returns what gives the question up: nothing is told then."""
        ...

    async def answer(self, peer: Peer, request: Request, payloads: Sequence[bytes]) -> AnyMessage:
        """The answer to an admin, under the request's session and seq. Raises DeclinedError."""
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
class _Question:
    query: FaceQuery
    give_up: Callable[[], None] = lambda: None


@dataclass(slots=True)
class _Work:
    """The requests of one session that are being answered."""

    queries: dict[int, _Question] = field(default_factory=dict)
    """By their numbers, oldest first."""
    admin: set[asyncio.Task[None]] = field(default_factory=set)

    def give_up(self) -> None:
        """Nobody waits for the answers to queries any more."""
        for question in self.queries.values():
            question.give_up()
        self.queries.clear()


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
        self._readable = asyncio.Event()
        self._flushing: asyncio.Handle | None = None
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
        # Not a socket of zmq.asyncio: its two futures for each message cost more than the message.
        self._socket = zmq.Context(self._context).socket(zmq.ROUTER)
        try:
            configure(self._socket, self._keys)
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
        self._file = int(self._socket.FD)
        asyncio.get_running_loop().add_reader(self._file, self._readable.set)
        self._tasks = [
            asyncio.create_task(self._receive_forever(), name="hub-receive"),
            asyncio.create_task(self._keep_time(), name="hub-time"),
        ]

    async def run(self) -> None:
        """Wait; raises what ended a part of the server (a mistake in this program)."""
        await asyncio.gather(*self._tasks)

    async def stop(self) -> None:
        """Say goodbye to every peer and close the socket."""
        for work in self._work.values():
            work.give_up()
        under_way = [task for work in self._work.values() for task in work.admin]
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
            asyncio.get_running_loop().remove_reader(self._file)
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
            await self._readable.wait()
            self._readable.clear()
            # The socket tells once of what arrives, so it is asked until it has nothing more.
            if self._take_in():
                self._readable.set()
            # Peers that always have something to say must not keep answers from being made.
            await asyncio.sleep(0)

    def _take_in(self) -> bool:
        """Take in what has arrived; whether there may be more."""
        now = time.monotonic()
        for _ in range(TAKEN_AT_ONCE):
            try:
                route, key, parts = received(self._socket)
            except zmq.Again:
                return False
            peer = self._allow_list.peers.get(key)
            if peer is not None:  # else its key was removed while it was connected
                self._take(self._registry.receive(route, peer, parts, now))
                self._flush_soon()
        return True

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
            await asyncio.sleep(min(max(deadline - time.monotonic(), SHORTEST_WAIT_S), LONGEST_WAIT_S))

    def _take(self, happenings: list[Happening]) -> None:
        for happening in happenings:
            match happening:
                case Asked(peer, _, FaceQuery() as query, payloads):
                    self._ask(peer, query, payloads[0])
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
        if work is not None:
            work.give_up()

    def _ask(self, peer: Peer, query: FaceQuery, crop: bytes) -> None:
        work = self._work[query.session]
        if len(work.queries) >= self._settings.max_in_flight:
            oldest = work.queries.pop(next(iter(work.queries)))
            oldest.give_up()
            self._refuse(oldest.query, "overloaded", "newer questions went first")
        question = work.queries[query.seq] = _Question(query)
        question.give_up = self._handler.decide(peer, query, crop, partial(self._told, work, query))

    def _told(self, work: _Work, query: FaceQuery, outcome: FaceDecision | Exception) -> None:
        """What has come of a query."""
        if work.queries.pop(query.seq, None) is None:  # given up meanwhile
            return
        if not isinstance(outcome, Exception):
            try:
                self._registry.send(query.session, outcome, (), time.monotonic())
                self._flush_soon()
                return
            except LocalProtocolError as exc:
                outcome = exc
        self._fail(query, outcome)

    def _start_answer(self, asked: Asked) -> None:
        work = self._work[asked.session]
        message = asked.message
        if len(work.admin) >= MAX_ADMIN_REQUESTS:
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
        except Exception as exc:  # noqa: BLE001 - one request must not end the hub
            self._fail(request, exc)
        else:
            self.push(asked.session, answer)

    def _fail(self, request: AnyMessage, exc: Exception) -> None:
        if isinstance(exc, DeclinedError):
            self._refuse(request, exc.code, str(exc), exc.retry_after_s)
            return
        # The type alone: the text of an unforeseen error could hold a name.
        log.error("a %s failed: %s", type(request).__name__, type(exc).__name__)
        self._refuse(request, "internal", "the hub failed at this; its log says more")

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
        self._registry.send(request.session, refusal, (), time.monotonic())
        self._flush_soon()

    def _flush_soon(self) -> None:
        """Put everything on the wire when what is being done now is done: the answers of a batch together."""
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """Put everything on the wire. Whoever cannot take it is given up: a revocation that does not
        arrive must end the session, so that the node veils everyone."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if self._context is None:  # stopped meanwhile
            return
        outgoing = self._registry.take_outgoing()
        for route, parts in outgoing:
            try:
                send(self._socket, route, parts)
            except zmq.ZMQError as exc:
                dropped = self._registry.drop(route, f"cannot be reached: {exc.strerror}")
                self.unreachable += len(dropped)
                self._take(dropped)
        if outgoing:
            self._readable.set()  # sending may have taken the notice that something has arrived
