"""[I/O] When somebody was shown: the audit log's answer for subject access. Used by `hub.subjects`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hub.audit.chain import record_of
from hub.audit.files import AuditFiles
from hub.audit.query import Filter, Interval, intervals
from hub.audit.reading import FolderSource, Reading


class ShownInLog:
    """Reads the log of a state folder from the start at each call; beside a running hub as well."""

    def __init__(self, state: Path, public: Ed25519PublicKey) -> None:
        self._files = AuditFiles(state)
        self._public = public

    def intervals(self, identity: str, since: float | None = None) -> list[Interval]:
        """Every reveal of an identity that the log knows, oldest first. Blocking. Raises AuditError.

        since: UTC epoch seconds; reveals that ended before are left out.
        """
        reading = Reading(FolderSource(self._files, self._public), self._public)
        wanted = Filter(identity=identity, since=since)
        records = (record_of(line) for line in reading.lines() if wanted.might_take(line))
        return sorted(intervals(records, wanted), key=lambda i: i.start)

    def shown_intervals(self, identity: str, since: float | None = None) -> list[dict[str, Any]]:
        """The same as JSON values."""
        return [interval.to_json() for interval in self.intervals(identity, since)]
