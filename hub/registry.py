"""Who is connected: one `HubSession` per connection, a bounded number, at most one per node.

Pure: values and `now` in, events out. Owned by `hub.server`, which brings the authenticated peer of
every message and sends what `take_outgoing` returns. A connection without an open session is not
kept: it is answered and forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from protocol import limits
from protocol.codec import decode
from protocol.errors import RemoteProtocolError
from protocol.keys import Peer
from protocol.messages import AnyMessage
from protocol.session import (
    Counters,
    Event,
    HubFacts,
    HubSession,
    MessageReceived,
    PeerLost,
    SessionOpened,
)

RETRY_WHEN_FULL_S = 5.0
"""A peer that found no room tries again after this."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A peer has said Hello and was welcomed; `session` is 16 bytes, never used twice."""

    peer: Peer
    session: bytes


@dataclass(frozen=True, slots=True)
class Lost:
    """The session is over."""

    peer: Peer
    session: bytes
    reason: str


@dataclass(slots=True)  # frozen, each takes three times as long to make, and one is made for each question
class Asked:
    """A request, to be answered by `Registry.send` under the same session."""

    peer: Peer
    session: bytes
    message: AnyMessage
    payloads: tuple[bytes, ...]


Happening = Opened | Lost | Asked


@dataclass(slots=True)
class _Entry:
    route: bytes
    peer: Peer
    line: HubSession
    session: bytes = b""


class Registry:
    """All connections. `route` is the ROUTER's name for a connection."""

    def __init__(
        self,
        facts: Callable[[Peer], HubFacts],
        max_peers: int,
        heartbeat_s: float,
        liveness: int,
    ) -> None:
        self.counters = Counters()
        """Summed over all connections, past ones included."""
        self._facts = facts
        self._max_peers = max_peers
        self._heartbeat_s = heartbeat_s
        self._liveness = liveness
        self._entries: dict[bytes, _Entry] = {}
        self._by_session: dict[bytes, _Entry] = {}
        """The same, for finding whom an answer is for."""
        self._outgoing: list[tuple[bytes, list[bytes]]] = []

    def __len__(self) -> int:
        return len(self._entries)

    def peers(self) -> list[tuple[Peer, bytes]]:
        """Every open session: its peer and its id."""
        return [(entry.peer, entry.session) for entry in self._entries.values()]

    def receive(self, route: bytes, peer: Peer, parts: Sequence[bytes], now: float) -> list[Happening]:
        """Take in one message that came over `route` from the authenticated `peer`."""
        happenings: list[Happening] = []
        entry = self._entries.get(route)
        if entry is not None and entry.peer != peer:
            # Another key has taken the route over: what was agreed with the first is void.
            happenings += self.drop(route, "the connection was taken over")
            entry = None
        if entry is None:
            entry = self._new_entry(route, peer)
            if self._is_full(peer):
                self._turn_away(entry, parts, now)
                return happenings
        return happenings + self._settle(entry, entry.line.receive(parts, now))

    def poll(self, now: float) -> list[Happening]:
        """Do what time demands of every session."""
        happenings: list[Happening] = []
        for entry in list(self._entries.values()):
            if entry.line.next_deadline(now) <= now:
                happenings += self._settle(entry, entry.line.poll(now))
        return happenings

    def next_deadline(self, now: float) -> float:
        """When `poll` is due next, in monotonic seconds."""
        deadlines = (entry.line.next_deadline(now) for entry in self._entries.values())
        return min(deadlines, default=float("inf"))

    def send(self, session: bytes, message: AnyMessage, payloads: Sequence[bytes], now: float) -> bool:
        """Queue a message; False where that session is over by now."""
        entry = self._by_session.get(session)
        if entry is None:
            return False
        entry.line.send(message, payloads, now)
        self._collect(entry)
        return True

    def drop(self, route: bytes, reason: str) -> list[Happening]:
        """Forget a connection that cannot be reached, or must not be, any more."""
        entry = self._forget(route)
        return [] if entry is None else [Lost(entry.peer, entry.session, reason)]

    def keep_only(self, allowed: Iterable[Peer], now: float) -> list[Happening]:
        """End the sessions of peers that are not allowed any more."""
        keep = set(allowed)
        happenings: list[Happening] = []
        for entry in list(self._entries.values()):
            if entry.peer not in keep:
                entry.line.close("this key is not authorized any more", now)
                self._collect(entry)
                happenings += self.drop(entry.route, "the key was removed")
        return happenings

    def close(self, reason: str, now: float) -> None:
        """Say goodbye to everyone."""
        for entry in self._entries.values():
            entry.line.close(reason, now)
            self._collect(entry)
        self._entries.clear()
        self._by_session.clear()

    def take_outgoing(self) -> list[tuple[bytes, list[bytes]]]:
        """(route, parts) of everything that is to go on the wire now, oldest first."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def _new_entry(self, route: bytes, peer: Peer) -> _Entry:
        line = HubSession(
            peer.role,
            peer.name,
            lambda: self._facts(peer),
            heartbeat_s=self._heartbeat_s,
            liveness=self._liveness,
        )
        line.counters = self.counters
        return _Entry(route, peer, line)

    def _is_full(self, newcomer: Peer) -> bool:
        others = [e for e in self._entries.values() if e.peer.role == "admin" or e.peer != newcomer]
        return len(others) >= self._max_peers

    def _turn_away(self, entry: _Entry, parts: Sequence[bytes], now: float) -> None:
        try:
            message, _ = decode(parts, limits.MAX_REQUEST_HEADER_BYTES)
        except RemoteProtocolError:
            self.counters.malformed += 1
            return
        text = f"the hub serves {self._max_peers} peers already"
        entry.line.refuse(message, "overloaded", text, now, RETRY_WHEN_FULL_S)
        self._collect(entry)

    def _settle(self, entry: _Entry, events: list[Event]) -> list[Happening]:
        """Turn a session's events into happenings and keep the books."""
        happenings: list[Happening] = []
        for event in events:
            if isinstance(event, MessageReceived):  # nearly all
                happenings.append(Asked(entry.peer, entry.session, event.message, event.payloads))
                continue
            match event:
                case SessionOpened(welcome):
                    happenings += self._leave_elsewhere(entry)
                    self._forget(entry.route)
                    entry.session = welcome.session
                    self._entries[entry.route] = entry
                    # Peers name their sessions: nobody takes another's answers by taking its name.
                    self._by_session.setdefault(entry.session, entry)
                    happenings.append(Opened(entry.peer, entry.session))
                case PeerLost(reason):
                    happenings.append(Lost(entry.peer, entry.session, reason))
        self._collect(entry)
        if not entry.line.is_open:
            self._forget(entry.route)
        return happenings

    def _forget(self, route: bytes) -> _Entry | None:
        entry = self._entries.pop(route, None)
        if entry is not None and self._by_session.get(entry.session) is entry:
            del self._by_session[entry.session]
        return entry

    def _leave_elsewhere(self, entry: _Entry) -> list[Happening]:
        """A node is one machine: a new connection of it replaces the earlier one."""
        if entry.peer.role != "node":
            return []
        earlier = [e.route for e in self._entries.values() if e.peer == entry.peer and e is not entry]
        return [h for route in earlier for h in self.drop(route, "came back over a new connection")]

    def _collect(self, entry: _Entry) -> None:
        if outgoing := entry.line.take_outgoing():
            self._outgoing += [(entry.route, parts) for parts in outgoing]
