"""[I/O] One encrypted admin connection to the hub: DEALER and CURVE around `protocol.session`.

Synchronous: one request at a time, every wait has a limit. Owns the socket and the reading of what went
wrong on the way; knows nothing of people. Used by `enrollment.client`. One thread owns it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import zmq
from zmq.utils.monitor import recv_monitor_message

from enrollment.errors import (
    EnrollmentError,
    HubRefusalError,
    HubUnreachableError,
    InputError,
    KeyRefusedError,
)
from protocol import limits
from protocol.codec import decode
from protocol.errors import RemoteProtocolError
from protocol.keys import KeyPair
from protocol.messages import AnyMessage, Document, Likeness, People, Refusal, Threshold, Visitors
from protocol.session import ClientSession, Event, MessageReceived, PeerLost

A = TypeVar("A", People, Visitors, Document, Likeness, Threshold)
Build = Callable[[bytes, int], AnyMessage]
"""(session, seq) -> the request: built again where a session had to be opened anew."""

_FAILED_KEY = zmq.Event.HANDSHAKE_FAILED_AUTH
_FAILED_OTHER = zmq.Event.HANDSHAKE_FAILED_NO_DETAIL | zmq.Event.HANDSHAKE_FAILED_PROTOCOL
_WATCHED = zmq.Event.CONNECTED | zmq.Event.HANDSHAKE_SUCCEEDED | _FAILED_KEY | _FAILED_OTHER
_ADDRESS = re.compile(r"tcp://[^\s/]+:(?P<port>[0-9]{1,5})")
_PATIENCE = 2
"""Failed handshakes without a stated reason before giving up: one may be a hub that is just leaving."""


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Seconds."""

    connect_s: float = 5.0
    """A hub that is just starting is waited for this long."""
    answer_s: float = 30.0
    """Embedding a full message of photos takes a slow hub a few seconds."""


class _SessionUnknownError(Exception):
    """The hub answered that it has no such session: surely nothing was done, so ask again."""


