"""What admins ask for: enrol, list, show, remove, grant, withdraw.

Owns the rules of enrolment (crops that are crops, nobody enrolled twice) and the shape of the answers.
Keeps nothing: people are kept by `hub.store`, and after each change `on_change` (hub/service.py) makes it
hold everywhere before the admin hears that it was done. Requests that change something run one at a time.
"""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from hub.embedding.port import Embeddings, ModelManifest
from hub.errors import DeclinedError
from hub.recognizer import Recognizer
from hub.store.errors import ConflictError, NotFoundError, StoreError
from hub.store.people import NewConsent, NewTemplate, PeopleStore
from hub.subjects import Proofs, SubjectDesk, SubjectRequest, check_unknown
from hub.visitors import VisitorLooks
from protocol import limits
from protocol.codec import encode
from protocol.errors import LocalProtocolError
from protocol.messages import (
    AddPerson,
    Document,
    EnrolVisitor,
    GrantConsent,
    ListPeople,
    People,
    Person,
    Photo,
    RemovePerson,
    ShowPerson,
    WithdrawConsent,
)
from vision.crops import FaceCrop, decode_crop
from vision.errors import CropError

R = TypeVar("R")
AdminRequest = (
    AddPerson | EnrolVisitor | ListPeople | ShowPerson | RemovePerson | GrantConsent | WithdrawConsent
)
InInference = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs a function in the inference thread, which owns the recognizer."""


class PeopleDesk:
    """Answers admins. `on_change` returns the version of the gallery that holds from now on."""

    def __init__(
        self,
        store: PeopleStore,
        recognizer: Recognizer,
        manifest: ModelManifest,
        in_inference: InInference,
        on_change: Callable[[], Awaitable[int]],
        wall: Callable[[], float],
        proofs: Proofs,
    ) -> None:
        self._store = store
        self._recognizer = recognizer
        self._manifest = manifest
        self._in_inference = in_inference
        self._on_change = on_change
        self._wall = wall
        self._changing = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._subjects = SubjectDesk(store, self.in_store, proofs, wall)

    async def answer(
        self, request: AdminRequest, photos: Sequence[bytes], looks: VisitorLooks | None = None
    ) -> People:
        """Do what is asked; `looks` belong to EnrolVisitor. Raises DeclinedError where it is not done."""
        with _declined():
            return await self._answer(request, photos, looks)

    async def tell(self, request: SubjectRequest) -> Document:
        """What is kept about a person, or the proof that nothing is. Raises DeclinedError."""
        with _declined():
            return await self._subjects.answer(request)

    async def in_store(self, function: Callable[..., R], *args: object) -> R:
        """Run a blocking call of the store in its thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)

    async def close(self) -> None:
        """Wait for the call under way."""
        await asyncio.to_thread(self._thread.shutdown)

    async def _answer(
        self, request: AdminRequest, photos: Sequence[bytes], looks: VisitorLooks | None
    ) -> People:
        now = self._wall()
        match request:
            case ListPeople():
                limit = limits.MAX_PEOPLE_PER_PAGE
                people, more = await self.in_store(self._store.page, request.after, limit, now)
                return fit(request.session, request.seq, people, self._version(), more)
            case ShowPerson():
                person = await self.in_store(self._store.show, request.name, now)
                return self._about(request, person, self._version())
            case RemovePerson():
                return await self._remove(request, now)
        async with self._changing:
            person = await self._change(request, photos, looks, now)
            version = await self._on_change()
        return self._about(request, person, version)

    async def _remove(self, request: RemovePerson, now: float) -> People:
        """Erase, make it hold everywhere, look whether it does, and keep a receipt of that."""
        async with self._changing:
            erased = await self.in_store(self._store.remove, request.name, now)
            try:
                version = await self._on_change()
            except StoreError:
                await self._subjects.conclude(erased, None, now)
                raise
            check = await self._in_inference(
                lambda: check_unknown(erased, self._recognizer.gallery, self._manifest)
            )
            await self._subjects.conclude(erased, check, now)
        return self._about(request, erased.person, version)

    async def _change(
        self,
        request: AddPerson | EnrolVisitor | GrantConsent | WithdrawConsent,
        photos: Sequence[bytes],
        looks: VisitorLooks | None,
        now: float,
    ) -> Person:
        match request:
            case AddPerson():
                return await self._add(request, photos, now)
            case EnrolVisitor():
                assert looks is not None, "hub.visitor_desk brings them"
                origins = [("seen by a camera", quality) for quality in looks.qualities]
                return await self._enrol(request, looks.embeddings, origins, now)
            case GrantConsent():
                consent = _consent(request.cameras, request.until, request.note, now)
                return await self.in_store(self._store.grant, request.name, consent, now)
            case WithdrawConsent():
                return await self.in_store(self._store.withdraw, request.name, now)

    async def _add(self, request: AddPerson, photos: Sequence[bytes], now: float) -> Person:
        check_name(request.name)
        crops = await asyncio.to_thread(crops_of, request.photos, photos)
        embeddings = await self._in_inference(lambda: self._recognizer.embed_photos(crops))
        kept: Sequence[bytes | None] = photos if request.keep_photos else [None] * len(photos)
        origins = [(p.source, p.quality) for p in request.photos]
        return await self._enrol(request, embeddings, origins, now, kept)

    async def _enrol(
        self,
        request: AddPerson | EnrolVisitor,
        embeddings: Embeddings,
        origins: Sequence[tuple[str, float]],
        now: float,
        photos: Sequence[bytes | None] | None = None,
    ) -> Person:
        """Keep embeddings (N, D) of these (source, quality), unless somebody else has that face.

        photos: the JPEG crops that are to be kept as well.
        """
        check_name(request.name)
        consent = _consent(request.cameras, request.consent_until, request.note, now)
        known = await self._known(request.name, now)
        besides = known.identity if known else ""
        nearest = await self._in_inference(lambda: self._recognizer.nearest(embeddings, besides))
        if nearest is not None and nearest.similarity >= self._manifest.threshold:
            twin = await self.in_store(self._name_of, nearest.identity, now)
            raise DeclinedError(
                "duplicate",
                f"this face is enrolled already as {twin} (similarity {nearest.similarity:.2f}); "
                f"add photos to that name, or remove it first",
            )
        templates = [
            NewTemplate(embedding, self._manifest.model_id, source, quality, photo)
            for embedding, (source, quality), photo in zip(
                embeddings, origins, photos or [None] * len(origins), strict=True
            )
        ]
        holds = known is not None and _holds(known, consent, now)
        return await self.in_store(self._store.add, request.name, templates, None if holds else consent, now)

    async def _known(self, name: str, now: float) -> Person | None:
        try:
            return await self.in_store(self._store.show, name, now)
        except NotFoundError:
            return None

    def _name_of(self, identity: str, now: float) -> str:
        """The name behind an identity; rare enough to look through everyone."""
        after, more = "", True
        while more:
            page, more = self._store.page(after, limits.MAX_PEOPLE_PER_PAGE, now)
            for person in page:
                if person.identity == identity:
                    return person.name
            after = page[-1].name if page else after
        raise NotFoundError("the person was removed meanwhile; try again")

    def _version(self) -> int:
        return self._recognizer.gallery.version

    def _about(self, request: AdminRequest, person: Person, version: int) -> People:
        return fit(request.session, request.seq, [person], version, False)


