"""What a person may ask of the hub: to be told everything that is kept, and to be forgotten with a proof.

Owns the text of an export and the check after an erasure; people are kept by `hub.store`, enrolled and
removed by `hub.people`, and when someone was shown is known to the audit log. Called by `hub.people` and
`hub.service`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.embedding.port import ModelManifest
from hub.errors import DeclinedError, HubError
from hub.gallery import Gallery
from hub.receipts import Check, sign_receipt
from hub.store.erase import Erased
from hub.store.people import PeopleStore
from protocol.limits import MAX_DOCUMENT_CHARS, MAX_PIECES, MAX_TEXT_CHARS
from protocol.messages import Consent, Document, ExportPerson, Person, ShowReceipt

SubjectRequest = ExportPerson | ShowReceipt
EXPORT_KEPT_S = 60.0
"""How long the rest of an export waits to be asked for."""


class ShownLog(Protocol):
    """Who knows when somebody was shown (hub/audit)."""

    def shown_intervals(self, identity: str) -> Sequence[Mapping[str, Any]]:
        """Each time a camera showed this identity, oldest first, as JSON values. Blocking.

        `start`, `end` and `latest` are UTC epoch seconds; an `end` that is None lasts. Raises HubError.
        """
        ...


@dataclass(frozen=True, slots=True)
class Proofs:
    """What a person is shown, beside what is stored."""

    signer: Ed25519PrivateKey
    shown: ShownLog | None = None
    """None where nobody writes down who is shown."""


@dataclass(frozen=True, slots=True)
class _Export:
    text: str
    digest: str


class SubjectDesk:
    """Lives in the event loop. `in_store` runs a blocking call in the store's thread; `wall` gives UTC
    epoch seconds."""

    def __init__(
        self,
        store: PeopleStore,
        in_store: Callable[..., Any],
        proofs: Proofs,
        wall: Callable[[], float],
    ) -> None:
        self._store = store
        self._in_store = in_store
        self._signer = proofs.signer
        self._shown = proofs.shown
        self._wall = wall
        self._export: _Export | None = None

    async def answer(self, request: SubjectRequest) -> Document:
        """Raises DeclinedError, StoreError."""
        if isinstance(request, ShowReceipt):
            text = await self._in_store(self._store.receipt, request.identity)
            return _document(request, text, hashlib.sha256(text.encode()).hexdigest(), 0)
        if request.digest:
            export = self._export
            if export is None or export.digest != request.digest:
                raise DeclinedError("conflict", "that export was given up for a newer one: ask again")
        else:
            export = self._export = await self._in_store(self._write, request.name, self._wall())
            asyncio.get_running_loop().call_later(EXPORT_KEPT_S, self._give_up, export)
        answer = _document(request, export.text, export.digest, request.offset)
        if request.offset + sum(map(len, answer.pieces)) >= len(export.text):
            self._give_up(export)
        return answer

    async def conclude(self, erased: Erased, check: Check | None, at: float) -> None:
        """Sign and keep the receipt of an erasure. Raises StoreError."""
        receipt = sign_receipt(erased, check, at, self._signer)
        await self._in_store(self._store.keep_receipt, erased.person.identity, receipt)

    def _give_up(self, export: _Export) -> None:
        if self._export is export:
            self._export = None

    def _write(self, name: str, now: float) -> _Export:
        person = self._store.show(name, now)
        photos = self._store.photos(person.identity)
        try:
            shown = self._shown.shown_intervals(person.identity) if self._shown is not None else None
        except HubError as exc:
            raise DeclinedError("internal", f"when they were shown cannot be told: {exc}") from exc
        text = export_text(person, photos, shown, now)
        if len(text) > MAX_DOCUMENT_CHARS:
            raise DeclinedError(
                "overloaded",
                "too much to export at once: veilcast-hub audit query tells when they were shown",
            )
        return _Export(text, hashlib.sha256(text.encode()).hexdigest())


def check_unknown(erased: Erased, gallery: Gallery, manifest: ModelManifest) -> Check:
    """Search for each erased embedding in the gallery that holds now."""
    rows = [np.frombuffer(data, "<f4") for model, data in erased.embeddings if model == manifest.model_id]
    probes = np.array(rows, np.float32).reshape(len(rows), manifest.dimension)
    identity = erased.person.identity
    still = another = 0
    for candidates in gallery.identify(probes, 2):
        still += any(c.identity == identity for c in candidates)
        another += any(c.identity != identity and c.similarity >= manifest.threshold for c in candidates)
    still = max(still, int(identity in gallery.identities))
    return Check(gallery.version, len(rows), still, another)


def export_text(
    person: Person,
    photos: Mapping[int, bytes],
    shown: Sequence[Mapping[str, Any]] | None,
    now: float,
) -> str:
    """All that is kept about a person, as a JSON text in ASCII; times in ISO 8601, UTC.

    photos: JPEG by place in `person.templates`. shown: None where no log tells.
    """
    document: dict[str, Any] = {
        "kind": "veilcast-export",
        "exported_at": _iso(now),
        "identity": person.identity,
        "name": person.name,
        "added_at": _iso(person.added_at),
        "consented": person.consented,
        "consents": [_consent(c) for c in person.consents],
        "templates": [
            {
                "source": t.source,
                "model_id": t.model_id,
                "quality": round(t.quality, 4),
                "added_at": _iso(t.added_at),
                "what": "an embedding: numbers that only this model compares; they do not leave the hub",
                "photo_jpeg_base64": base64.b64encode(photos[at]).decode() if at in photos else None,
            }
            for at, t in enumerate(person.templates)
        ],
        "shown": None if shown is None else [_shown(interval) for interval in shown],
    }
    return json.dumps(document, indent=1)


def _consent(consent: Consent) -> dict[str, Any]:
    return {
        "id": consent.id,
        "granted_at": _iso(consent.granted_at),
        "until": _iso(consent.until),
        "withdrawn_at": _iso(consent.withdrawn_at),
        "cameras": list(consent.cameras) or "every camera",
        "note": consent.note,
    }


def _shown(interval: Mapping[str, Any]) -> dict[str, Any]:
    """An interval of the audit log with its times to be read."""
    times = {name: _iso(interval[name]) for name in ("start", "end", "latest") if name in interval}
    return {**interval, **times}


def _iso(epoch_s: float | None) -> str | None:
    return None if epoch_s is None else datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="seconds")


def _document(request: SubjectRequest, text: str, digest: str, offset: int) -> Document:
    part = text[offset : offset + MAX_PIECES * MAX_TEXT_CHARS]
    pieces = tuple(part[at : at + MAX_TEXT_CHARS] for at in range(0, len(part), MAX_TEXT_CHARS))
    return Document(
        session=request.session,
        seq=request.seq,
        digest=digest,
        total=len(text),
        offset=offset,
        pieces=pieces,
    )
