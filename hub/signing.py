"""[I/O] The hub's signing key (Ed25519): what it signs can be checked by anyone who has the public half.

One file, `sign.key` in the state folder (PKCS #8 in PEM, mode 0600), made when it is first needed. Used
for receipts of erasure and for checkpoints of the audit log. Knows nothing of what is signed.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from hub.secret_files import SecretFileError, read_secret, write_secret

SIGNING_KEY_FILE = "sign.key"
"""In the state folder."""


def load_or_create(path: Path) -> Ed25519PrivateKey:
    """The key in the file; a new one where there is no file. Raises SecretFileError (a HubError)."""
    key = load(path)
    if key is None:
        key = Ed25519PrivateKey.generate()
        write_secret(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return key


def load(path: Path) -> Ed25519PrivateKey | None:
    """The key in the file; None where there is no file. Raises SecretFileError."""
    data = read_secret(path)
    if data is None:
        return None
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise SecretFileError(f"{path}: not a signing key; bring back a copy of it") from exc
    if not isinstance(key, Ed25519PrivateKey):
        raise SecretFileError(f"{path}: not an Ed25519 key; bring back a copy of it")
    return key


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """The public half, 32 bytes."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def fingerprint(public: bytes) -> str:
    """A short name of a public key for people to compare: 32 hexadecimal digits."""
    return hashlib.sha256(public).hexdigest()[:32]
