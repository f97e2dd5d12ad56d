"""[I/O] The audit log's one writer: appends groups of records, durably, and recovers after a crash.

A group counts when its lines are on the disk and the head that signs for them is: only then `append` returns.
What stands behind the signed head was never acknowledged: it is cut off at the next start, and the start
says so. Blocking; `hub.audit.desk` calls it in one thread. `_write` is a method of its own for tests.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.audit.chain import MAX_LINE_BYTES, Checker, Record, Tip, extend_all, record_of, tip_before
from hub.audit.errors import AuditError
from hub.audit.files import AuditFiles, Head, Stub, lock, write_all
from hub.secret_files import sync_folder

SEGMENT_BYTES = 16 * 2**20
SEGMENT_S = 86_400.0
"""A segment holds a day at most, so that dropping old days has something to drop."""
OPEN_KEYS = ("reveal", "node", "camera", "session", "track", "identity", "start")
"""What a segment's first record tells of each open reveal: enough to write its end."""
SEE = "run: veilcast-hub audit verify"


@dataclass(frozen=True, slots=True)
class Recovery:
    """What the writer found when it opened the log."""

    is_new: bool = False
    torn_bytes: int = 0
    """Behind the signed head, cut off."""
    torn_sha256: str = ""
    open_reveals: tuple[dict[str, Any], ...] = ()
    """Not ended when the hub went away; see OPEN_KEYS."""
    horizon: float = 0.0
    """None of them lasted longer (UTC epoch seconds)."""

    @property
    def record(self) -> dict[str, Any]:
        """For the record of the hub's start."""
        torn = {"torn_bytes": self.torn_bytes, "torn_sha256": self.torn_sha256} if self.torn_bytes else {}
        return {"unended": len(self.open_reveals), **torn}


@dataclass(slots=True)
class _Segment:
    path: Path
    descriptor: int
    size: int
    began: float


