"""From masked frames and the states of camera and hub to what has changed. Pure: `now` in, changes out.

Owns who is here at present. A person who is veiled for a moment has not left, and somebody who walks past
at the picture's edge is no stranger who is present: both take a while, which the settings say. Called by
`events.desk` with one lock held.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_node.events.notices import Change, Kind, Present
from edge_node.frames import MaskedFrame, ReleaseReason

MAX_PEOPLE = 64
"""Persons remembered at a time: more are not in one picture."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds."""

    stranger_after_s: float = 3.0
    """A veiled face must be there for this long, but for moments, to be told of."""
    gone_after_s: float = 5.0
    """Somebody not seen for this long has gone."""


@dataclass(slots=True)
class _Person:
    name: str
    seen_at: float


class Changes:
    """Who is here, and what is up. Time does not go backwards."""

    def __init__(self, patience: Patience, *, has_hub: bool) -> None:
        self._patience = patience
        self._has_hub = has_hub
        self._people: dict[str, _Person] = {}
        self._veiled_since: float | None = None
        self._veiled_at = 0.0
        self._is_stranger_told = False
        self._camera = False
        self._hub = False
        self._was_camera_up = False
        self._was_hub_up = False

    @property
    def present(self) -> Present:
        return Present(len(self._people), self._is_stranger_told, self._camera, self._hub)

    def frame(self, frame: MaskedFrame, now: float) -> list[Change]:
        """A frame has left. One that is veiled in full tells nothing of who is there."""
        if frame.reason is not ReleaseReason.COVERED:
            return self.tick(now)
        changes = []
        for face in frame.shown:
            person = self._people.get(face.identity)
            if person is not None:
                person.seen_at, person.name = now, face.name
            elif face.identity and len(self._people) < MAX_PEOPLE:
                self._people[face.identity] = _Person(face.name, now)
                changes.append(Change(Kind.PERSON_SHOWN, face.identity, face.name))
        if frame.veiled_count:
            self._veiled_at = now
            if self._veiled_since is None:
                self._veiled_since = now
            lasted = now - self._veiled_since >= self._patience.stranger_after_s
            if lasted and not self._is_stranger_told:
                self._is_stranger_told = True
                changes.append(Change(Kind.STRANGER_PRESENT))
        return changes + self.tick(now)

    def tick(self, now: float) -> list[Change]:
        """Time has passed: who has gone."""
        changes = []
        for identity, person in list(self._people.items()):
            if now - person.seen_at >= self._patience.gone_after_s:
                del self._people[identity]
                changes.append(Change(Kind.PERSON_GONE, identity, person.name))
        # Before it is told, a gap of a third of the time already means that nobody stayed.
        limit = self._patience.gone_after_s if self._is_stranger_told else self._patience.stranger_after_s / 3
        if self._veiled_since is not None and now - self._veiled_at >= limit:
            self._veiled_since = None
            if self._is_stranger_told:
                self._is_stranger_told = False
                changes.append(Change(Kind.STRANGER_GONE))
        return changes

    def camera(self, is_up: bool) -> list[Change]:
        """The camera gives pictures, or none. The first pictures after the start are no news."""
        was, self._camera = self._camera, is_up
        was_up, self._was_camera_up = self._was_camera_up, self._was_camera_up or is_up
        if is_up == was:
            return []
        return [Change(Kind.CAMERA_BACK if is_up else Kind.CAMERA_LOST)] if was_up else []

    def hub(self, is_up: bool) -> list[Change]:
        """The same for the hub, where there is to be one."""
        if not self._has_hub:
            return []
        was, self._hub = self._hub, is_up
        was_up, self._was_hub_up = self._was_hub_up, self._was_hub_up or is_up
        if is_up == was:
            return []
        return [Change(Kind.HUB_BACK if is_up else Kind.HUB_LOST)] if was_up else []
