"""The chain: records to lines and back, each line bound to all before it. Pure.

A line is `{"hash":"…","record":{…}}`: JSON, with the hash over the hash before and the exact bytes of the
record. Every `CHECKPOINT_EVERY` records, and first in each segment, stands a checkpoint: a signature over the
chain so far, because a chain by itself can be computed anew by whoever edits it. Used by `hub.audit.log`
to write and by `hub.audit.reading` to read.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from hub.audit.errors import SealError
from hub.audit.seal import canonical, decoded

Record = Mapping[str, Any]
"""What a record says: `kind`, `at` (UTC epoch seconds) and what the kind holds. `n` is added."""

GENESIS = "0" * 64
"""The hash before the first record."""
CHECKPOINT_EVERY = 256
"""Where someone without the key has computed the chain anew, the change is found to so many records."""
MAX_LINE_BYTES = 2_097_152
"""The largest honest record names every open reveal (4,096) at the start of a segment."""
MAX_PROBLEMS = 20
"""Named in one report; after that the log is beyond repair by reading on."""
_HASH_AT, _RECORD_AT = len(b'{"hash":"'), len(b'{"hash":"') + 64 + len(b'","record":')
_SOME_HASH = re.compile(rb'\{"hash":"([0-9a-f]{64})"')
_LINE = re.compile(rb'\{"hash":"[0-9a-f]{64}","record":\{.*\}\}\n', re.DOTALL)


class Tip(msgspec.Struct, frozen=True):
    """The end of a chain: how many records, the last one's hash, the last checkpoint's number."""

    count: int = 0
    hash: str = GENESIS
    checkpoint: int = 0


@dataclass(frozen=True, slots=True)
class Problem:
    """What does not hold, and at which record."""

    number: int
    text: str

    def __str__(self) -> str:
        return f"record {self.number}: {self.text}"


def extend(tip: Tip, record: Record) -> tuple[Tip, bytes]:
    """The chain with one more record, and its line. Raises ValueError for what JSON does not hold."""
    number = tip.count + 1
    body = canonical({**record, "n": number})
    digest = _link(tip.hash, body)
    checkpoint = number if record["kind"] == "checkpoint" else tip.checkpoint
    line = b'{"hash":"' + digest.encode() + b'","record":' + body + b"}\n"
    return Tip(number, digest, checkpoint), line


def extend_all(
    tip: Tip, records: Sequence[Record], key: Ed25519PrivateKey, at: float,
    open_reveals: Sequence[Record] | None,
) -> tuple[Tip, bytes]:  # fmt: skip
    """The chain with more records and their lines, with checkpoints where they are due.

    `open_reveals` is given at the start of a segment, whose first record then names them.
    """
    lines = []
    if open_reveals is not None:
        tip, line = extend(tip, {**_checkpoint(tip, key, at), "open": list(open_reveals)})
        lines.append(line)
    for record in records:
        if tip.count - tip.checkpoint >= CHECKPOINT_EVERY - 1:
            tip, line = extend(tip, _checkpoint(tip, key, at))
            lines.append(line)
        tip, line = extend(tip, record)
        lines.append(line)
    return tip, b"".join(lines)


def record_of(line: bytes) -> dict[str, Any]:
    """The record in a line that was checked."""
    record: dict[str, Any] = msgspec.json.decode(line[_RECORD_AT:-2])
    return record


class _Stem(msgspec.Struct):
    """What checking needs of a record."""

    n: int
    kind: str
    of: str = ""
    signature: str = ""


_stems = msgspec.json.Decoder(_Stem)


@dataclass(slots=True)
class Checker:
    """Reads lines in order, from `tip` on. Where one does not fit it says so and finds its way behind it."""

    public: Ed25519PublicKey
    tip: Tip = field(default_factory=Tip)
    problems: list[Problem] = field(default_factory=list)
    _others: list[Tip] = field(default_factory=list)
    """After lines that did not fit: what the end of the chain may be instead of `tip`; the first is the last
    one that was sure."""

    def take(self, line: bytes) -> bool:
        """Check the next line; False where its content is not to be believed."""
        stem = _stem(line)
        if stem is None:
            return self._lose(line, None, "was changed: it cannot be read")
        body = line[_RECORD_AT:-2]
        digest = line[_HASH_AT : _HASH_AT + 64].decode()
        before = self.tip
        if not _fits(before, stem, digest, body):
            found = next((tip for tip in self._others if _fits(tip, stem, digest, body)), None)
            if found is None:
                return self._lose(line, stem, self._why(stem))
            before = found
        self._others.clear()
        is_checkpoint = stem.kind == "checkpoint"
        self.tip = Tip(stem.n, digest, stem.n if is_checkpoint else before.checkpoint)
        if is_checkpoint:
            return self._is_signed(stem, before)
        if stem.n - before.checkpoint >= CHECKPOINT_EVERY:
            self.tip = Tip(stem.n, digest, stem.n)  # said once
            return self.wrong(stem.n, f"no checkpoint since record {before.checkpoint}: one was removed")
        return True

    def conclude(self, count: int, digest: str) -> None:
        """The last line was read: does the chain end in what was signed?"""
        ends = (self.tip, *self._others)
        if any((tip.count, tip.hash) == (count, digest) for tip in ends):
            return
        if self.tip.count < count:
            self.wrong(self.tip.count + 1, f"cut off: the hub has signed for {count} records")
        elif not self.problems:
            since = self.tip.checkpoint + 1
            self.wrong(since, f"the hub did not sign this: records {since} to {count} were rewritten")

    def wrong(self, number: int, text: str) -> bool:
        """Note a problem; always False."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(number, text))
        return False

    def _why(self, stem: _Stem) -> str:
        expected = self.tip.count + 1
        if stem.n == expected:
            return "was changed, or does not belong here"
        if stem.n < expected:
            return f"here stands one that says it is record {stem.n}: moved or inserted"
        missing = (
            f"records {expected} to {stem.n - 1} are" if stem.n > expected + 1 else f"record {expected} is"
        )
        return f"{missing} missing, or another record's number was changed"

    def _lose(self, line: bytes, stem: _Stem | None, text: str) -> bool:
        """The line does not fit: it was changed, or is an extra one, or others before it are missing."""
        last = self.tip
        found = _SOME_HASH.match(line)
        digest = found[1].decode() if found else ""
        self.wrong(last.count + 1, text)
        self.tip = Tip(last.count + 1, digest, last.checkpoint)
        self._others = [self._others[0] if self._others else last]
        if stem is not None and stem.n != self.tip.count:
            self._others.append(Tip(stem.n, digest, last.checkpoint))
        return False

    def _is_signed(self, stem: _Stem, before: Tip) -> bool:
        try:
            self.public.verify(decoded(stem.signature), _signed_part(before))
        except (InvalidSignature, SealError):
            since = before.checkpoint + 1
            return self.wrong(since, f"the hub did not sign this: records {since} to {stem.n} were rewritten")
        return True


