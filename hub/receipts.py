"""Receipts of erasure: what was destroyed and that nobody is found by it any more, signed by the hub.

A receipt names an opaque identity id, never a person, and holds no embedding. Pure, but for the key that it
is given. Made by `hub.subjects`, checked by `veilcast-hub receipt verify` or by anyone with the public key.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from hub.errors import HubError
from hub.signing import fingerprint, public_bytes
from hub.store.erase import Erased

KIND = "veilcast-erasure-receipt"
MAX_RECEIPT_CHARS = 16_384
"""A receipt has about a thousand characters."""
_PURPOSE = b"veilcast erasure receipt 1\n"
"""Signed in front of the text: a signature for something else is none for this."""
ABOUT_COPIES = (
    "Earlier copies of the store alone hold only ciphertext whose key is gone where hub_key_destroyed is "
    "true. A backup made before with a passphrase still holds the key: restored on this hub it leaves this "
    "identity out, restored on another hub it does so only with this receipt."
)


class ReceiptError(HubError):
    """Not a receipt, changed since it was signed, or signed by somebody else."""


@dataclass(frozen=True, slots=True)
class Check:
    """What became of the search for the erased embeddings in the gallery that holds now."""

    gallery_version: int
    embeddings_tried: int
    found_as_this_identity: int
    """Of them: 0, or the erasure failed."""
    found_as_another: int
    """Of them, accepted as another enrolled person: someone looks alike, or is enrolled twice."""


def sign_receipt(erased: Erased, check: Check | None, at: float, key: Ed25519PrivateKey) -> str:
    """The receipt as a JSON text in ASCII. check: None where the gallery could not be read."""
    person = erased.person
    body: dict[str, Any] = {
        "kind": KIND,
        "version": 1,
        "identity": person.identity,
        "erased_at": datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds"),
        "templates": len(person.templates),
        "photos": sum(t.photo_kept for t in person.templates),
        "consents": len(person.consents),
        "identity_key_destroyed": True,
        "hub_key_destroyed": erased.is_old_key_destroyed,
        "write_ahead_log_emptied": erased.is_log_empty,
        "rows_left": erased.rows_left,
        "check": None
        if check is None
        else {
            "gallery_version": check.gallery_version,
            "embeddings_tried": check.embeddings_tried,
            "found_as_this_identity": check.found_as_this_identity,
            "found_as_another": check.found_as_another,
        },
        "is_unknown": is_unknown(erased, check),
        "copies": ABOUT_COPIES,
        "signed_by": fingerprint(public_bytes(key)),
    }
    signature = key.sign(_PURPOSE + _canonical(body))
    document = {
        "receipt": body,
        "public_key": base64.b64encode(public_bytes(key)).decode(),
        "signature": base64.b64encode(signature).decode(),
    }
    return json.dumps(document, indent=2)


def is_unknown(erased: Erased, check: Check | None) -> bool:
    """No row is left, and no erased embedding is taken for anyone."""
    return (
        erased.rows_left == 0
        and check is not None
        and not check.found_as_this_identity
        and not check.found_as_another
    )


def verify_receipt(text: str, public: bytes) -> Mapping[str, Any]:
    """What the receipt says, once the hub with this public key (32 bytes) is proven to have signed it.

    Raises ReceiptError.
    """
    body, claimed, signature = _parsed(text)
    if claimed != public:
        raise ReceiptError(
            f"signed with key {fingerprint(claimed)}, which is not this hub's ({fingerprint(public)}): "
            "give the key of the hub that erased with --key"
        )
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _PURPOSE + _canonical(body))
    except (InvalidSignature, ValueError) as exc:
        raise ReceiptError("the signature does not fit: the receipt was changed after it was signed") from exc
    if body.get("kind") != KIND or not isinstance(body.get("identity"), str):
        raise ReceiptError("not a receipt of an erasure")
    return body


def _parsed(text: str) -> tuple[dict[str, Any], bytes, bytes]:
    if len(text) > MAX_RECEIPT_CHARS:
        raise ReceiptError("not a receipt: too long")
    try:
        document = json.loads(text, object_pairs_hook=_without_repeats)
        body, key, signature = document["receipt"], document["public_key"], document["signature"]
        if isinstance(body, dict) and len(document) == 3:
            return body, base64.b64decode(key, validate=True), base64.b64decode(signature, validate=True)
    except (ValueError, TypeError, KeyError, RecursionError, binascii.Error) as exc:
        raise ReceiptError("not a receipt: it cannot be read") from exc
    raise ReceiptError("not a receipt: it cannot be read")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A name that stands twice would let a reader see another value than the one that is checked."""
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a name stands twice")
    return dict(pairs)


def _canonical(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
