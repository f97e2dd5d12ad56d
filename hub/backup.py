"""The file of a backup: records in, one encrypted stream out, and back. Knows no tables and no prompts.

A passphrase gives a key (scrypt); frames of 64 KiB are sealed with AES-256-GCM, each bound to its place, to
the header and to whether it is the last, so that nothing can be cut, added, moved or edited unnoticed
(the STREAM construction of Hoang et al. 2015). Reading checks as it goes: whoever uses records before the
last one has come must be able to take everything back. Used by `hub.people_commands`.
"""

from __future__ import annotations

import os
import struct
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, BinaryIO

import msgpack
import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from msgspec import Meta, Struct

from hub.errors import HubError
from protocol import limits
from protocol.messages import EpochSeconds, Name, Text, Unit

MAGIC = b"VEILCAST BACKUP 1\n"
MIN_PASSPHRASE_CHARS = 12
"""A backup can be tried offline for ever."""
FRAME_BYTES = 65_536
TAG_BYTES = 16
MAX_RECORD_BYTES = 4 * limits.MAX_CROP_BYTES
"""The largest record is a kept photo."""
MAX_SCRYPT_BYTES = 512 * 2**20
"""Memory that the header of a file may ask for."""
_HEADER = struct.Struct(">16sBBB7s")
_LENGTH = struct.Struct(">I")
_COUNTER = struct.Struct(">IB")

Id = Annotated[str, Meta(min_length=1, max_length=32)]
Sealed = Annotated[bytes, Meta(min_length=29, max_length=2 * limits.MAX_CROP_BYTES)]


class BackupError(HubError):
    """Not a backup, the wrong passphrase, or a file that was cut or edited."""


class Record(Struct, frozen=True, forbid_unknown_fields=True, tag_field="what"):
    """One entry. They come in this order: Head, Ended, then of each identity Identity and its rows, Tail."""


class Head(Record, frozen=True, tag="head"):
    made_at: EpochSeconds
    version: int
    """Of the gallery."""
    people: int


class Ended(Record, frozen=True, tag="ended"):
    """An erased identity, or a consent that was withdrawn."""

    id: Id
    kind: Text
    at: EpochSeconds
    receipt: Annotated[str, Meta(max_length=65_536)] | None


class Identity(Record, frozen=True, tag="identity"):
    id: Id
    name: Name
    added_at: EpochSeconds
    key: Annotated[bytes, Meta(min_length=32, max_length=32)]
    """Opens the rows that follow, which stay sealed as they are in the store."""


class TemplateRow(Record, frozen=True, tag="template"):
    identity: Id
    uid: Id
    model_id: Text
    embedding: Sealed
    source: Sealed
    quality: Unit
    added_at: EpochSeconds


class PhotoRow(Record, frozen=True, tag="photo"):
    identity: Id
    template: Id
    jpeg: Sealed


class ConsentRow(Record, frozen=True, tag="consent"):
    identity: Id
    id: Id
    granted_at: EpochSeconds
    until: EpochSeconds | None
    withdrawn_at: EpochSeconds | None
    cameras: Annotated[str, Meta(max_length=limits.MAX_CAMERAS * (limits.MAX_NAME_CHARS + 8))]
    note: Sealed


class Tail(Record, frozen=True, tag="tail"):
    records: int


AnyRecord = Head | Ended | Identity | TemplateRow | PhotoRow | ConsentRow | Tail


@dataclass(frozen=True, slots=True)
class Cost:
    """What one try of a passphrase costs: 128 * r * 2**log2_n bytes of memory."""

    log2_n: int = 17
    r: int = 8
    p: int = 1


def write_backup(file: BinaryIO, records: Iterable[AnyRecord], passphrase: str, cost: Cost = Cost()) -> int:
    """Write all records; how many. Raises BackupError for a passphrase that is too short, and OSError."""
    if len(passphrase) < MIN_PASSPHRASE_CHARS:
        raise BackupError(
            f"a passphrase of at least {MIN_PASSPHRASE_CHARS} characters is needed: several words are good"
        )
    salt, prefix = os.urandom(16), os.urandom(7)
    header = MAGIC + _HEADER.pack(salt, cost.log2_n, cost.r, cost.p, prefix)
    file.write(header)
    frames = _Frames(_cipher(passphrase, salt, cost), prefix, header)
    waiting = bytearray()
    count = 0
    for record in records:
        waiting += msgspec.msgpack.encode(record)
        count += 1
        while len(waiting) > FRAME_BYTES:  # never all of it: the last frame must be written as such
            file.write(frames.seal(bytes(waiting[:FRAME_BYTES]), is_last=False))
            del waiting[:FRAME_BYTES]
    waiting += msgspec.msgpack.encode(Tail(records=count))
    while len(waiting) > FRAME_BYTES:
        file.write(frames.seal(bytes(waiting[:FRAME_BYTES]), is_last=False))
        del waiting[:FRAME_BYTES]
    file.write(frames.seal(bytes(waiting), is_last=True))
    return count


