"""What both sides of a conversation share: its events, counters, times and the outgoing queue.

Used by `protocol.session` alone, which also hands the public names on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from protocol.codec import encode
from protocol.messages import AnyMessage, Welcome

HEARTBEAT_S = 1.0
LIVENESS = 3
"""Silence of this many heartbeats means that the peer is gone."""
HELLO_TIMEOUT_S = 2.0
"""An attempt without an answer is given up after this: a connection and its handshake take five times
the way there and back, and whoever refuses a key does not answer at all."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 0.75
"""Between attempts. With HELLO_TIMEOUT_S this bounds how long everyone stays veiled after an outage: an
attempt that was lost at its very end, a pause, and the next one stay below 3 s."""
NO_ANSWER = "no answer: is the hub running, does it know this key, and is the hub.pub here its present one?"
"""Whoever shows or expects a wrong key hears nothing, so all three are asked."""
MAX_OUTGOING = 256
"""Messages that wait for the shell. It takes them after every call, so a full queue means that it
does not; the oldest is then dropped and counted."""


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """Both sides have agreed."""

    welcome: Welcome


@dataclass(frozen=True, slots=True)
class PeerLost:
    """The session, or the attempt to open one, is over. Nothing said in it holds any longer."""

    reason: str


@dataclass(slots=True)  # frozen, each takes three times as long to make
class MessageReceived:
    """A message for whoever owns the session; never one of the conversation itself."""

    message: AnyMessage
    payloads: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Throw the connection away; the next attempt starts at `at` and wants a fresh one."""

    at: float


Event = SessionOpened | PeerLost | MessageReceived | Reconnect


@dataclass(slots=True)
class Counters:
    """What happened, in messages."""

    received: int = 0
    sent: int = 0
    ignored: int = 0
    """Of another session, or at a moment where they mean nothing."""
    malformed: int = 0
    not_allowed: int = 0
    """Kinds that the peer's role may not send, and numbers used twice."""
    dropped: int = 0


class Line:
    """What both sides share: outgoing messages, signs of life, counters."""

    def __init__(self) -> None:
        self.counters = Counters()
        self._outgoing: deque[list[bytes]] = deque()
        self._heard_at = 0.0
        self._sent_at = 0.0

    def take_outgoing(self) -> list[list[bytes]]:
        """Everything that is to go on the wire now, oldest first; each a list of parts."""
        if not self._outgoing:
            return []
        outgoing = list(self._outgoing)
        self._outgoing.clear()
        return outgoing

    def _put(self, message: AnyMessage, payloads: Sequence[bytes], now: float) -> None:
        parts = encode(message, payloads)
        if len(self._outgoing) >= MAX_OUTGOING:
            self._outgoing.popleft()
            self.counters.dropped += 1
        self._outgoing.append(parts)
        self._sent_at = now
        self.counters.sent += 1
