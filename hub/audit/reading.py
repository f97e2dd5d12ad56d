"""[I/O] Reading the log: every record that the hub has signed for, checked on the way.

Needs no lock and no secret; works beside a running hub, on the state folder or on an export. What stands
behind the signed head is counted and not believed. Used by the commands and for subject access.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hub.audit.chain import Checker, Problem, record_of
from hub.audit.errors import AuditError
from hub.audit.files import AuditFiles, Head, Stub, lines_of, start_of

HEAD_TRIES, HEAD_WAIT_S = 10, 0.1
"""A hub that runs signs within milliseconds for what it has written."""


class Source(Protocol):
    """Where a log is: lines in order, and the documents that say where it begins and ends."""

    def head(self) -> Head | None: ...

    def stub(self) -> Stub | None: ...

    def lines(self, after: int) -> Iterator[bytes]:
        """The lines of the segments behind a record's number. Raises AuditError."""
        ...


class FolderSource:
    """The log of a hub, which may run meanwhile."""

    def __init__(self, files: AuditFiles, public: Ed25519PublicKey) -> None:
        self._files = files
        self._public = public

    def head(self) -> Head | None:
        return self._files.read_head(self._public)

    def stub(self) -> Stub | None:
        return self._files.read_stub(self._public)

    def lines(self, after: int) -> Iterator[bytes]:
        while True:
            # Listed anew after each: a hub that runs begins segments.
            found = next(((first, path) for first, path in self._files.segments() if first > after), None)
            if found is None:
                return
            after, path = found
            yield from lines_of(path)


class Reading:
    """One reading of a log. `problems` and what else it found are whole after the last record."""

    def __init__(self, source: Source, public: Ed25519PublicKey, wanted: str = "") -> None:
        """`wanted` is a hash that must occur in the log. Raises AuditError, SealError."""
        self._source = source
        head = source.head()
        if head is None:
            raise AuditError(
                "there is no signed head of an audit log here: not a hub's state folder, or removed"
            )
        self.head = head
        self.stub = source.stub()
        self._checker = Checker(public, start_of(self.stub))
        self._wanted = wanted
        self.is_wanted_found = False
        self.first = self._checker.tip.count + 1
        """The oldest record that is kept."""
        self.checked = 0
        self.unsigned = 0
        """Whole records behind the signed head."""
        self.torn_bytes = 0
        """Of an incomplete line behind the signed head."""

    @property
    def problems(self) -> list[Problem]:
        return self._checker.problems

    def records(self) -> Iterator[dict[str, Any]]:
        """Every record that holds, in order. Raises AuditError where the log cannot be read."""
        for line in self.lines():
            yield record_of(line)

    def lines(self) -> Iterator[bytes]:
        """The same as lines."""
        self._look_for_wanted()
        lines = self._source.lines(self._checker.tip.count)
        for line in lines:
            if self._checker.tip.count >= self.head.count and not self._has_grown():
                self._count_unsigned(line)
                for more in lines:
                    self._count_unsigned(more)
                break
            self.checked += 1
            is_good = self._checker.take(line)
            self._look_for_wanted()
            if is_good:
                yield line
        self._checker.conclude(self.head.count, self.head.hash)

    def verify(self) -> None:
        """Read everything; then `problems` says what does not hold."""
        for _ in self.lines():
            pass

    def _look_for_wanted(self) -> None:
        if self._wanted and self._checker.tip.hash == self._wanted:
            self.is_wanted_found = True

    def _has_grown(self) -> bool:
        """A hub that runs has signed for more meanwhile."""
        for _ in range(HEAD_TRIES):
            head = self._source.head()
            if head is not None and head.count > self.head.count:
                # The old head is a promise that the new one must keep.
                if self._checker.tip.count == self.head.count:
                    self._checker.conclude(self.head.count, self.head.hash)
                self.head = head
                return True
            time.sleep(HEAD_WAIT_S)
        return False

    def _count_unsigned(self, line: bytes) -> None:
        if line.endswith(b"\n"):
            self.unsigned += 1
        else:
            self.torn_bytes += len(line)