class AuditLog:
    """Open from construction to `close`; a second writer is refused."""

    def __init__(
        self, state: Path, key: Ed25519PrivateKey, wall: float, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        """Raises AuditError where the log cannot be used or does not hold."""
        self._files = AuditFiles(state)
        self._key = key
        self._segment_bytes = segment_bytes
        self._segment: _Segment | None = None
        self._open: dict[str, dict[str, Any]] = {}
        self._is_dirty = False
        self._tip, self._horizon = Tip(), 0.0
        try:
            self._files.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise AuditError(f"{self._files.folder}: cannot be made: {exc.strerror}") from exc
        self._lock = lock(self._files.folder)
        try:
            self.recovered = self._recover(wall)
        except BaseException:
            self.close()
            raise

    @property
    def tip(self) -> Tip:
        """The end of what is acknowledged."""
        return self._tip

    @property
    def horizon(self) -> float:
        """Up to when leases may last without another write (UTC epoch seconds)."""
        return self._horizon

    def append(self, records: Sequence[Record], wall: float, horizon: float = 0.0) -> None:
        """Write the records, sign for them, and promise that no lease lasts beyond `horizon`.

        All or nothing. Raises AuditError where that is not possible; ValueError for what JSON cannot hold.
        """
        horizon = max(horizon, self._horizon)
        try:
            self._undo()
            is_new = bool(records) and self._is_due(wall)
            open_reveals = list(self._open.values()) if is_new else None
            tip, lines = extend_all(self._tip, records, self._key, wall, open_reveals)
            if records:
                self._write_lines(lines, is_new, wall)
            self._files.write_head(self._key, Head(tip.count, tip.hash, wall, horizon))
        except OSError as exc:
            if self._is_dirty and self._is_signed(tip):  # the last step alone has failed
                self._commit(tip, lines, records, horizon)
            with suppress(OSError):  # else the next attempt begins with it
                self._undo()
            raise AuditError(f"the audit log cannot be written: {exc.strerror}") from exc
        self._commit(tip, lines, records, horizon)

    def retain(self, before: float, wall: float) -> int:
        """Drop the segments that ended before a time, leaving a signed stub; how many records went.

        Raises AuditError. The segment that is written to stays.
        """
        segments = self._files.segments()
        stub = self._files.read_stub(self._key.public_key())
        last = 0
        for following, path in segments[1:]:
            if following > self._tip.count:  # left by an attempt that failed
                break
            tip, at = self._start_of(path)
            if at >= before:
                break
            last, last_hash = following - 1, tip.hash
        if not last or (stub is not None and stub.count >= last):
            self._drop(segments, stub.count if stub else 0)
            return 0
        gone = last - (stub.count if stub else 0)
        # The stub first: where this ends half-way, reading knows both beginnings.
        try:
            self._files.write_stub(self._key, Stub(last, last_hash, wall))
        except OSError as exc:
            raise AuditError(f"the audit log's stub cannot be written: {exc.strerror}") from exc
        self.append([{"kind": "retention", "at": wall, "through": last, "hash": last_hash}], wall)
        self._drop(segments, last)
        return gone

    def close(self) -> None:
        """Let go of the files."""
        if self._segment is not None:
            os.close(self._segment.descriptor)
            self._segment = None
        os.close(self._lock)

    # --- writing ------------------------------------------------------------------------------

    def _is_due(self, wall: float) -> bool:
        segment = self._segment
        return segment is None or segment.size >= self._segment_bytes or wall - segment.began >= SEGMENT_S

    def _write_lines(self, lines: bytes, is_new: bool, wall: float) -> None:
        if is_new:
            self._begin_segment(wall)
        segment = self._segment
        assert segment is not None, "the first write begins one"
        self._is_dirty = True
        self._write(segment.descriptor, lines)
        os.fsync(segment.descriptor)

    def _write(self, descriptor: int, data: bytes) -> None:
        write_all(descriptor, data)

    def _begin_segment(self, wall: float) -> None:
        path = self._files.segment(self._tip.count + 1)
        # Left by an attempt that failed before: it was never signed for.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            sync_folder(path.parent)
        except OSError:
            os.close(descriptor)
            raise
        if self._segment is not None:
            os.close(self._segment.descriptor)
        self._segment = _Segment(path, descriptor, 0, wall)

    def _undo(self) -> None:
        """Take back what a failed attempt has left."""
        if self._is_dirty and self._segment is not None:
            os.ftruncate(self._segment.descriptor, self._segment.size)
            if not self._segment.size:
                # Empty: it begins anew, so that its first record is a checkpoint.
                os.close(self._segment.descriptor)
                self._segment = None
            self._is_dirty = False

    def _commit(self, tip: Tip, lines: bytes, records: Sequence[Record], horizon: float) -> None:
        self._is_dirty = False
        if self._segment is not None:
            self._segment.size += len(lines)
        self._tip, self._horizon = tip, horizon
        for record in records:
            self._follow(record)

    def _is_signed(self, tip: Tip) -> bool:
        """The head on the disk signs for this end."""
        head = self._files.read_head(self._key.public_key())
        return head is not None and (head.count, head.hash) == (tip.count, tip.hash)

    def _follow(self, record: Record) -> None:
        if record["kind"] == "reveal-start":
            known = {**record, "start": record["at"]}
            self._open[record["reveal"]] = {name: known[name] for name in OPEN_KEYS}
        elif record["kind"] == "reveal-end":
            self._open.pop(record["reveal"], None)

    def _drop(self, segments: list[tuple[int, Path]], last: int) -> None:
        for (_, path), (following, _) in pairwise(segments):
            if following - 1 <= last:
                try:
                    path.unlink(missing_ok=True)
                except OSError as exc:
                    raise AuditError(f"{path}: cannot be removed: {exc.strerror}") from exc

    # --- opening ------------------------------------------------------------------------------

    def _recover(self, wall: float) -> Recovery:
        head = self._files.read_head(self._key.public_key())
        segments = self._files.segments()
        if head is None:
            if segments:
                raise AuditError(
                    f"the audit log has lost its head {self._files.head}: bring it back, or {SEE}"
                )
            try:
                self._files.write_head(self._key, Head(0, self._tip.hash, wall, 0.0))
            except OSError as exc:
                raise AuditError(f"{self._files.head}: cannot be written: {exc.strerror}") from exc
            return Recovery(is_new=True)
        self._horizon = head.horizon
        behind = [path for first, path in segments if first > head.count]
        inside = [(first, path) for first, path in segments if first <= head.count]
        torn = b"".join(self._tail(path, 0) for path in behind)
        if head.count:
            if not inside:
                raise AuditError(f"the audit log ends before its signed head (record {head.count}); {SEE}")
            torn = self._open_last(inside[-1][1], head) + torn
        self._cut(behind)
        sha256 = hashlib.sha256(torn).hexdigest() if torn else ""
        return Recovery(False, len(torn), sha256, tuple(self._open.values()), head.horizon)

    def _open_last(self, path: Path, head: Head) -> bytes:
        """Check the segment that holds the last signed record, and cut it there; what was cut."""
        tip, began = self._start_of(path)
        checker = Checker(self._key.public_key(), tip)
        size = 0
        try:
            with path.open("rb") as file:
                while checker.tip.count < head.count:
                    line = file.readline(MAX_LINE_BYTES)
                    if not line or not checker.take(line):
                        raise AuditError(
                            f"the audit log was cut or changed near record {checker.tip.count + 1}; {SEE}"
                        )
                    size += len(line)
                    self._take(record_of(line))
        except OSError as exc:
            raise AuditError(f"{path}: cannot be read: {exc.strerror}") from exc
        if checker.tip.hash != head.hash:
            raise AuditError(f"the audit log does not end in what its head signs for; {SEE}")
        torn = self._tail(path, size)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            self._segment = _Segment(path, descriptor, size, began)
            if torn:
                os.ftruncate(descriptor, size)
                os.fsync(descriptor)
        except OSError as exc:
            raise AuditError(f"{path}: cannot be written: {exc.strerror}") from exc
        self._tip = checker.tip
        return torn

    def _take(self, record: dict[str, Any]) -> None:
        for reveal in record.get("open", ()):
            self._open[reveal["reveal"]] = reveal
        self._follow(record)

    def _start_of(self, path: Path) -> tuple[Tip, float]:
        """The chain before a segment, and when the segment was begun."""
        try:
            with path.open("rb") as file:
                line = file.readline(MAX_LINE_BYTES)
        except OSError as exc:
            raise AuditError(f"{path}: cannot be read: {exc.strerror}") from exc
        tip = tip_before(line, self._key.public_key())
        if tip is None:
            raise AuditError(f"{path}: its first record was changed; {SEE}")
        return tip, float(record_of(line)["at"])

    def _tail(self, path: Path, size: int) -> bytes:
        """What stands behind, of bounded size: one group and what a failed attempt may have left."""
        try:
            with path.open("rb") as file:
                file.seek(size)
                return file.read(4 * MAX_LINE_BYTES)
        except OSError as exc:
            raise AuditError(f"{path}: cannot be read: {exc.strerror}") from exc

    def _cut(self, paths: Sequence[Path]) -> None:
        for path in paths:
            try:
                path.unlink()
            except OSError as exc:
                raise AuditError(f"{path}: cannot be removed: {exc.strerror}") from exc


def new_run() -> str:
    """Sets the reveals of one run of the hub apart from those of any other."""
    return secrets.token_hex(6)
