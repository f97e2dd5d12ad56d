"""What is known of each node at this moment: its newest report, and a little history for plots. Pure.

Numbers only, in memory only: nothing here is a picture or a name of a person. Bounded by MAX_NODES and
HISTORY. Kept by `hub.service`, which brings `now` (monotonic seconds); read by `hub.web`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from protocol.messages import NodeReport

MAX_NODES = 1_024
"""Nodes remembered, connected or not; the one that was heard of longest ago makes room."""
SAMPLE_EVERY_S = 2.0
HISTORY = 300
"""Samples kept: ten minutes of each node, five of the hub, which counts once a second."""
STALE_AFTER_S = 7.0
"""Three reports that should have come: their numbers are no longer shown as if they held."""

Standing = Literal["live", "lost", "opening", "ended", "failed", "silent", "away"]
"""A camera as the wall shows it: "live", "opening", "lost", "ended", "failed" are the node's own words;
"silent": connected without reports; "away": no connection, so the node veils everyone."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A point of the plots."""

    at: float
    """Monotonic seconds."""
    fps: float
    delay_p95_s: float
    shown: int
    veiled: int


@dataclass(slots=True)
class _Node:
    session: bytes = b""
    """Empty while there is no connection."""
    since: float = 0.0
    """Monotonic seconds of the last change between connected and not."""
    heard_at: float = 0.0
    report: NodeReport | None = None
    history: deque[Sample] = field(default_factory=lambda: deque(maxlen=HISTORY))


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node as it is now."""

    name: str
    standing: Standing
    since_s: float
    """So long it has been connected, or away."""
    report: NodeReport | None
    """None where none is recent: what it said before may no longer hold."""
    address: str
    """Where browsers find it; of the last report, recent or not."""
    software: str
    history: tuple[Sample, ...]


class NodeBook:
    """All nodes that were connected since the hub's start."""

    def __init__(self) -> None:
        self._nodes: dict[str, _Node] = {}

    def opened(self, name: str, session: bytes, now: float) -> None:
        """A node has connected."""
        node = self._nodes.pop(name, None) or _Node()
        if len(self._nodes) >= MAX_NODES:
            self._make_room()
        node.session, node.since, node.report = session, now, None
        node.heard_at = now
        self._nodes[name] = node

    def lost(self, name: str, session: bytes, now: float) -> None:
        """A node's session is over; a later one of the same node is not touched."""
        node = self._nodes.get(name)
        if node is not None and node.session == session:
            node.session, node.since = b"", now

    def reported(self, name: str, session: bytes, report: NodeReport, now: float) -> bool:
        """Take a report in. True where people would see a difference at once."""
        node = self._nodes.get(name)
        if node is None or node.session != session:
            return False
        before, node.report, node.heard_at = node.report, report, now
        if not node.history or now - node.history[-1].at >= SAMPLE_EVERY_S * 0.9:
            node.history.append(
                Sample(now, report.fps, report.delay_p95_s, report.shown, report.veiled)
            )  # fmt: skip
        return before is None or (before.camera, before.shown, before.veiled) != (
            report.camera, report.shown, report.veiled,
        )  # fmt: skip

    def views(self, now: float) -> tuple[NodeView, ...]:
        """Every node, in order of their names."""
        return tuple(_view(name, node, now) for name, node in sorted(self._nodes.items()))

    def view(self, name: str, now: float) -> NodeView | None:
        """One node; None where it was never connected."""
        node = self._nodes.get(name)
        return _view(name, node, now) if node is not None else None

    def origins(self) -> tuple[str, ...]:
        """Where browsers get pictures ("https://door.lan:8080"), each once, sorted."""
        found = {urlsplit(n.report.address) for n in self._nodes.values() if n.report and n.report.address}
        return tuple(sorted({f"{url.scheme}://{url.netloc}" for url in found}))

    def _make_room(self) -> None:
        oldest = min(self._nodes, key=lambda name: (bool(self._nodes[name].session), self._nodes[name].since))
        del self._nodes[oldest]


def _view(name: str, node: _Node, now: float) -> NodeView:
    is_fresh = bool(node.session) and now - node.heard_at < STALE_AFTER_S
    report = node.report if is_fresh else None
    standing: Standing
    if not node.session:
        standing = "away"
    elif report is not None:
        standing = report.camera
    else:
        standing = "opening" if is_fresh else "silent"
    last = node.report
    return NodeView(
        name, standing, max(0.0, now - node.since), report,
        last.address if last else "", last.software if last else "", tuple(node.history),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pace:
    """What the hub did in one second."""

    at: float
    questions: float
    reveals: float
    veils: float
    shed: float


class PaceBook:
    """The hub's own pace over the last minutes, from counters that only grow."""

    def __init__(self) -> None:
        self._last: tuple[float, dict[str, int]] | None = None
        self.history: deque[Pace] = deque(maxlen=HISTORY)

    def count(self, counts: dict[str, int], now: float) -> None:
        """To be called once a second or so with all counters."""
        if self._last is not None:
            at, before = self._last
            elapsed_s = now - at
            if elapsed_s <= 0.0:
                return
            rate = {k: (counts.get(k, 0) - before.get(k, 0)) / elapsed_s for k in _PACED}
            self.history.append(Pace(now, *(rate[k] for k in _PACED)))
        self._last = (now, dict(counts))


_PACED = ("questions", "reveals", "veils", "shed")
