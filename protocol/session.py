"""The conversation of one connection, as state machines without a socket. Time is an argument.

`ClientSession` is the side that says Hello (node or admin), `HubSession` the hub's side of one peer.
A shell ([I/O]: edge_node/uplink.py, enrollment/client.py, hub/server.py) feeds them what arrives
(`receive`) and the passing of time (`poll`, due at `next_deadline`), does what the events say, and
puts on the wire what `take_outgoing` returns, after every call. Neither side raises for what a peer
does: it is counted, answered where that helps, and otherwise ignored."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from protocol import limits
from protocol.backoff import backoff_s
from protocol.codec import decode
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.line import (
    FIRST_PAUSE_S,
    HEARTBEAT_S,
    HELLO_TIMEOUT_S,
    LIVENESS,
    LONGEST_PAUSE_S,
    NO_ANSWER,
    Counters,
    Event,
    Line,
    MessageReceived,
    PeerLost,
    Reconnect,
    SessionOpened,
)
from protocol.messages import (
    CLIENT_MAY_SEND,
    HUB_MAY_SEND,
    PROTOCOL_VERSIONS,
    AnyMessage,
    Goodbye,
    Heartbeat,
    Hello,
    NodeReport,
    Refusal,
    RefusalCode,
    Role,
    Welcome,
    clip,
)

__all__ = [
    "HEARTBEAT_S",
    "LIVENESS",
    "ClientSession",
    "Counters",
    "Event",
    "HubFacts",
    "HubSession",
    "MessageReceived",
    "PeerLost",
    "Reconnect",
    "SessionOpened",
]


class ClientSession(Line):
    """The side that says Hello, says it again after every loss, and waits a little longer each time.

    Only while `is_open` may the owner send. Sequence numbers from `next_seq` grow for the life of
    the object, so an answer of an earlier session fits no question of this one.
    """

    def __init__(
        self,
        role: Role,
        name: str,
        *,
        software: str = "",
        random_bytes: Callable[[int], bytes] = os.urandom,
        roll: Callable[[], float] = random.random,
        versions: tuple[int, ...] = PROTOCOL_VERSIONS,
    ) -> None:  # the last three are for tests
        super().__init__()
        self._role = role
        self._name = name
        self._software = software
        self._random_bytes = random_bytes
        self._roll = roll
        self._versions = versions
        self._state: Literal["waiting", "greeting", "open", "closed"] = "waiting"
        self._session = b""
        self._attempt_at = float("-inf")
        self._failures = 0
        self._seq = 0
        self._heartbeat_s = HEARTBEAT_S
        self._liveness = LIVENESS

    @property
    def is_open(self) -> bool:
        return self._state == "open"

    @property
    def session_id(self) -> bytes:
        """To be put into every message; raises LocalProtocolError where no session is open."""
        if self._state != "open":
            raise LocalProtocolError("no session is open")
        return self._session

    def next_seq(self) -> int:
        """A sequence number that was never used before; the first is 1."""
        self._seq += 1
        return self._seq

    def receive(self, parts: Sequence[bytes], now: float) -> list[Event]:
        """Take in one arrived message."""
        try:
            message, payloads = decode(parts)
        except RemoteProtocolError:
            self.counters.malformed += 1
            return []
        self.counters.received += 1
        if self._state not in ("greeting", "open") or message.session != self._session:
            self.counters.ignored += 1
            return []
        if not isinstance(message, HUB_MAY_SEND[self._role]):
            self.counters.not_allowed += 1
            return []
        self._heard_at = now
        if isinstance(message, Goodbye):
            return self._lost(f"the hub said goodbye: {message.reason or 'no reason given'}", now)
        if self._state == "greeting":
            return self._receive_greeting(message, now)
        if isinstance(message, Heartbeat):
            return []
        if isinstance(message, Welcome):
            self.counters.ignored += 1
            return []
        if isinstance(message, Refusal) and message.code == "no-session":
            return self._lost("the hub does not know this session (it was restarted)", now)
        return [MessageReceived(message, payloads)]

    def _receive_greeting(self, message: AnyMessage, now: float) -> list[Event]:
        if isinstance(message, Refusal):
            lost = self._lost(f"the hub refused: {message.text}", now, message.retry_after_s)
            return [MessageReceived(message, ()), *lost]
        if not isinstance(message, Welcome):
            self.counters.ignored += 1
            return []
        if message.version not in self._versions:
            return self._lost(f"the hub chose version {message.version}, never offered", now)
        self._state = "open"
        self._failures = 0
        self._heartbeat_s = message.heartbeat_s
        self._liveness = message.liveness
        return [SessionOpened(message)]

    def poll(self, now: float) -> list[Event]:
        """Do what time demands: say Hello, prove life, notice silence."""
        if self._state == "waiting" and now >= self._attempt_at:
            self._greet(now)
        elif self._state == "greeting" and now >= self._sent_at + HELLO_TIMEOUT_S:
            return self._lost(NO_ANSWER, now)
        elif self._state == "open":
            silence_s = self._heartbeat_s * self._liveness
            if now >= self._heard_at + silence_s:
                return self._lost(f"the hub was silent for {silence_s:g} s", now)
            if now >= self._sent_at + self._heartbeat_s:
                self._put(Heartbeat(session=self._session), (), now)
        return []

    def next_deadline(self, now: float) -> float:
        """When `poll` is due next, in monotonic seconds; `inf` after `close`."""
        match self._state:
            case "waiting":
                return max(now, self._attempt_at)
            case "greeting":
                return self._sent_at + HELLO_TIMEOUT_S
            case "open":
                silent_at = self._heard_at + self._heartbeat_s * self._liveness
                return min(silent_at, self._sent_at + self._heartbeat_s)
        return float("inf")

    def send(self, message: AnyMessage, payloads: Sequence[bytes], now: float) -> None:
        """Queue a message. Raises LocalProtocolError where it may not be sent now."""
        if message.session != self.session_id:
            raise LocalProtocolError("the message belongs to another session")
        if not isinstance(message, CLIENT_MAY_SEND[self._role]) or isinstance(message, Hello):
            raise LocalProtocolError(f"a client ({self._role}) sends no {type(message).__name__}")
        self._put(message, payloads, now)

    def close(self, reason: str, now: float) -> None:
        """Say goodbye where a session is open; nothing happens any more."""
        if self._state == "open":
            self._put(Goodbye(session=self._session, reason=clip(reason)), (), now)
        self._state = "closed"

    def lost_connection(self, reason: str, now: float) -> list[Event]:
        """The shell's connection failed, or could not even be opened: as if the peer had gone silent."""
        return self._lost(reason, now) if self._state != "closed" else []

    def _greet(self, now: float) -> None:
        self._session = self._random_bytes(16)
        self._state = "greeting"
        self._put(
            Hello(
                session=self._session,
                role=self._role,
                name=self._name,
                versions=self._versions,
                software=self._software,
            ),
            (),
            now,
        )

    def _lost(self, reason: str, now: float, at_least_s: float = 0.0) -> list[Event]:
        self._state = "waiting"
        self._outgoing.clear()
        pause_s = backoff_s(self._failures, self._roll(), FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._attempt_at = now + max(at_least_s, pause_s)
        self._failures += 1
        return [PeerLost(reason), Reconnect(self._attempt_at)]


@dataclass(frozen=True, slots=True)
class HubFacts:
    """What the hub tells a peer that it welcomes."""

    model_id: str
    gallery_version: int
    mode: str = ""


class HubSession(Line):
    """The hub's side of one peer, whose name and role are those of its authenticated key."""

    def __init__(
        self,
        role: Role,
        name: str,
        facts: Callable[[], HubFacts],
        *,
        heartbeat_s: float = HEARTBEAT_S,
        liveness: int = LIVENESS,
    ) -> None:
        super().__init__()
        self.role: Role = role
        self.name = name
        self._facts = facts
        self._heartbeat_s = heartbeat_s
        self._liveness = liveness
        self._session: bytes | None = None
        self._last_seq = 0

    @property
    def is_open(self) -> bool:
        return self._session is not None

    @property
    def session_id(self) -> bytes:
        """Of the open session; raises LocalProtocolError where there is none."""
        if self._session is None:
            raise LocalProtocolError("no session is open")
        return self._session

    def receive(self, parts: Sequence[bytes], now: float) -> list[Event]:
        """Take in one arrived message."""
        try:
            message, payloads = decode(parts, limits.MAX_REQUEST_HEADER_BYTES)
        except RemoteProtocolError as exc:
            self.counters.malformed += 1
            if self._session is not None:
                self._refuse(self._session, "malformed", str(exc), now)
            return []
        self.counters.received += 1
        if isinstance(message, Hello):
            return self._receive_hello(message, now)
        if message.session != self._session:
            self.counters.ignored += 1
            if not isinstance(message, Goodbye):
                self._refuse(message.session, "no-session", "no such session; say Hello", now)
            return []
        self._heard_at = now
        if not isinstance(message, CLIENT_MAY_SEND[self.role]):
            self.counters.not_allowed += 1
            text = f"role {self.role} may not send {message.__struct_config__.tag}"
            self.refuse(message, "not-allowed", text, now)
            return []
        if isinstance(message, Goodbye):
            self._session = None
            return [PeerLost(f"said goodbye: {message.reason or 'no reason given'}")]
        if isinstance(message, Heartbeat):
            return []
        if isinstance(message, NodeReport):  # asks nothing, so it has no number
            return [MessageReceived(message, payloads)]
        seq = _seq_of(message)
        if seq <= self._last_seq:
            self.counters.not_allowed += 1
            self.refuse(message, "invalid", f"seq {seq} was used before", now)
            return []
        self._last_seq = seq
        return [MessageReceived(message, payloads)]

    def _receive_hello(self, hello: Hello, now: float) -> list[Event]:
        if (hello.role, hello.name) != (self.role, self.name):
            self.counters.not_allowed += 1
            text = (
                f"this key is authorized as {self.role} {self.name!r}, not as {hello.role} "
                f"{hello.name!r}; use that name or authorize the key under the other"
            )
            self._refuse(hello.session, "not-allowed", text, now)
            return []
        version = next((v for v in PROTOCOL_VERSIONS if v in hello.versions), None)
        if version is None:
            ours = ", ".join(map(str, PROTOCOL_VERSIONS))
            theirs = ", ".join(map(str, hello.versions))
            text = f"this hub speaks protocol {ours}, you speak {theirs}: update the older side"
            self._refuse(hello.session, "version", text, now)
            return []
        if hello.session == self._session:
            self.counters.ignored += 1
            return []
        was_open = self._session is not None
        self._session = hello.session
        self._last_seq = 0
        self._heard_at = now
        facts = self._facts()
        welcome = Welcome(
            session=hello.session,
            version=version,
            heartbeat_s=self._heartbeat_s,
            liveness=self._liveness,
            model_id=facts.model_id,
            gallery_version=facts.gallery_version,
            mode=facts.mode,
        )
        self._put(welcome, (), now)
        opened = SessionOpened(welcome)
        return [PeerLost("opened a new session"), opened] if was_open else [opened]

    def poll(self, now: float) -> list[Event]:
        """Do what time demands: prove life, notice silence."""
        if self._session is None:
            return []
        silence_s = self._heartbeat_s * self._liveness
        if now >= self._heard_at + silence_s:
            self._session = None
            self._outgoing.clear()
            return [PeerLost(f"silent for {silence_s:g} s")]
        if now >= self._sent_at + self._heartbeat_s:
            self._put(Heartbeat(session=self._session), (), now)
        return []

    def next_deadline(self, now: float) -> float:
        """When `poll` is due next, in monotonic seconds; `inf` where no session is open."""
        if self._session is None:
            return float("inf")
        silent_at = self._heard_at + self._heartbeat_s * self._liveness
        return max(now, min(silent_at, self._sent_at + self._heartbeat_s))

    def send(self, message: AnyMessage, payloads: Sequence[bytes], now: float) -> None:
        """Queue a message. Raises LocalProtocolError where it may not be sent now."""
        if message.session != self.session_id:
            raise LocalProtocolError("the message belongs to another session")
        may_send = HUB_MAY_SEND[self.role]
        if not isinstance(message, may_send) or isinstance(message, Welcome):
            raise LocalProtocolError(f"the hub sends a {self.role} no {type(message).__name__}")
        self._put(message, payloads, now)

    def refuse(
        self,
        request: AnyMessage,
        code: RefusalCode,
        text: str,
        now: float,
        retry_after_s: float = 0.0,
    ) -> None:
        """Answer a request with a Refusal that repeats its session and number."""
        self._refuse(request.session, code, text, now, _seq_of(request), retry_after_s)

    def close(self, reason: str, now: float) -> None:
        """Say goodbye and forget the session."""
        if self._session is not None:
            self._put(Goodbye(session=self._session, reason=clip(reason)), (), now)
        self._session = None

    def _refuse(
        self,
        session: bytes,
        code: RefusalCode,
        text: str,
        now: float,
        seq: int = 0,
        retry_after_s: float = 0.0,
    ) -> None:
        refusal = Refusal(session=session, code=code, text=clip(text), seq=seq, retry_after_s=retry_after_s)
        self._put(refusal, (), now)


def _seq_of(message: AnyMessage) -> int:
    seq: int = getattr(message, "seq", 0)
    return seq
