"""The node's dealings with the hub: questions out, leases in.

Owns the uplink and the decision book; runs in the event loop. What other threads read of it are two
immutable values: `leases` and `state`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

from edge_node.config import HubSettings
from edge_node.metrics import Metrics
from edge_node.privacy.decisions import DecisionBook, Leases
from edge_node.reporting import Report
from edge_node.tracking.sampling import Look
from edge_node.uplink import LinkState, Uplink
from protocol.keys import load_keypair, load_public_key
from protocol.messages import FaceDecision, Refusal, Revoke, Welcome

log = logging.getLogger(__name__)


class HubLink:
    """Raises KeyFileError and StartError where keys or address cannot be used."""

    def __init__(self, settings: HubSettings, name: str, metrics: Metrics) -> None:
        self._address = settings.address
        self._metrics = metrics
        self._book = DecisionBook()
        self._opened = asyncio.Event()
        self._told_reason = ""
        self._uplink = self._connect(settings, name) if settings.enabled else None

    @property
    def leases(self) -> Leases:
        """Who may be shown; read by other threads."""
        return self._book.leases

    @property
    def state(self) -> LinkState | None:
        """How the line stands; None where the node runs without a hub."""
        return self._uplink.state if self._uplink is not None else None

    async def run(self) -> None:
        """Keep a session with the hub until cancelled."""
        if self._uplink is not None:
            await self._uplink.run()
        else:
            await asyncio.Event().wait()

    async def wait_open(self, limit_s: float) -> None:
        """Until the first session stands, or the time is up (which is logged)."""
        if self._uplink is None:
            return
        try:
            await asyncio.wait_for(self._opened.wait(), limit_s)
        except TimeoutError:
            log.warning("no hub at %s within %.0f s: everyone stays veiled", self._address, limit_s)

    def ask(self, look: Look, jpeg: bytes) -> None:
        """Ask who a track is, if the hub can be asked now."""
        if self._uplink is None:
            return
        seq = self._uplink.ask(look.track, jpeg, look.crop.landmarks, look.quality)
        if seq is not None:
            self._metrics.asked.inc()
            self._book.asked(seq, look.track, time.monotonic())

    def report(self, report: Report) -> bool:
        """Tell the hub how the node fares, if a session stands."""
        return self._uplink is not None and self._uplink.report(report)

    def _connect(self, settings: HubSettings, name: str) -> Uplink:
        return Uplink(
            address=settings.address,
            keys=load_keypair(Path(settings.key)),
            hub_key=load_public_key(Path(settings.hub_key)),
            name=name,
            on_open=self._on_open,
            on_lost=self._on_lost,
            on_decision=self._on_decision,
            on_revoke=self._on_revoke,
            on_refusal=self._on_refusal,
        )

    def _on_open(self, welcome: Welcome) -> None:
        log.info("hub connected: model %s, mode %s", welcome.model_id, welcome.mode)
        self._told_reason = ""
        self._book.opened()
        self._metrics.hub_connected.set(1)
        self._opened.set()

    def _on_lost(self, reason: str) -> None:
        self._book.lost()
        self._metrics.hub_connected.set(0)
        if reason != self._told_reason:  # once, not at every attempt
            log.warning("no hub, everyone is veiled: %s", reason)
        self._told_reason = reason

    def _on_decision(self, decision: FaceDecision, now: float) -> None:
        counts = self._book.answered(decision, now)
        outcome = "stale" if not counts else "reveal" if decision.reveal else "veil"
        self._metrics.decisions.labels(outcome).inc()

    def _on_revoke(self, revoke: Revoke, now: float) -> None:
        self._book.revoked(revoke)
        self._metrics.decisions.labels("revoke").inc()

    def _on_refusal(self, refusal: Refusal, now: float) -> None:
        self._book.gave_up(refusal.seq)
        self._metrics.decisions.labels("refused").inc()
