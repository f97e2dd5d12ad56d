"""[I/O] The hub's signing key, and JSON documents signed with it.

One Ed25519 key signs what the hub answers for later: heads of the audit log, receipts of erasures. It lives
in a file of mode 0600 with its public half beside it (mode 0644), so that somebody without the secret can
check. Owns the key file and the form of a signed document; what documents say is their owners'.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from hub.errors import HubError

MAX_KEY_BYTES = 4_096
"""A key file has about a hundred bytes; what is larger is something else."""
SIGNATURE = "signature"
KEY = "key"


class SigningError(HubError):
    """The key cannot be used, or a signature does not fit."""


def load_or_create(path: Path) -> Ed25519PrivateKey:
    """The key in `path`, made where there is none (never overwriting). Raises SigningError."""
    if not path.exists():
        _create(path)
    return load(path)


def load(path: Path) -> Ed25519PrivateKey:
    """The key in `path`. Raises SigningError where it is missing, damaged or readable by others."""
    key = _parsed(path, _read(path, is_secret=True), is_secret=True)
    if not isinstance(key, Ed25519PrivateKey):
        raise SigningError(f"{path}: not an Ed25519 key; bring back the right file")
    return key


def load_public(path: Path) -> Ed25519PublicKey:
    """A public key (PEM). Raises SigningError."""
    key = _parsed(path, _read(path, is_secret=False), is_secret=False)
    if not isinstance(key, Ed25519PublicKey):
        raise SigningError(f"{path}: not an Ed25519 public key")
    return key


def public_pem(key: Ed25519PrivateKey | Ed25519PublicKey) -> bytes:
    """The public half as people hand it on."""
    return _public(key).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def fingerprint(key: Ed25519PrivateKey | Ed25519PublicKey) -> str:
    """32 hexadecimal digits that tell keys apart: half of the SHA-256 of the raw public key."""
    raw = _public(key).public_bytes(Encoding.Raw, PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:32]


def canonical(document: Mapping[str, Any]) -> bytes:
    """One form for one value: sorted keys, no spaces, ASCII. Raises ValueError for NaN and infinities."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")


def signed(key: Ed25519PrivateKey, document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with the key's fingerprint and a signature over both. `kind` should say what it is, so
    that a signature on one kind never passes for another."""
    if SIGNATURE in document or KEY in document:
        raise ValueError("the document is signed already")
    body = {**document, KEY: fingerprint(key)}
    return {**body, SIGNATURE: base64.b64encode(key.sign(canonical(body))).decode()}


def check(key: Ed25519PublicKey, document: Mapping[str, Any]) -> dict[str, Any]:
    """What was signed, without key and signature. Raises SigningError where the signature does not fit."""
    body = {name: value for name, value in document.items() if name != SIGNATURE}
    if body.get(KEY) != fingerprint(key):
        raise SigningError("it is signed with another key")
    try:
        signature = base64.b64decode(str(document.get(SIGNATURE)), validate=True)
        key.verify(signature, canonical(body))
    except (binascii.Error, ValueError, InvalidSignature) as exc:
        raise SigningError("its signature does not fit: it was changed") from exc
    if document[SIGNATURE] != base64.b64encode(signature).decode():
        raise SigningError("its signature does not fit: it was changed")
    del body[KEY]
    return body


def _create(path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The public half first: a key that signs has always had one.
        _write(path.with_suffix(".pub"), public_pem(key), 0o644, os.O_TRUNC)
        _write(path, secret, 0o600, os.O_EXCL)
    except OSError as exc:
        raise SigningError(f"{path}: the hub's signing key cannot be written: {exc.strerror}") from exc


def _write(path: Path, data: bytes, mode: int, flag: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | flag, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path, *, is_secret: bool) -> bytes:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if is_secret and mode & 0o077:
                raise SigningError(
                    f"{path}: others may read it (mode {mode:04o}); run: chmod 600 {path}, "
                    "and think of the key as known to whoever could"
                )
            data = file.read(MAX_KEY_BYTES + 1)
    except OSError as exc:
        raise SigningError(f"{path}: cannot be read: {exc.strerror}") from exc
    if len(data) > MAX_KEY_BYTES:
        raise SigningError(f"{path}: too large for a key file")
    return data


def _parsed(path: Path, data: bytes, *, is_secret: bool) -> object:
    try:
        return load_pem_private_key(data, None) if is_secret else load_pem_public_key(data)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise SigningError(f"{path}: not a key file; bring back a copy of the right one") from exc


def _public(key: Ed25519PrivateKey | Ed25519PublicKey) -> Ed25519PublicKey:
    return key.public_key() if isinstance(key, Ed25519PrivateKey) else key
