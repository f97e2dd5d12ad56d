"""Between values and rows: what is sealed, under which key, and bound to what. Pure.

An embedding is bound to its identity, its model and its template; a consent's note also to the terms
beside it, so that changed terms do not open. Used by the rest of `hub.store`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hub.embedding.port import Embeddings
from hub.store.errors import StoreError
from hub.vault import IdentityKey

Values = dict[str, Any]
"""A row to be written, by column."""


@dataclass(frozen=True, slots=True)
class NewTemplate:
    """A template to keep: embedding (D,) of length 1, and where it came from."""

    embedding: NDArray[np.float32]
    model_id: str
    source: str
    quality: float
    photo: bytes | None = None
    """The JPEG crop, only where it is to be kept as well."""


@dataclass(frozen=True, slots=True)
class NewConsent:
    """A consent to record."""

    cameras: tuple[str, ...] = ()
    until: float | None = None
    note: str = ""


def template_row(key: IdentityKey, identity: str, new: NewTemplate, now: float, uid: str) -> Values:
    embedding = key.seal(to_bytes(new.embedding), "template", identity, new.model_id, uid)
    return {
        "uid": uid, "identity": identity, "model_id": new.model_id, "embedding": embedding,
        "source": key.seal(new.source.encode(), "photo's name", identity, uid),
        "quality": new.quality, "added_at": now,
    }  # fmt: skip


def photo_row(key: IdentityKey, identity: str, template: str, jpeg: bytes) -> Values:
    sealed = key.seal(jpeg, "photo", identity, template)
    return {"template": template, "identity": identity, "jpeg": sealed}


def consent_row(key: IdentityKey, values: Values, note: str) -> Values:
    """The row of a consent: `values` are the columns beside the note."""
    return {**values, "note": key.seal(note.encode(), *_terms(values))}


def embedding_of(key: IdentityKey, row: Any) -> bytes:
    """Raises VaultError (a StoreError), as do all below."""
    return key.open(row.embedding, "template", row.identity, row.model_id, row.uid)


def source_of(key: IdentityKey, row: Any) -> str:
    return key.open(row.source, "photo's name", row.identity, row.uid).decode()


def photo_of(key: IdentityKey, row: Any) -> bytes:
    return key.open(row.jpeg, "photo", row.identity, row.template)


def note_of(key: IdentityKey, row: Any) -> str:
    """Opens only where the terms in the row are those that were sealed."""
    return key.open(row.note, *_terms(row._mapping)).decode()


def _terms(row: Mapping[Any, Any]) -> tuple[str, ...]:
    moments = (row["granted_at"], row["until"], row["withdrawn_at"])
    words = ("" if at is None else repr(float(at)) for at in moments)
    return ("consent", row["identity"], row["id"], *words, row["cameras"])


def cameras_of(text: str) -> tuple[str, ...]:
    # An empty list means every camera, so a damaged one must not pass for it.
    try:
        names = json.loads(text)
    except ValueError as exc:
        raise StoreError("a stored consent cannot be read: the store is damaged") from exc
    if not isinstance(names, list) or not all(isinstance(n, str) and n for n in names):
        raise StoreError("a stored consent cannot be read: the store is damaged")
    return tuple(names)


def to_bytes(embedding: NDArray[np.float32]) -> bytes:
    return np.ascontiguousarray(embedding, "<f4").tobytes()


def from_bytes(blobs: Sequence[bytes], dimension: int) -> Embeddings:
    """(N, dimension) from N opened embeddings. Raises StoreError."""
    if any(len(blob) != 4 * dimension for blob in blobs):
        raise StoreError("a stored template has the wrong size: the store is damaged")
    joined = np.frombuffer(b"".join(blobs), "<f4").astype(np.float32)
    return joined.reshape(len(blobs), dimension)
