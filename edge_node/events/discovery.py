"""What Home Assistant is told of a node, so that it appears by itself. Pure.

One retained message for the whole device (MQTT discovery with `components`, Home Assistant 2024.11 and
later). Topics are those of `events.mqtt`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from edge_node.events.notices import Kind


@dataclass(frozen=True, slots=True)
class Topics:
    """Where a node's messages go."""

    prefix: str
    node: str

    @property
    def availability(self) -> str:
        """`online` or `offline`, retained; the broker says `offline` when the node is gone."""
        return f"{self.prefix}/{self.node}/availability"

    @property
    def state(self) -> str:
        """The present state as JSON, retained."""
        return f"{self.prefix}/{self.node}/state"

    @property
    def event(self) -> str:
        """Each notice as JSON, not retained."""
        return f"{self.prefix}/{self.node}/event"

    def discovery(self, root: str) -> str:
        return f"{root}/device/{self.device}/config"

    @property
    def device(self) -> str:
        """An id of letters, digits, `_` and `-`, as Home Assistant asks."""
        return "veilcast_" + re.sub(r"[^A-Za-z0-9_-]", "_", self.node)


def announcement(topics: Topics, version: str) -> bytes:
    """The body of the discovery message."""

    def component(key: str, platform: str, name: str, **more: Any) -> dict[str, Any]:
        return {"platform": platform, "unique_id": f"{topics.device}_{key}", "name": name, **more}

    def sensor(key: str, name: str, kind: str, **more: Any) -> dict[str, Any]:
        template = f"{{{{ 'ON' if value_json.{key} else 'OFF' }}}}"
        return component(
            key, "binary_sensor", name, device_class=kind, state_topic=topics.state,
            value_template=template, **more,
        )  # fmt: skip

    body = {
        "device": {
            "identifiers": [topics.device],
            "name": f"Veilcast {topics.node}",
            "manufacturer": "Veilcast",
            "sw_version": version,
        },
        "origin": {"name": "veilcast", "sw_version": version},
        "availability_topic": topics.availability,
        "qos": 1,
        "components": {
            "camera": sensor("camera", "Camera", "connectivity", entity_category="diagnostic"),
            "hub": sensor("hub", "Hub", "connectivity", entity_category="diagnostic"),
            "stranger": sensor("stranger", "Stranger", "occupancy"),
            "people": component(
                "people", "sensor", "People shown", state_topic=topics.state,
                value_template="{{ value_json.people }}", state_class="measurement",
            ),
            "notice": component(
                "notice", "event", "Notice", state_topic=topics.event,
                event_types=[kind.value for kind in Kind],
                value_template="{{ {'event_type': value_json.kind, 'person': value_json.person"
                " | default('')} | to_json }}",
            ),
        },
    }  # fmt: skip
    return json.dumps(body, separators=(",", ":")).encode()