def _fits(tip: Tip, stem: _Stem, digest: str, body: bytes) -> bool:
    # Where the line before could not be read, its hash is not known: the next checkpoint tells.
    return stem.n == tip.count + 1 and (not tip.hash or digest == _link(tip.hash, body))


def tip_before(line: bytes, public: Ed25519PublicKey) -> Tip | None:
    """The end of the chain before a segment, from the signed checkpoint in its first line."""
    stem = _stem(line)
    if stem is None or stem.kind != "checkpoint" or len(stem.of) != 64:
        return None
    tip = Tip(stem.n - 1, stem.of, stem.n - 1)
    try:
        public.verify(decoded(stem.signature), _signed_part(tip))
    except (InvalidSignature, SealError):
        return None
    return tip


def _stem(line: bytes) -> _Stem | None:
    if not _LINE.fullmatch(line):
        return None
    try:
        return _stems.decode(line[_RECORD_AT:-2])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _link(before: str, body: bytes) -> str:
    return hashlib.sha256(before.encode() + body).hexdigest()


def _checkpoint(tip: Tip, key: Ed25519PrivateKey, at: float) -> dict[str, Any]:
    signature = base64.b64encode(key.sign(_signed_part(tip))).decode()
    return {"kind": "checkpoint", "at": at, "of": tip.hash, "signature": signature}


def _signed_part(tip: Tip) -> bytes:
    return canonical({"kind": "audit-checkpoint", "count": tip.count, "hash": tip.hash})
