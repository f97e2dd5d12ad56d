"""[I/O] Where the log lies on the disk, and its two signed documents: the head and the stub.

`audit/NNNNNNNNNNNN.jsonl` are the segments, named by their first record; `audit.head` says where the log ends
and is kept apart from them, `audit.stub` where it begins since old segments were dropped. Used by
`hub.audit.log` and `hub.audit.reading`.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from hub.audit.chain import GENESIS, MAX_LINE_BYTES, Tip
from hub.audit.errors import AuditError, SealError
from hub.audit.seal import from_bytes, sealed, to_bytes, unsealed
from hub.secret_files import sync_folder
from hub.signing import SIGNING_KEY_FILE

HEAD_KIND, STUB_KIND = "audit-head", "audit-stub"
MAX_DOCUMENT_BYTES = 16_384
"""Head and stub have some hundred bytes."""
NUMBER_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Head:
    """Where the log ends, as the hub has signed it."""

    count: int
    hash: str
    at: float
    horizon: float
    """Nobody was shown after this time (UTC epoch seconds) by what had been granted until `at`."""


@dataclass(frozen=True, slots=True)
class Stub:
    """What is left of segments that were dropped: their last record's number and hash."""

    count: int
    hash: str
    at: float
    """When they were dropped."""


@dataclass(frozen=True, slots=True)
class AuditFiles:
    """All paths, from the hub's state folder."""

    state: Path

    @property
    def folder(self) -> Path:
        return self.state / "audit"

    @property
    def head(self) -> Path:
        return self.state / "audit.head"

    @property
    def stub(self) -> Path:
        return self.state / "audit.stub"

    @property
    def key(self) -> Path:
        return self.state / SIGNING_KEY_FILE

    def segment(self, first: int) -> Path:
        return self.folder / f"{first:0{NUMBER_DIGITS}d}.jsonl"

    def segments(self) -> list[tuple[int, Path]]:
        """First record's number and file of every segment, in order. Raises AuditError."""
        try:
            found = [(int(path.stem), path) for path in self.folder.glob("*.jsonl") if path.stem.isdecimal()]
        except OSError as exc:
            raise AuditError(f"{self.folder}: cannot be read: {exc.strerror}") from exc
        return sorted(found)

    def read_head(self, public: Ed25519PublicKey) -> Head | None:
        """None where there is none. Raises AuditError, SealError."""
        body = _document(self.head, public, HEAD_KIND)
        if body is None:
            return None
        return Head(int(body["count"]), str(body["hash"]), float(body["at"]), float(body["horizon"]))

    def read_stub(self, public: Ed25519PublicKey) -> Stub | None:
        """None where nothing was dropped. Raises AuditError, SealError."""
        body = _document(self.stub, public, STUB_KIND)
        return None if body is None else Stub(int(body["count"]), str(body["hash"]), float(body["at"]))

    def write_head(self, key: Ed25519PrivateKey, head: Head) -> None:
        """Whole or not at all, on the disk when this returns. Raises OSError."""
        replace_file(self.head, to_bytes(head_document(key, head)))

    def write_stub(self, key: Ed25519PrivateKey, stub: Stub) -> None:
        """As `write_head`."""
        replace_file(self.stub, to_bytes(stub_document(key, stub)))


def head_document(key: Ed25519PrivateKey, head: Head) -> Mapping[str, Any]:
    """The head, signed."""
    body = {"count": head.count, "hash": head.hash, "at": head.at, "horizon": head.horizon}
    return sealed(key, {"kind": HEAD_KIND, **body})


def stub_document(key: Ed25519PrivateKey, stub: Stub) -> Mapping[str, Any]:
    """The stub, signed."""
    return sealed(key, {"kind": STUB_KIND, "count": stub.count, "hash": stub.hash, "at": stub.at})


def start_of(stub: Stub | None) -> Tip:
    """Where reading begins."""
    return Tip(0, GENESIS) if stub is None else Tip(stub.count, stub.hash, stub.count)


def lock(folder: Path) -> int:
    """One program writes: a descriptor that holds the lock. Raises AuditError."""
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise AuditError(f"{folder}: cannot be opened: {exc.strerror}") from exc
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(descriptor)
        raise AuditError(
            f"the audit log {folder} is in use: a hub runs on this state folder; stop it first"
        ) from exc
    return descriptor


def replace_file(path: Path, data: bytes) -> None:
    """Write a file (mode 0600) whole or not at all, on the disk when this returns. Raises OSError."""
    draft = path.with_name(f".{path.name}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    draft.rename(path)
    sync_folder(path.parent)


def write_all(descriptor: int, data: bytes) -> None:
    """Raises OSError; then a part may be written."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def lines_of(path: Path) -> Iterator[bytes]:
    """Each with its end, the last perhaps without; over MAX_LINE_BYTES in pieces. Raises AuditError."""
    try:
        with path.open("rb") as file:
            while line := file.readline(MAX_LINE_BYTES):
                yield line
    except OSError as exc:
        raise AuditError(f"{path}: cannot be read: {exc.strerror}; try again") from exc


def _document(path: Path, public: Ed25519PublicKey, kind: str) -> dict[str, Any] | None:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_DOCUMENT_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise AuditError(f"{path}: cannot be read: {exc.strerror}") from exc
    if len(data) > MAX_DOCUMENT_BYTES:
        raise SealError(f"{path}: too large")
    try:
        return unsealed(public, from_bytes(data), kind)
    except SealError as exc:
        raise SealError(f"{path}: {exc}") from exc
