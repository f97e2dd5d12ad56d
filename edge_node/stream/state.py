"""What the live page is told: plain values, made by the node's wiring, turned into JSON here. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge_node.frames import MaskedFrame


@dataclass(frozen=True, slots=True)
class LinkState:
    """A camera or a hub, as the page shows it."""

    state: str
    """Camera: opening, live, lost, ended, failed. Hub: connecting, connected, lost, off."""
    text: str
    """One sentence for people; no credentials."""
    since: float
    """Monotonic seconds at which this state began."""


@dataclass(frozen=True, slots=True)
class NodeState:
    """What only the node's wiring knows."""

    node: str
    camera: LinkState
    hub: LinkState
    latency_ms: tuple[float, float, float]
    """p50, p95, p99 from capture to masked frame; zeros before the first."""
    started: float
    """Monotonic seconds."""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the node does its work."""

    is_well: bool
    reason: str
    """One sentence."""


def state_json(
    state: NodeState, newest: MaskedFrame | None, viewers: int, now: float, *, with_names: bool = True
) -> dict[str, Any]:
    """The body of /state and of each event. Names appear only for faces that the picture shows, and empty
    for whoever may not see them."""
    return {
        "node": state.node,
        "uptime_s": round(now - state.started, 1),
        "camera": _link(state.camera, now),
        "hub": _link(state.hub, now),
        "picture": None if newest is None else _picture(newest, now, with_names=with_names),
        "latency_ms": dict(zip(("p50", "p95", "p99"), (round(v) for v in state.latency_ms), strict=True)),
        "viewers": viewers,
    }


def _link(link: LinkState, now: float) -> dict[str, Any]:
    return {"state": link.state, "text": link.text, "since_s": round(max(0.0, now - link.since), 1)}


def _picture(frame: MaskedFrame, now: float, *, with_names: bool) -> dict[str, Any]:
    height, width = frame.image.shape[:2]
    return {
        "seq": frame.seq,
        "width": width,
        "height": height,
        "age_s": round(max(0.0, now - frame.captured_at), 2),
        "reason": frame.reason.value,
        "fully_veiled": frame.fully_veiled,
        "shown": [{"track": face.track, "name": face.name if with_names else ""} for face in frame.shown],
        "veiled": frame.veiled_count,
    }
