"""What the node says about itself: camera, hub, delays, health. For the live page and /healthz.

Pure but for reading the metrics; written by `edge_node.node` from the capture thread (camera) and the
event loop (all else), each replacing one immutable value.
"""

from __future__ import annotations

from collections.abc import Callable

from edge_node.metrics import Metrics
from edge_node.stream.state import Health, LinkState, NodeState
from edge_node.uplink import LinkState as HubLink


class NodeStatus:
    """`hub` gives the uplink's state, or None where the node runs without a hub."""

    def __init__(
        self, name: str, metrics: Metrics, hub: Callable[[], HubLink | None], started: float
    ) -> None:
        self._name = name
        self._metrics = metrics
        self._hub = hub
        self._started = started
        self.camera = LinkState("opening", "The camera is being opened.", started)

    def state(self) -> NodeState:
        """What the page shows."""
        delays = self._metrics.delays()
        return NodeState(
            self._name, self.camera, self._hub_link(), (delays.p50_ms, delays.p95_ms, delays.p99_ms),
            self._started,
        )  # fmt: skip

    def health(self) -> Health:
        """Well while pictures come; without a hub everyone is veiled, which is no fault of the node."""
        if self.camera.state not in ("live", "opening"):
            return Health(False, f"camera {self.camera.state}: {self.camera.text}")
        hub = self._hub_link()
        return Health(True, "ok" if hub.state in ("connected", "off") else f"everyone is veiled: {hub.text}")

    def _hub_link(self) -> LinkState:
        link = self._hub()
        if link is None:
            return LinkState("off", "This node runs without a hub: everyone is veiled.", self._started)
        if link.connected:
            words = f"Model {link.model_id}, mode {link.mode}. {link.notice}".rstrip()
            return LinkState("connected", words, link.since)
        state = "connecting" if link.reason == "connecting" else "lost"
        return LinkState(state, link.reason, link.since)
