"""Which faces are shown at this moment, and the records that say when that began and ended. Pure.

Owned by `hub.audit.desk`, in the event loop. Takes what the hub decides and hears, with `now` (monotonic
seconds) and `wall` (UTC epoch seconds); returns the records to be written. A node counts a lease from its
question, which is before the hub counts it: no face is shown longer than `latest`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hub.policy import Verdict

Record = dict[str, Any]
Track = tuple[bytes, int]
"""Session and track."""

MAX_OPEN = 4_096
"""Faces shown at once by all nodes; no more are granted. As many tracks as evidence remembers."""


class Moment(NamedTuple):
    """The same instant on both clocks."""

    now: float
    wall: float

    def on_wall(self, then: float) -> float:
        """A monotonic time as UTC epoch seconds."""
        return self.wall + then - self.now


@dataclass(frozen=True, slots=True)
class Shown:
    """A face that may be shown now."""

    reveal: str
    camera: str
    identity: str
    """Empty where the camera shows everyone who is not on its list."""


@dataclass(slots=True)
class _Open:
    reveal: str
    facts: Record
    started_wall: float
    ends: float
    """Monotonic: when the latest lease ends."""
    least: float
    """The lowest similarity of a decision."""
    decisions: int = 1


@dataclass(slots=True)
class Reveals:
    """All open reveals. `run` sets the ids of this run of the hub apart from those of others."""

    run: str
    _open: dict[Track, _Open] = field(default_factory=dict)
    _made: int = 0
    _last_end: float = 0.0

    def __len__(self) -> int:
        return len(self._open)

    def shown(self, now: float) -> list[Shown]:
        """Every reveal whose lease lasts."""
        return [
            Shown(found.reveal, found.facts["camera"], found.facts["identity"])
            for found in self._open.values()
            if now < found.ends
        ]

    def reveal_of(self, track: Track) -> str:
        """The id of a track's open reveal; empty where there is none."""
        found = self._open.get(track)
        return found.reveal if found is not None else ""

    def granted(
        self, track: Track, camera: str, mode: str, verdict: Verdict, at: Moment
    ) -> tuple[list[Record], list[Record]]:
        """A revealing decision: what ended before it, and what must be written before it is sent.

        Raises ValueError beyond MAX_OPEN.
        """
        records = self._expire(track, at)
        found = self._open.get(track)
        ends = at.now + verdict.lease_s
        self._last_end = max(self._last_end, ends)
        if found is not None:
            same = (found.facts["identity"], found.facts["consent"]) == (verdict.identity, verdict.consent)
            if same:
                found.ends = max(found.ends, ends)
                found.least = min(found.least, verdict.similarity)
                found.decisions += 1
                return records, []
            records += self._end(track, "another person or consent", at)
        if len(self._open) >= MAX_OPEN:
            raise ValueError("too many reveals at once")
        self._made += 1
        reveal = f"{self.run}-{self._made}"
        facts = {
            "reveal": reveal, "node": camera, "camera": camera, "session": track[0].hex()[:8],
            "track": track[1], "mode": mode, "identity": verdict.identity, "consent": verdict.consent,
            "similarity": round(verdict.similarity, 4), "margin": round(verdict.margin, 4),
            "threshold": round(verdict.threshold, 4), "gallery_version": verdict.gallery_version,
        }  # fmt: skip
        self._open[track] = _Open(reveal, facts, at.wall, ends, verdict.similarity)
        return records, [{"kind": "reveal-start", "at": _ms(at.wall), **facts}]

    def veiled(self, track: Track, cause: str, at: Moment) -> list[Record]:
        """A decision to veil the track."""
        return self._expire(track, at) or self._end(track, cause, at)

    def revoked(
        self, session: bytes, tracks: Iterable[int], identities: Iterable[str], cause: str, at: Moment
    ) -> list[Record]:
        """What a Revoke ends; naming neither tracks nor identities, everything of the session."""
        tracks, identities = frozenset(tracks), frozenset(identities)
        everything = not tracks and not identities
        hit = [
            key for key, found in self._open.items()
            if key[0] == session
            and (everything or key[1] in tracks or found.facts["identity"] in identities)
        ]  # fmt: skip
        return [record for key in hit for record in self.veiled(key, cause, at)]

    def lost(self, session: bytes, at: Moment) -> list[Record]:
        """The session is over. The node may be out of reach and show until its leases end."""
        hit = [key for key in self._open if key[0] == session]
        return [r for key in hit for r in self._end(key, "session lost", at, at_lease_end=True)]

    def expired(self, at: Moment) -> list[Record]:
        """What ended by its lease."""
        return [record for key in list(self._open) for record in self._expire(key, at)]

    def stopped(self, at: Moment) -> list[Record]:
        """The hub says goodbye to all nodes: they veil everyone."""
        return [record for key in list(self._open) for record in self.veiled(key, "hub stopped", at)]

    def forget(self, reveal: str) -> None:
        """A reveal that could not be recorded was not granted."""
        for key, found in list(self._open.items()):
            if found.reveal == reveal:
                del self._open[key]

    def latest(self, at: Moment) -> float:
        """No lease that was granted lasts longer (wall); 0 where nobody is shown."""
        return at.on_wall(self._last_end) if self._open else 0.0

    def _expire(self, track: Track, at: Moment) -> list[Record]:
        found = self._open.get(track)
        if found is None or at.now < found.ends:
            return []
        return self._end(track, "lease expired", at, at_lease_end=True)

    def _end(self, track: Track, cause: str, at: Moment, *, at_lease_end: bool = False) -> list[Record]:
        found = self._open.pop(track, None)
        if found is None:
            return []
        latest = max(found.started_wall, at.on_wall(found.ends))
        end = latest if at_lease_end else max(found.started_wall, min(at.wall, latest))
        return [
            end_record(
                found.facts, found.started_wall, end, latest, cause, at.wall,
                decisions=found.decisions, least_similarity=round(found.least, 4),
            )
        ]  # fmt: skip


def end_record(
    facts: Record, start: float, end: float, latest: float, cause: str, wall: float, **more: object
) -> Record:
    """A reveal's end. `end`: when the hub ended it; `latest`: when a node out of reach did so by itself."""
    named = {name: facts[name] for name in ("reveal", "node", "camera", "session", "track", "identity")}
    return {
        "kind": "reveal-end", "at": _ms(wall), **named,
        "start": _ms(start), "end": _ms(end), "latest": _ms(latest), "cause": cause, **more,
    }  # fmt: skip


def _ms(seconds: float) -> float:
    return round(seconds, 3)
