"""JSON documents signed by the hub: their one form, sign, check. Pure.

A document is a JSON object; `signature` covers all its other members in canonical form, among them the
fingerprint of the key. Used by the audit log for its head, its stub and its exports.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hub.audit.errors import SealError
from hub.signing import fingerprint, public_bytes

KEY, SIGNATURE = "key", "signature"


def canonical(document: Mapping[str, Any]) -> bytes:
    """One form for one value: sorted keys, no spaces, ASCII. Raises ValueError for NaN and infinities."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")


def sealed(key: Ed25519PrivateKey, document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with the key's fingerprint and a signature over both.

    Each document has a `kind`, so that what is signed as one kind never passes for another.
    """
    body = {**document, KEY: fingerprint(public_bytes(key))}
    return {**body, SIGNATURE: base64.b64encode(key.sign(canonical(body))).decode()}


def unsealed(public: Ed25519PublicKey, document: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """What was signed. Raises SealError where the document is not as the key's owner signed it."""
    body = {name: value for name, value in document.items() if name != SIGNATURE}
    if body.pop("kind", None) != kind:
        raise SealError(f"it is no {kind}")
    if body.pop(KEY, None) != public_fingerprint(public):
        raise SealError("it is signed with another key than this hub's sign.key")
    signature = decoded(document.get(SIGNATURE))
    rest = {name: value for name, value in document.items() if name != SIGNATURE}
    try:
        public.verify(signature, canonical(rest))
    except InvalidSignature as exc:
        raise SealError("its signature does not fit: it was changed") from exc
    return body


def decoded(signature: object) -> bytes:
    """A signature's bytes from Base64 in its one form. Raises SealError."""
    try:
        data = base64.b64decode(str(signature), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise SealError("its signature cannot be read: it was changed") from exc
    if base64.b64encode(data).decode() != signature:
        raise SealError("its signature cannot be read: it was changed")
    return data


def to_bytes(document: Mapping[str, Any]) -> bytes:
    """A document as a file of one line."""
    return canonical(document) + b"\n"


def from_bytes(data: bytes) -> dict[str, Any]:
    """The document in a file, refused in any other form than `to_bytes` gives it. Raises SealError."""
    try:
        document = json.loads(data)
        is_exact = isinstance(document, dict) and to_bytes(document) == data
    except (ValueError, RecursionError) as exc:
        raise SealError("it is no signed document: it was changed") from exc
    if not is_exact:
        raise SealError("it is not in the form in which it was written: it was changed")
    return dict(document)


def public_fingerprint(public: Ed25519PublicKey) -> str:
    """The short name of a public key."""
    return fingerprint(public.public_bytes(Encoding.Raw, PublicFormat.Raw))