def read_backup(
    file: BinaryIO, passphrase: str, advance: Callable[[int], None] | None = None
) -> Iterator[AnyRecord]:
    """The records without the tail. advance: told the bytes read so far.

    Raises BackupError, also after records have come: then none of them counts.
    """
    header = file.read(len(MAGIC) + _HEADER.size)
    if len(header) < len(MAGIC) + _HEADER.size or not header.startswith(MAGIC):
        raise BackupError("this is no backup of Veilcast, or one of another version")
    salt, log2_n, r, p, prefix = _HEADER.unpack(header[len(MAGIC) :])
    cost = Cost(log2_n, r, p)
    if not (1 <= log2_n <= 24 and r >= 1 and 1 <= p <= 4) or 128 * r << log2_n > MAX_SCRYPT_BYTES:
        raise BackupError("the head of this backup was changed")
    frames = _Frames(_cipher(passphrase, salt, cost), prefix, header)
    count, is_over = 0, False
    for record in _records(frames.open_all(file, advance or (lambda read: None))):
        if is_over or (count == 0) != isinstance(record, Head):
            raise BackupError("the backup is damaged: its parts are not in order")
        if isinstance(record, Tail):
            if record.records != count:
                raise BackupError("the backup is damaged: records are missing")
            is_over = True
            continue
        count += 1
        yield record
    if not is_over:
        raise BackupError("the backup is damaged: its end is missing")


class _Frames:
    """Seals and opens the frames of one file, in order."""

    def __init__(self, cipher: AESGCM, prefix: bytes, header: bytes) -> None:
        self._cipher = cipher
        self._prefix = prefix
        self._header = header
        self._count = 0

    def seal(self, plain: bytes, *, is_last: bool) -> bytes:
        sealed = self._cipher.encrypt(self._nonce(is_last=is_last), plain, self._header)
        return _LENGTH.pack(len(sealed)) + sealed

    def open_all(self, file: BinaryIO, advance: Callable[[int], None]) -> Iterator[bytes]:
        read = len(self._header)
        length = file.read(_LENGTH.size)
        while True:
            size = _LENGTH.unpack(length)[0] if len(length) == _LENGTH.size else 0
            if not TAG_BYTES <= size <= FRAME_BYTES + TAG_BYTES:
                raise self._damaged()
            sealed = file.read(size)
            read += len(length) + len(sealed)
            length = file.read(_LENGTH.size)
            is_last = not length
            try:
                yield self._cipher.decrypt(self._nonce(is_last=is_last), sealed, self._header)
            except InvalidTag as exc:
                raise self._damaged() from exc
            advance(read)
            if is_last:
                return

    def _nonce(self, *, is_last: bool) -> bytes:
        self._count += 1
        return self._prefix + _COUNTER.pack(self._count, is_last)

    def _damaged(self) -> BackupError:
        if self._count <= 1:
            return BackupError("the passphrase is wrong, or the backup was changed or cut short")
        return BackupError("the backup was changed or cut short")


def _cipher(passphrase: str, salt: bytes, cost: Cost) -> AESGCM:
    text = unicodedata.normalize("NFC", passphrase).encode()
    kdf = Scrypt(salt=salt, length=32, n=1 << cost.log2_n, r=cost.r, p=cost.p)
    return AESGCM(kdf.derive(text))


def _records(parts: Iterable[bytes]) -> Iterator[AnyRecord]:
    unpacker = msgpack.Unpacker(
        max_buffer_size=MAX_RECORD_BYTES,
        max_str_len=262_144,
        max_bin_len=2 * limits.MAX_CROP_BYTES,
        max_array_len=0,
        max_map_len=16,
        max_ext_len=0,
    )
    try:
        for part in parts:
            unpacker.feed(part)
            for value in unpacker:
                yield msgspec.convert(value, AnyRecord, strict=True)
    except (ValueError, TypeError, msgpack.UnpackException, msgspec.ValidationError) as exc:
        # Only who knows the passphrase can make such a file.
        raise BackupError("the backup holds what this version does not know: update Veilcast") from exc
