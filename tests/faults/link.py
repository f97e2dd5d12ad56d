"""The line between node and hub: two streams of messages that keep their order, with faults.

Also the node's end of it: the real uplink, hub link, session and decision book, without a socket.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from edge_node.config import HubSettings
from edge_node.hub_link import HubLink
from edge_node.metrics import Metrics
from edge_node.uplink import Uplink
from protocol.codec import decode
from protocol.keys import KeyPair
from protocol.messages import FaceDecision, Revoke, Welcome
from protocol.session import ClientSession
from tests.faults.clock import Agenda
from tests.faults.oracle import Account
from tests.faults.world import Span

Parts = list[bytes]


@dataclass(slots=True)
class LineFaults:
    cut: list[Span] = field(default_factory=list)
    slow: list[tuple[Span, float]] = field(default_factory=list)
    """Messages sent in this span take so many seconds longer."""
    doubled: list[Span] = field(default_factory=list)
    """Every message arrives twice."""


class Line:
    """Carries messages after a delay, in order, unless it is cut."""

    def __init__(self, agenda: Agenda, rng: np.random.Generator, faults: LineFaults) -> None:
        self._agenda = agenda
        self._rng = rng
        self._faults = faults
        self._last_at = {"up": 0.0, "down": 0.0}
        self.connection = 0
        """What travels on an earlier connection is lost."""

    def carry(self, way: str, parts: Parts, deliver: Callable[[Parts], None]) -> None:
        now, faults = self._agenda.monotonic(), self._faults
        extra_s = max((s for span, s in faults.slow if now in span), default=0.0)
        at = max(self._last_at[way], now + float(self._rng.uniform(0.003, 0.02)) + extra_s)
        self._last_at[way] = at
        connection = self.connection

        def arrive() -> None:
            is_cut = any(now in span or at in span for span in faults.cut)
            if connection == self.connection and not is_cut:
                deliver(parts)

        for _ in range(2 if any(now in span for span in faults.doubled) else 1):
            self._agenda.at(at, arrive)


class SimUplink(Uplink):
    """The real uplink, with a `Line` where its socket was."""

    wire: NodeEnd

    def _check_address(self) -> None: ...

    def ask(
        self, track: int, jpeg: bytes, landmarks: Iterable[Sequence[float]], quality: float
    ) -> int | None:
        seq = super().ask(track, jpeg, landmarks, quality)
        if seq is not None:
            self.wire.on_asked(seq, track)
        return seq

    def _flush(self) -> None:
        for parts in self._session.take_outgoing():
            self.wire.send(parts)

    def use(self, wire: NodeEnd, session: ClientSession) -> None:
        self.wire = wire
        self._session = session

    def arrived(self, parts: Parts, now: float) -> None:
        if self._handle(self._session.receive(parts, now)):
            self.wire.reconnected()
        self._flush()

    def tick(self, now: float) -> float:
        """Let time pass; when to be called again."""
        if self._advance():
            self.wire.reconnected()
        return self._session.next_deadline(now)


class SimHubLink(HubLink):
    """The real hub link over a `SimUplink`."""

    uplink: SimUplink

    def _connect(self, settings: HubSettings, name: str) -> Uplink:
        self.uplink = SimUplink(
            "tcp://sim:1", KeyPair("n", "node", b"", b""), b"", name,
            on_open=self._on_open, on_lost=self._on_lost, on_decision=self._on_decision,
            on_revoke=self._on_revoke, on_refusal=self._on_refusal,
        )  # fmt: skip
        return self.uplink


class NodeEnd:
    """Joins the node's hub link to the line, and tells the account what arrives."""

    def __init__(
        self,
        agenda: Agenda,
        line: Line,
        rng: np.random.Generator,
        account: Account,
        identity_of: dict[str, int],
        on_asked: Callable[[int, int], None],
    ) -> None:  # one parameter for each side it joins
        self._agenda = agenda
        self._line = line
        self._account = account
        self._identity_of = identity_of
        self.on_asked = on_asked
        self.deliver_up: Callable[[Parts], None] = lambda parts: None
        self.hub_link = SimHubLink(HubSettings(), "door", Metrics())
        session = ClientSession("node", "door", random_bytes=rng.bytes, roll=lambda: float(rng.random()))
        self.hub_link.uplink.use(self, session)
        self._tick_at = float("inf")
        self._schedule(0.0)

    def send(self, parts: Parts) -> None:
        self._line.carry("up", parts, self.deliver_up)

    def reconnected(self) -> None:
        self._line.connection += 1
        self._schedule(self._agenda.monotonic())

    def receive(self, parts: Parts) -> None:
        """A message of the hub arrives."""
        now = self._agenda.monotonic()
        message, _ = decode(parts)
        if message.session == self.hub_link.uplink._session._session:
            self._account.heard(now)
            match message:
                case Welcome():
                    self._account.voided(now)
                case FaceDecision():
                    self._account.decided(message, self._identity_of, now)
                case Revoke():
                    self._account.revoked(message, self._identity_of, now)
        self.hub_link.uplink.arrived(parts, now)
        self._schedule(now)

    def _schedule(self, at: float) -> None:
        self._tick_at = at
        self._agenda.at(at, lambda: self._tick(at))

    def _tick(self, planned: float) -> None:
        if planned != self._tick_at:
            return
        now = self._agenda.monotonic()
        self._schedule(max(now + 0.002, self.hub_link.uplink.tick(now)))