@contextmanager
def _declined() -> Iterator[None]:
    """What the store refuses, as the answer to a peer."""
    try:
        yield
    except NotFoundError as exc:
        raise DeclinedError("not-found", str(exc)) from exc
    except ConflictError as exc:
        raise DeclinedError("conflict", str(exc)) from exc
    except StoreError as exc:
        raise DeclinedError("internal", str(exc)) from exc


def check_name(name: str) -> None:
    """A name that people can read and type again. Raises DeclinedError."""
    if name != " ".join(name.split()) or not all(
        unicodedata.category(c)[0] not in "CZ" or c == " " for c in name
    ):
        raise DeclinedError(
            "invalid", "a name has visible characters, single spaces between and none around it"
        )


def fit(session: bytes, seq: int, people: list[Person], version: int, more: bool) -> People:
    """An answer that fits into one message: fewer people, or the newest of one person's history."""
    page = people
    while True:
        answer = People(session=session, seq=seq, people=tuple(page), gallery_version=version, more=more)
        try:
            encode(answer)
        except LocalProtocolError:
            if len(page) > 1:
                page, more = page[: len(page) // 2], True
            elif page and len(page[0].consents) + len(page[0].templates) > 1:
                page = [_shortened(page[0])]
            else:
                raise
        else:
            return answer


def _shortened(person: Person) -> Person:
    return Person(
        identity=person.identity,
        name=person.name,
        added_at=person.added_at,
        consented=person.consented,
        consents=person.consents[(len(person.consents) + 1) // 2 :],
        templates=person.templates[(len(person.templates) + 1) // 2 :],
    )


def _consent(cameras: tuple[str, ...], until: float | None, note: str, now: float) -> NewConsent:
    if until is not None and until <= now:
        raise DeclinedError("invalid", "the consent would end in the past")
    return NewConsent(tuple(sorted(set(cameras))), until, note)


def _holds(person: Person, consent: NewConsent, now: float) -> bool:
    """The person has exactly this consent already: photos that come in several messages give one."""
    return any(
        c.withdrawn_at is None
        and (c.until is None or now < c.until)
        and (c.cameras, c.until, c.note) == (consent.cameras, consent.until, consent.note)
        for c in person.consents
    )


def crops_of(described: Sequence[Photo], photos: Sequence[bytes]) -> list[FaceCrop]:
    """The crops that came with a request (JPEG). Raises DeclinedError where one is none."""
    crops = []
    for photo, jpeg in zip(described, photos, strict=True):
        try:
            crops.append(decode_crop(jpeg, np.array(photo.landmarks, np.float32)))
        except CropError as exc:
            raise DeclinedError("invalid", f"{photo.source}: {exc}") from exc
    return crops
