"""[I/O] The log as one file to hand on: its lines as they are, then the signed head. Read back by `Reading`.

The first line holds the stub where old segments were dropped, the last the head and the public key. Used by
`veilcast-hub audit export` and `verify --export`.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from hub.audit.chain import MAX_LINE_BYTES
from hub.audit.errors import AuditError
from hub.audit.files import HEAD_KIND, STUB_KIND, Head, Stub, head_document, lines_of, stub_document
from hub.audit.reading import Reading
from hub.audit.seal import canonical, unsealed
from hub.signing import public_bytes


def write_export(path: Path, reading: Reading, key: Ed25519PrivateKey) -> int:
    """Write what the reading believes to a new file (mode 0600); how many records. Raises AuditError."""
    draft = path.with_name(path.name + ".part")
    count = 0
    try:
        if path.exists():
            raise AuditError(f"{path}: is there already and is not overwritten")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            if reading.stub is not None:
                file.write(canonical({"stub": stub_document(key, reading.stub)}) + b"\n")
            for line in reading.lines():
                file.write(line)
                count += 1
            last = {
                "head": head_document(key, reading.head),
                "public_key": base64.b64encode(public_bytes(key)).decode(),
            }
            file.write(canonical(last) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    except OSError as exc:
        raise AuditError(f"{path}: cannot be written: {exc.strerror}") from exc
    finally:
        draft.unlink(missing_ok=True)
    return count


class ExportSource:
    """An export, to be read as the log it was."""

    def __init__(self, path: Path, public: Ed25519PublicKey) -> None:
        """Raises AuditError where the file is no export."""
        self._path = path
        self._public = public
        self._first, self._last, self._last_at = _ends(path)
        if "head" not in self._last:
            raise AuditError(f"{path}: no export of an audit log, or cut off: its last line holds no head")

    def head(self) -> Head:
        """Raises SealError."""
        body = unsealed(self._public, dict(self._last["head"]), HEAD_KIND)
        return Head(int(body["count"]), str(body["hash"]), float(body["at"]), float(body["horizon"]))

    def stub(self) -> Stub | None:
        """Raises SealError."""
        if "stub" not in self._first:
            return None
        body = unsealed(self._public, dict(self._first["stub"]), STUB_KIND)
        return Stub(int(body["count"]), str(body["hash"]), float(body["at"]))

    def lines(self, after: int) -> Iterator[bytes]:
        """All lines between; `after` is where the stub ends."""
        at = 0
        for line in lines_of(self._path):
            at += len(line)
            if at > self._last_at:
                return
            if at > len(line) or "stub" not in self._first:
                yield line


def named_key(path: Path) -> Ed25519PublicKey:
    """The public key that an export names: worth what its bearer is worth. Raises AuditError."""
    _, last, _ = _ends(path)
    return public_key(str(last.get("public_key", "")))


def key_in(path: Path) -> Ed25519PublicKey:
    """The public key in a file that `veilcast-hub receipt key` wrote. Raises AuditError."""
    try:
        with path.open() as file:
            text = file.read(1_024)
    except (OSError, UnicodeDecodeError) as exc:
        raise AuditError(f"{path}: cannot be read") from exc
    return public_key(text)


def public_key(text: str) -> Ed25519PublicKey:
    """A public key from its Base64. Raises AuditError."""
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text.strip(), validate=True))
    except ValueError as exc:
        raise AuditError("not a public key; veilcast-hub receipt key prints one") from exc


def _ends(path: Path) -> tuple[dict[str, Any], dict[str, Any], int]:
    """First and last line as JSON objects (empty where they are none), and where the last begins."""
    try:
        with path.open("rb") as file:
            first = file.readline(MAX_LINE_BYTES)
            size = file.seek(0, os.SEEK_END)
            start = max(0, size - MAX_LINE_BYTES)
            file.seek(start)
            tail = file.read()
    except OSError as exc:
        raise AuditError(f"{path}: cannot be read: {exc.strerror}") from exc
    at = tail.rstrip(b"\n").rfind(b"\n") + 1
    return _object(first), _object(tail[at:]), start + at


def _object(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
