"""Questions about the log: when was who shown, under what, and why. Pure, over records in their order.

Used by the commands and for subject access. Holds only the reveals that are open at the point of reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Interval:
    """One reveal: a face that was shown without a break. Times are UTC epoch seconds."""

    reveal: str
    camera: str
    node: str
    track: int
    start: float
    end: float | None
    """When the hub ended it; None while it lasts."""
    latest: float | None
    """No node can have shown it longer, not even one out of reach."""
    cause: str
    """Of the end; empty while it lasts."""
    identity: str
    """Empty where the camera shows everyone who is not on its list."""
    similarity: float
    margin: float
    threshold: float
    consent: str
    gallery_version: int
    mode: str
    record: int
    """Number of the record of its start; 0 where that was dropped."""

    def to_json(self) -> dict[str, Any]:
        """Plain values by field name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which reveals are asked for; what is empty or None does not limit."""

    identity: str = ""
    camera: str = ""
    since: float | None = None
    until: float | None = None
    """Reveals that overlap [since, until)."""

    def takes(self, interval: Interval) -> bool:
        """The interval is asked for."""
        ends = interval.latest if interval.latest is not None else float("inf")
        return (
            (not self.identity or interval.identity == self.identity)
            and (not self.camera or interval.camera == self.camera)
            and (self.since is None or ends >= self.since)
            and (self.until is None or interval.start < self.until)
        )

    def might_take(self, line: bytes) -> bool:
        """Quickly, on a line of the log: False only where its reveal is surely not asked for."""
        return (not self.identity or self.identity.encode() in line) and (
            not self.camera or self.camera.encode() in line
        )


def intervals(records: Iterable[Record], wanted: Filter) -> Iterator[Interval]:
    """The reveals that `wanted` takes: first those that ended, in the order of their ends, then open ones."""
    started: dict[str, Record] = {}
    for record in records:
        if record["kind"] == "reveal-start":
            started[record["reveal"]] = record
        elif record["kind"] == "reveal-end":
            interval = _interval(started.pop(record["reveal"], None), record)
            if wanted.takes(interval):
                yield interval
    for record in started.values():
        interval = _interval(record, None)
        if wanted.takes(interval):
            yield interval


def _interval(start: Record | None, end: Record | None) -> Interval:
    known = start or end or {}
    return Interval(
        reveal=known["reveal"], camera=known["camera"], node=known["node"], track=known["track"],
        start=start["at"] if start else known["start"],
        end=end["end"] if end else None, latest=end["latest"] if end else None,
        cause=end["cause"] if end else "",
        identity=known["identity"], similarity=known.get("similarity", 0.0), margin=known.get("margin", 0.0),
        threshold=known.get("threshold", 0.0), consent=known.get("consent", ""),
        gallery_version=known.get("gallery_version", 0), mode=known.get("mode", ""),
        record=start["n"] if start else 0,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ConsentTerms:
    """What the log says about a consent: when it was recorded, by whose key, and for which cameras."""

    id: str
    granted_at: float
    by: str
    cameras: tuple[str, ...]
    """Empty: every camera."""
    until: float | None


class ConsentBook:
    """Notes the terms of consents while records pass by. Bounded: the consents of one identity."""

    def __init__(self, identity: str) -> None:
        self._identity = identity
        self._terms: dict[str, ConsentTerms] = {}

    def see(self, record: Record) -> Record:
        """Take a record in, and give it back."""
        consent = record.get("consent")
        if (
            record["kind"] == "act"
            and consent
            and record["what"] in ("add-person", "grant-consent", "enrol-visitor")
            and record.get("identity") == self._identity
            and consent not in self._terms
        ):
            self._terms[consent] = ConsentTerms(
                consent, record["at"], record["by"], tuple(record.get("cameras", ())), record.get("until")
            )
        return record

    def terms(self, consent: str) -> ConsentTerms | None:
        """None where the log says nothing of it."""
        return self._terms.get(consent)
