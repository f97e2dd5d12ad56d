"""What happened, as others are told: kinds, the JSON of one notice, the present state. Pure.

Holds no picture, no box and no track. A name stands in a notice only where the operator has asked for it
(`[events] names`); otherwise a person is the id under which the hub knows them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What can happen. The words are part of the interface: docs/outputs.md."""

    PERSON_SHOWN = "person-shown"
    PERSON_GONE = "person-gone"
    STRANGER_PRESENT = "stranger-present"
    STRANGER_GONE = "stranger-gone"
    CAMERA_LOST = "camera-lost"
    CAMERA_BACK = "camera-back"
    HUB_LOST = "hub-lost"
    HUB_BACK = "hub-back"


@dataclass(frozen=True, slots=True)
class Change:
    """Something began or ended."""

    kind: Kind
    person: str = ""
    """The hub's id of a person, with PERSON_*."""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Present:
    """How things are now."""

    people: int = 0
    """Persons who are shown."""
    stranger: bool = False
    """Somebody veiled has been there for a while."""
    camera: bool = False
    hub: bool = False


@dataclass(frozen=True, slots=True)
class Notice:
    """One change, numbered, ready to be sent."""

    id: str
    """Unique among all notices of all nodes; a notice that is sent twice keeps its id."""
    node: str
    at: datetime
    change: Change
    present: Present

    def as_json(self, with_name: bool) -> bytes:
        """One object, without spaces; see docs/outputs.md for its keys."""
        change = self.change
        body: dict[str, Any] = {
            "id": self.id,
            "node": self.node,
            "kind": change.kind.value,
            "at": self.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        if change.person:
            body["person"] = change.person
        if with_name and change.name:
            body["name"] = change.name
        body |= state_json(self.present)
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def state_json(present: Present) -> dict[str, Any]:
    """The state as JSON's values."""
    return {
        "people": present.people,
        "stranger": present.stranger,
        "camera": present.camera,
        "hub": present.hub,
    }
