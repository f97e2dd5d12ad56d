"""[I/O] The log from its newest record backwards, a page at a time, for people to look through.

Reads what the head has signed for and believes it: the chain is checked by `veilcast-hub audit verify`, which
reads everything. Blocking, bounded by MAX_SCANNED records a call. Used by `hub.web.activity`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hub.audit.chain import record_of
from hub.audit.files import AuditFiles, lines_of

Record = dict[str, Any]
Sort = Literal["shown", "people", "access", "system"]
MAX_SCANNED = 200_000
"""Records looked at for one page, about a second of work; a page that found less says where to go on."""
PEOPLE_ACTS = frozenset({
    "add-person", "remove-person", "grant-consent", "withdraw-consent", "export-person", "show-person",
    "list-people", "show-receipt", "start-visitors", "list-visitors", "stop-visitors", "enrol-visitor",
    "forget-visitors",
})  # fmt: skip
SYSTEM_ACTS = frozenset({"let-in", "shut-out", "set-threshold", "show-likeness"})
SYSTEM_KINDS = frozenset({"hub-start", "hub-stop", "retention", "recovered"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records are asked for; what is empty or None does not limit."""

    sort: Sort | None = None
    act: str = ""
    identity: str = ""
    camera: str = ""
    since: float | None = None
    until: float | None = None
    """UTC epoch seconds; a reveal counts by its end."""
    before: int | None = None
    """Records with smaller numbers: where the last page ended."""


@dataclass(frozen=True, slots=True)
class Page:
    """Records, newest first, and where the next page begins; None where nothing is left."""

    records: tuple[Record, ...]
    next_before: int | None
    total: int
    """Records that the log's head signs for."""


def sort_of(record: Record) -> Sort | None:
    """Under which heading a record is listed; None where it is not (checkpoints, what an act announced)."""
    kind = record["kind"]
    if kind in ("reveal-start", "reveal-end"):
        return "shown"
    if kind in SYSTEM_KINDS:
        return "system"
    if kind != "act":
        return None
    what = record["what"]
    return "people" if what in PEOPLE_ACTS else "system" if what in SYSTEM_ACTS else "access"


def newest(
    files: AuditFiles, public: Ed25519PublicKey, wanted: Wanted, limit: int, going_on: Collection[str]
) -> Page:
    """One page. `going_on`: ids of the reveals that last; the others are told by their end alone.

    Raises AuditError, SealError.
    """
    head = files.read_head(public)
    count = head.count if head is not None else 0
    top = count if wanted.before is None else min(count, wanted.before - 1)
    found: list[Record] = []
    for scanned, record in enumerate(_backwards(files, top, _might_be(wanted)), 1):
        if wanted.since is not None and record["at"] < wanted.since:
            return Page(tuple(found), None, count)
        if _is_wanted(record, wanted, going_on):
            found.append(record)
        if len(found) >= limit or scanned >= MAX_SCANNED:
            return Page(tuple(found), record["n"] if record["n"] > 1 else None, count)
    return Page(tuple(found), None, count)


def _might_be(wanted: Wanted) -> Callable[[bytes], bool]:
    """Quickly, on a line: False only where its record is surely not asked for."""
    needed = [text.encode() for text in (wanted.identity, wanted.camera) if text]
    return lambda line: all(text in line for text in needed)


def _backwards(files: AuditFiles, top: int, might_be: Callable[[bytes], bool]) -> Iterator[Record]:
    for first, path in reversed(files.segments()):
        if first > top:
            continue
        lines = [line for line in lines_of(path) if line.endswith(b"\n")][: top - first + 1]
        for line in reversed(lines):
            if might_be(line):
                yield record_of(line)


def _is_wanted(record: Record, wanted: Wanted, going_on: Collection[str]) -> bool:
    sort = sort_of(record)
    if sort is None or (wanted.sort is not None and sort != wanted.sort):
        return False
    if record["kind"] == "reveal-start" and record["reveal"] not in going_on:
        return False
    if wanted.until is not None and record["at"] >= wanted.until:
        return False
    if wanted.act and record.get("what") != wanted.act:
        return False
    if wanted.identity and record.get("identity") != wanted.identity:
        return False
    cameras = record.get("cameras", ())
    return not wanted.camera or record.get("camera") == wanted.camera or wanted.camera in cameras