class Connection:
    """An admin's connection. `request` opens it where needed, and again where the hub forgot it."""

    def __init__(
        self, address: str, keys: KeyPair, hub_key: bytes, time_limits: TimeLimits | None = None
    ) -> None:
        self._address = address
        self._keys = keys
        self._hub_key = hub_key
        self._limits = time_limits or TimeLimits()
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._socket: zmq.Socket[bytes] | None = None
        self._session: ClientSession | None = None
        self._hub_forgot = False

    def open(self) -> None:
        """Connect and greet. Raises InputError, HubUnreachableError, KeyRefusedError."""
        self.close()
        _check_address(self._address)
        deadline = time.monotonic() + self._limits.connect_s
        self._context = zmq.Context()
        socket = self._socket = _client_socket(self._context, self._keys, self._hub_key)
        if "[" in self._address:  # an IPv6 address; with names the option would leave out IPv4
            socket.setsockopt(zmq.IPV6, 1)
        try:
            self._connect(socket, deadline)
            self._session = ClientSession("admin", self._keys.name, software="veilcast-enroll")
            self._greet(self._session)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Say goodbye where that is possible; never raises, never waits longer than half a second."""
        if self._session is not None and self._socket is not None:
            self._session.close("done", time.monotonic())
            for parts in self._session.take_outgoing():
                try:
                    self._socket.send_multipart(parts, zmq.NOBLOCK)
                except zmq.Again:
                    break  # the hub is gone and learns of it by our silence
        self._session = self._socket = None
        if self._context is not None:
            self._context.destroy(linger=500)
            self._context = None

    def keep_alive(self) -> None:
        """Tell the hub that we live; to be called now and then during long work.

        Where the hub is gone the session is closed: the next request opens one anew, or says why not.
        """
        if self._session is None or not self._session.is_open:
            return
        try:
            is_lost = any(isinstance(event, PeerLost) for event in self._take_in(0.0))
        except HubUnreachableError:
            is_lost = True
        if is_lost:
            self.close()

    def request(self, build: Build, payloads: Sequence[bytes] = ()) -> People:
        """`ask` for what is answered with people."""
        return self.ask(People, build, payloads)

    def ask(self, kind: type[A], build: Build, payloads: Sequence[bytes] = ()) -> A:
        """Ask and wait for the answer, which is of one kind.

        Raises HubRefusalError, HubUnreachableError, KeyRefusedError.
        """
        self.keep_alive()
        for _ in range(2):
            if self._session is None or not self._session.is_open:
                self.open()
            try:
                return self._exchange(kind, build, payloads)
            except _SessionUnknownError:
                self.close()
        raise HubUnreachableError(f"the hub at {self._address} forgets its sessions: look at its log")

    # --- opening ----------------------------------------------------------------------------

    def _connect(self, socket: zmq.Socket[bytes], deadline: float) -> None:
        """Wait for the CURVE handshake, and tell apart why it does not come."""
        monitor = socket.get_monitor_socket(int(_WATCHED))
        try:
            try:
                socket.connect(self._address)
            except zmq.ZMQError as exc:
                raise _no_address(self._address) from exc
            self._await_handshake(monitor, deadline)
        finally:
            socket.disable_monitor()
            monitor.close(0)

    def _await_handshake(self, monitor: zmq.Socket[Any], deadline: float) -> None:
        reached, failures = False, 0
        while failures < _PATIENCE:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not monitor.poll(round(left_s * 1_000)):
                break
            event = recv_monitor_message(monitor)["event"]
            if event == zmq.Event.HANDSHAKE_SUCCEEDED:
                return
            if event == _FAILED_KEY:
                raise KeyRefusedError(
                    f"the hub at {self._address} does not accept this admin key: "
                    "let its public key in there with veilcast-hub keys add"
                )
            reached = True
            failures += event != zmq.Event.CONNECTED
        if failures:
            raise KeyRefusedError(
                f"{self._address} ends the encrypted handshake: compare --hub-key with the hub's own "
                "public key (veilcast-hub init prints it), and the address"
            )
        if reached:
            raise HubUnreachableError(
                f"{self._address} takes connections but does not speak as a hub: check --hub"
            )
        raise HubUnreachableError(f"no hub answers at {self._address}: is it running? check --hub")

    def _greet(self, session: ClientSession) -> None:
        refusal: Refusal | None = None
        while not session.is_open:
            wait_s = session.next_deadline(time.monotonic()) - time.monotonic()
            for event in self._take_in(max(0.0, wait_s)):
                if isinstance(event, MessageReceived) and isinstance(event.message, Refusal):
                    refusal = event.message
                elif isinstance(event, PeerLost):
                    raise self._greeting_failed(refusal, event)

    def _greeting_failed(self, refusal: Refusal | None, lost: PeerLost) -> EnrollmentError:
        if refusal is None:
            return HubUnreachableError(f"the hub at {self._address}: {lost.reason}")
        if refusal.code == "not-allowed":
            return KeyRefusedError(f"the hub refuses this key: {refusal.text}")
        return HubUnreachableError(f"the hub at {self._address} refuses: {refusal.text}")

    # --- exchanging -------------------------------------------------------------------------

    def _exchange(self, kind: type[A], build: Build, payloads: Sequence[bytes]) -> A:
        session = self._session
        if session is None:
            raise ValueError("the connection is not open")
        seq = session.next_seq()
        now = time.monotonic()
        session.send(build(session.session_id, seq), payloads, now)
        deadline = now + self._limits.answer_s
        while now < deadline:
            until = min(deadline, session.next_deadline(now))
            for event in self._take_in(max(0.0, until - now)):
                answer = self._answer_in(kind, event, seq)
                if answer is not None:
                    return answer
            now = time.monotonic()
        raise HubUnreachableError(
            f"the hub at {self._address} did not answer within {self._limits.answer_s:g} s: "
            "look with veilcast-enroll list whether it was done"
        )

    def _answer_in(self, kind: type[A], event: Event, seq: int) -> A | None:
        match event:
            case MessageReceived(message=answer) if isinstance(answer, kind) and answer.seq == seq:
                return answer
            # Bytes that the hub could not read have no number; only one request is under way.
            case MessageReceived(message=Refusal(seq=refused) as refusal) if refused in (0, seq):
                raise HubRefusalError(refusal.code, refusal.text)
            case PeerLost(reason=reason):
                if self._hub_forgot:
                    raise _SessionUnknownError
                raise HubUnreachableError(
                    f"{reason} before it answered: look with veilcast-enroll list whether it was done"
                )
            case _:
                return None

    def _take_in(self, wait_s: float) -> list[Event]:
        """Send what waits, receive what comes within wait_s, and let time pass."""
        session, socket = self._session, self._socket
        if session is None or socket is None:
            raise ValueError("the connection is not open")
        events = session.poll(time.monotonic()) if wait_s > 0 else []
        self._flush(session, socket)
        if not events and socket.poll(round(wait_s * 1_000)):
            for parts in _arrived(socket):
                self._hub_forgot = _says_unknown_session(parts)
                events += session.receive(parts, time.monotonic())
                if any(isinstance(e, PeerLost) for e in events):
                    return events
        events += session.poll(time.monotonic())
        self._flush(session, socket)
        return events

    def _flush(self, session: ClientSession, socket: zmq.Socket[bytes]) -> None:
        for parts in session.take_outgoing():
            try:
                socket.send_multipart(parts)
            except zmq.Again as exc:
                text = f"the connection to the hub at {self._address} broke: is it still running?"
                raise HubUnreachableError(text) from exc


def _check_address(address: str) -> None:
    """ZeroMQ takes any number for a port, and then waits for ever."""
    match = _ADDRESS.fullmatch(address)
    if match is None or not 0 < int(match["port"]) < 65_536:
        raise _no_address(address)


def _no_address(address: str) -> InputError:
    return InputError(f"{address!r} is no address of a hub: write tcp://HOST:PORT")


def _client_socket(
    context: zmq.Context[zmq.Socket[bytes]], keys: KeyPair, hub_key: bytes
) -> zmq.Socket[bytes]:
    socket = context.socket(zmq.DEALER)
    socket.curve_serverkey = hub_key
    socket.curve_publickey = keys.public
    socket.curve_secretkey = keys.secret
    socket.setsockopt(zmq.LINGER, 500)
    socket.setsockopt(zmq.IMMEDIATE, 1)  # nothing waits for a hub that is not there
    socket.setsockopt(zmq.SNDTIMEO, 1_000)
    socket.setsockopt(zmq.SNDHWM, 64)
    socket.setsockopt(zmq.RCVHWM, 64)
    socket.setsockopt(zmq.MAXMSGSIZE, limits.MAX_HEADER_BYTES)
    return socket


def _arrived(socket: zmq.Socket[bytes]) -> Iterator[list[bytes]]:
    """What waits in the socket, but never more than its queue holds."""
    for _ in range(64):
        try:
            yield socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return


def _says_unknown_session(parts: Sequence[bytes]) -> bool:
    try:
        message, _ = decode(parts)
    except RemoteProtocolError:
        return False  # the session counts it
    return isinstance(message, Refusal) and message.code == "no-session"
