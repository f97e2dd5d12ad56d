"""[I/O] The node's line to the hub: DEALER and CURVE around `protocol.session.ClientSession`.

Owns the socket, the session and the questions under way; what answers mean is the decision book's.
Everything runs in one event loop: `ask` is called there, and so are the callbacks. Whatever happens at
the other end, `run` goes on: it reports the loss and connects again, with a fresh socket each time.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import zmq
import zmq.asyncio

from edge_node.errors import StartError
from edge_node.reporting import Report
from protocol import limits
from protocol.keys import KeyPair
from protocol.messages import (
    AnyMessage,
    FaceDecision,
    FaceQuery,
    NodeReport,
    Notice,
    Refusal,
    Revoke,
    Welcome,
)
from protocol.session import (
    ClientSession,
    Counters,
    Event,
    MessageReceived,
    PeerLost,
    Reconnect,
    SessionOpened,
)

MAX_IN_FLIGHT = 16
"""Questions without an answer: more than faces in view, and half of what the hub allows a node."""
ANSWER_TIMEOUT_S = 2.0
"""A question older than this makes room; the decision book takes no later answer either."""
MAX_UNSENT = 16
"""Messages the socket does not take at the moment; the oldest is dropped for a newer one."""
HIGH_WATER_MARK = 16
GOODBYE_LINGER_MS = 200


@dataclass(frozen=True, slots=True)
class LinkState:
    """The line as people see it."""

    connected: bool
    since: float
    """Monotonic seconds."""
    reason: str
    """Why there is no connection; empty while there is one."""
    model_id: str = ""
    mode: str = ""
    notice: str = ""
    """What the hub has to say to the people before this camera."""


class Uplink:
    """Asks the hub about faces, and hands its answers on.

    on_open(welcome), on_lost(reason), on_decision(decision, now), on_revoke(revoke, now) and
    on_refusal(refusal, now) are called in the event loop; `now` is monotonic seconds. on_lost may be
    called again while there is no connection: each failed attempt has its reason.
    """

    def __init__(
        self,
        address: str,
        keys: KeyPair,
        hub_key: bytes,
        name: str,
        *,
        on_open: Callable[[Welcome], None],
        on_lost: Callable[[str], None],
        on_decision: Callable[[FaceDecision, float], None],
        on_revoke: Callable[[Revoke, float], None],
        on_refusal: Callable[[Refusal, float], None],
        software: str = "",
    ) -> None:  # what to connect to, and five kinds of news
        """Raises StartError where `address` is none."""
        self._address = address
        self._keys = keys
        self._hub_key = hub_key
        self._on_open = on_open
        self._on_lost = on_lost
        self._on_decision = on_decision
        self._on_revoke = on_revoke
        self._on_refusal = on_refusal
        self._session = ClientSession("node", name, software=software)
        self._socket: zmq.asyncio.Socket | None = None
        self._unsent: deque[list[bytes]] = deque(maxlen=MAX_UNSENT)
        self._asked_at: dict[int, float] = {}
        self._check_address()
        self.state = LinkState(False, time.monotonic(), "connecting")
        """The current state; replaced, never changed."""

    @property
    def counters(self) -> Counters:
        """Messages, over all connections."""
        return self._session.counters

    @property
    def in_flight(self) -> int:
        """Questions that wait for an answer."""
        return len(self._asked_at)

    def ask(
        self, track: int, jpeg: bytes, landmarks: Iterable[Sequence[float]], quality: float
    ) -> int | None:
        """Ask who a track is. Returns the question's number, or None where it cannot be asked now.

        `jpeg` and `landmarks` (5 points, crop pixels) follow the contract of `vision.crops`. Raises
        LocalProtocolError where they cannot be sent at all.
        """
        now = time.monotonic()
        self._asked_at = {s: at for s, at in self._asked_at.items() if now - at < ANSWER_TIMEOUT_S}
        if not self._session.is_open or len(self._asked_at) >= MAX_IN_FLIGHT:
            return None
        a, b, c, d, e = ((float(x), float(y)) for x, y in landmarks)
        query = FaceQuery(
            session=self._session.session_id,
            seq=self._session.next_seq(),
            track=track,
            landmarks=(a, b, c, d, e),
            quality=quality,
        )
        self._session.send(query, [jpeg], now)
        self._asked_at[query.seq] = now
        self._flush()
        return query.seq

    def report(self, report: Report) -> bool:
        """Tell the hub how the node fares. False without a session: no report is kept for later."""
        if not self._session.is_open:
            return False
        tally = report.tally
        message = NodeReport(
            session=self._session.session_id, camera=report.camera, shown=tally.shown, veiled=tally.veiled,
            fps=tally.fps, delay_p50_s=report.delay_p50_s, delay_p95_s=report.delay_p95_s,
            fully_veiled=tally.fully_veiled, viewers=report.viewers, software=report.software,
            address=report.address,
        )  # fmt: skip
        self._session.send(message, (), time.monotonic())
        self._flush()
        return True

    async def run(self) -> None:
        """Keep a session with the hub until cancelled; then say goodbye."""
        context = zmq.asyncio.Context()
        try:
            while True:
                await self._pause()
                try:
                    self._socket = self._connect(context)
                except zmq.ZMQError as exc:
                    # Out of file descriptors, mostly: the stream goes on, veiled, and this is tried again.
                    reason = f"this machine opens no connection ({exc.strerror})"
                    self._handle(self._session.lost_connection(reason, time.monotonic()))
                    continue
                try:
                    await self._converse(self._socket)
                finally:
                    self._close_socket(0)
        finally:
            context.term()

    async def _pause(self) -> None:
        """Wait for the time of the next attempt."""
        now = time.monotonic()
        await asyncio.sleep(max(0.0, self._session.next_deadline(now) - now))

    async def _converse(self, socket: zmq.asyncio.Socket) -> None:
        """Pump one connection until the session asks for another."""
        try:
            while not self._advance():
                await self._wait(socket)
                while (parts := _receive(socket)) is not None:
                    events = self._session.receive(parts, time.monotonic())
                    if self._handle(events):
                        return
                    # Others run too, however much the hub has to say.
                    await asyncio.sleep(0)
        finally:
            # Only where this was cancelled is a session still open here.
            self._session_over()

    def _advance(self) -> bool:
        """Let time pass; True where a fresh connection is wanted."""
        is_over = self._handle(self._session.poll(time.monotonic()))
        self._flush()
        return is_over

    async def _wait(self, socket: zmq.asyncio.Socket) -> None:
        """Until something arrives, the socket takes more, or the session has something to do."""
        now = time.monotonic()
        wait_s = max(0.0, self._session.next_deadline(now) - now)
        events = zmq.POLLIN
        if self._unsent:
            events |= zmq.POLLOUT
        timeout_ms = 1 + round(wait_s * 1_000)
        await socket.poll(timeout_ms, events)  # type: ignore[call-arg]  # the stub lacks flags

    def _handle(self, events: list[Event]) -> bool:
        """Tell the owner; True where a fresh connection is wanted."""
        now = time.monotonic()
        wants_fresh = False
        for event in events:
            match event:
                case SessionOpened(welcome):
                    self.state = LinkState(True, now, "", welcome.model_id, welcome.mode)
                    self._on_open(welcome)
                case PeerLost(reason):
                    self._asked_at.clear()
                    self._unsent.clear()
                    since = now if self.state.connected else self.state.since
                    self.state = LinkState(False, since, reason)
                    self._on_lost(reason)
                case MessageReceived(message=message):
                    self._pass_on(message, now)
                case Reconnect():
                    wants_fresh = True
        return wants_fresh

    def _pass_on(self, message: AnyMessage, now: float) -> None:
        match message:
            case FaceDecision():
                self._asked_at.pop(message.seq, None)
                self._on_decision(message, now)
            case Revoke():
                self._on_revoke(message, now)
            case Notice():
                s = self.state
                self.state = LinkState(s.connected, s.since, s.reason, s.model_id, s.mode, message.text)
            case Refusal():
                self._asked_at.pop(message.seq, None)
                self._on_refusal(message, now)

    def _flush(self) -> None:
        """Hand the socket what it takes now; the rest waits, bounded."""
        for parts in self._session.take_outgoing():
            if len(self._unsent) == MAX_UNSENT:
                self.counters.dropped += 1
            self._unsent.append(parts)
        while self._unsent and self._socket is not None:
            if not _send(self._socket, self._unsent[0]):
                return
            self._unsent.popleft()

    def _session_over(self) -> None:
        if not self._session.is_open:
            return
        self._session.close("the node is stopping", time.monotonic())
        self._flush()
        self._close_socket(GOODBYE_LINGER_MS)
        self.state = LinkState(False, time.monotonic(), "the node is stopping")

    def _close_socket(self, linger_ms: int) -> None:
        if self._socket is not None:
            self._socket.close(linger=linger_ms)
            self._socket = None
        self._unsent.clear()

    def _connect(self, context: zmq.asyncio.Context) -> zmq.asyncio.Socket:
        socket = context.socket(zmq.DEALER)
        try:
            _configure(socket, self._address)
            socket.curve_serverkey = self._hub_key
            socket.curve_publickey = self._keys.public
            socket.curve_secretkey = self._keys.secret
            socket.connect(self._address)
        except zmq.ZMQError:
            socket.close(linger=0)
            raise
        return socket

    def _check_address(self) -> None:
        """Once at start, so that `connect` has nothing left to complain about later."""
        with zmq.Context() as context, context.socket(zmq.DEALER) as probe:
            _configure(probe, self._address)
            try:
                probe.connect(self._address)
            except zmq.ZMQError as exc:
                raise StartError(
                    f"hub.address {self._address!r} is no address; write tcp://HOST:PORT"
                ) from exc


def _configure(socket: zmq.Socket[Any], address: str) -> None:
    socket.setsockopt(zmq.LINGER, 0)
    # Nothing queues up for a hub that is not there.
    socket.setsockopt(zmq.IMMEDIATE, 1)
    socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MARK)
    socket.setsockopt(zmq.RCVHWM, 4 * HIGH_WATER_MARK)
    socket.setsockopt(zmq.MAXMSGSIZE, limits.MAX_HEADER_BYTES)
    # Only where asked for: with the option set, names resolve to IPv6 addresses alone.
    socket.setsockopt(zmq.IPV6, "[" in address)


# Sending and receiving at once must go through the asyncio socket, which then still notices what else
# has happened (ZeroMQ's descriptor signals a change once only); with NOBLOCK its futures are done, but
# for those behind a poll.


def _send(socket: zmq.asyncio.Socket, parts: list[bytes]) -> bool:
    """False where the socket does not take a message at the moment."""
    future = cast("asyncio.Future[Any]", socket.send_multipart(parts, zmq.NOBLOCK))
    if not future.done():
        # `_wait` is polling for room, and pyzmq queues whatever comes behind a poll: take it back.
        future.cancel()
        return False
    exc = future.exception()
    if exc is not None and not isinstance(exc, zmq.Again):
        raise exc
    return exc is None


def _receive(socket: zmq.asyncio.Socket) -> list[bytes] | None:
    """The next message that has arrived, if there is one."""
    future = cast("asyncio.Future[list[bytes]]", socket.recv_multipart(zmq.NOBLOCK))
    return None if isinstance(future.exception(), zmq.Again) else future.result()
