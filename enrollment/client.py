"""What an admin can ask of the hub, as methods: people in, people out.

Owns the shape of the requests; the connection below owns sockets and time. Called by the command line.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

import msgspec

from enrollment.connection import Build, Connection
from enrollment.errors import HubRefusalError
from enrollment.examine import AcceptedPhoto
from enrollment.inputs import ConsentTerms
from protocol.limits import MAX_DOCUMENT_CHARS
from protocol.messages import (
    AddPerson,
    Document,
    EnrolVisitor,
    ExportPerson,
    GrantConsent,
    Likeness,
    ListPeople,
    ListVisitors,
    People,
    Person,
    RemovePerson,
    SetThreshold,
    ShowLikeness,
    ShowPerson,
    ShowReceipt,
    StartVisitors,
    StopVisitors,
    Threshold,
    Visitors,
    WithdrawConsent,
    clip,
)


class HubClient:
    """The people of a hub. Every method raises HubRefusalError, HubUnreachableError, KeyRefusedError.

    A context manager: entering connects, leaving says goodbye.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __enter__(self) -> Self:
        self._connection.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connection.close()

    def keep_alive(self) -> None:
        """To be called now and then during long work, so that the hub keeps the session."""
        self._connection.keep_alive()

    def add(
        self, name: str, photos: Sequence[AcceptedPhoto], terms: ConsentTerms, keep_photos: bool = False
    ) -> Person:
        """Enrol 1 to MAX_PHOTOS photos: a new person with a consent, or more photos of a known one.

        keep_photos: the hub keeps the crops as well.
        """
        answer = self._connection.request(
            lambda session, seq: AddPerson(
                session=session,
                seq=seq,
                name=name,
                photos=tuple(p.photo for p in photos),
                cameras=terms.cameras,
                consent_until=terms.until,
                note=terms.note,
                keep_photos=keep_photos,
            ),
            [p.jpeg for p in photos],
        )
        return _only(answer)

    def people(self) -> Iterator[Person]:
        """Everyone, in order of their names."""
        after = ""
        while True:
            page = self._page(after)
            yield from page.people
            if not page.more or not page.people:
                return
            after = page.people[-1].name

    def show(self, name: str) -> Person:
        """One person with consents and templates."""
        return _only(
            self._connection.request(lambda session, seq: ShowPerson(session=session, seq=seq, name=name))
        )

    def remove(self, name: str) -> None:
        """Erase a person, their templates and consents."""
        self._connection.request(lambda session, seq: RemovePerson(session=session, seq=seq, name=name))

    def grant(self, name: str, terms: ConsentTerms) -> Person:
        """Record a consent; it replaces a live one."""
        answer = self._connection.request(
            lambda session, seq: GrantConsent(
                session=session,
                seq=seq,
                name=name,
                cameras=terms.cameras,
                until=terms.until,
                note=terms.note,
            )
        )
        return _only(answer)

    def withdraw(self, name: str) -> Person:
        """End the live consent: nodes veil the person at once."""
        return _only(
            self._connection.request(
                lambda session, seq: WithdrawConsent(session=session, seq=seq, name=name)
            )
        )

    def receipt(self, identity: str) -> dict[str, Any]:
        """The signed receipt of an erasure."""
        return self._document(
            lambda digest, offset: (
                lambda session, seq: ShowReceipt(session=session, seq=seq, identity=identity)
            )
        )

    def export(self, name: str) -> dict[str, Any]:
        """All that the hub keeps about a person."""
        return self._document(
            lambda digest, offset: (
                lambda session, seq: ExportPerson(
                    session=session, seq=seq, name=name, digest=digest, offset=offset
                )
            )
        )

    def _document(self, rest: Callable[[str, int], Build]) -> dict[str, Any]:
        """Ask for a document part by part: `rest(digest, offset)` asks for what follows."""
        text, digest = "", ""
        while True:
            part = self._connection.ask(Document, rest(digest, len(text)))
            is_next = part.offset == len(text) and part.digest == (digest or part.digest) and any(part.pieces)
            if not is_next or part.total > MAX_DOCUMENT_CHARS:
                raise HubRefusalError("internal", "the hub sent parts that do not fit: update it")
            text, digest = text + "".join(part.pieces), part.digest
            if len(text) >= part.total:
                break
        if hashlib.sha256(text.encode()).hexdigest() != digest:
            raise HubRefusalError("internal", "the document that the hub sent is damaged: ask again")
        try:
            return msgspec.json.decode(text, type=dict[str, Any])
        except msgspec.DecodeError as exc:
            raise HubRefusalError("internal", "the hub sent a document that is none: update it") from exc

    def start_visitors(self, camera: str, duration_s: float) -> Visitors:
        """Group the unknown faces of a camera for so long; forgets those of an earlier time."""
        return self._connection.ask(
            Visitors,
            lambda session, seq: StartVisitors(
                session=session, seq=seq, camera=camera, duration_s=duration_s
            ),
        )

    def likeness(self, photos: Sequence[AcceptedPhoto]) -> Likeness:
        """How alike 1 to MAX_PHOTOS photos are to the hub's model. Nothing of them is kept."""
        return self._connection.ask(
            Likeness,
            lambda session, seq: ShowLikeness(
                session=session, seq=seq, photos=tuple(p.photo for p in photos)
            ),
            [p.jpeg for p in photos],
        )

    def set_threshold(
        self, model_id: str, threshold: float, margin: float, people: int, photos: int, data: str
    ) -> Threshold:
        """Have the hub decide by a threshold from its next start on."""
        return self._connection.ask(
            Threshold,
            lambda session, seq: SetThreshold(
                session=session,
                seq=seq,
                model_id=model_id,
                threshold=threshold,
                margin=margin,
                people_count=people,
                photo_count=photos,
                data=clip(data),
            ),
        )

    def visitors(self) -> Visitors:
        """Who walked past so far."""
        return self._connection.ask(Visitors, lambda session, seq: ListVisitors(session=session, seq=seq))

    def stop_visitors(self) -> Visitors:
        """Have the hub forget every visitor now."""
        return self._connection.ask(Visitors, lambda session, seq: StopVisitors(session=session, seq=seq))

    def enrol_visitor(self, visitor: int, name: str, terms: ConsentTerms) -> Person:
        """Enrol one of them under a name, with a consent."""
        answer = self._connection.request(
            lambda session, seq: EnrolVisitor(
                session=session,
                seq=seq,
                visitor=visitor,
                name=name,
                cameras=terms.cameras,
                consent_until=terms.until,
                note=terms.note,
            )
        )
        return _only(answer)

    def _page(self, after: str) -> People:
        return self._connection.request(
            lambda session, seq: ListPeople(session=session, seq=seq, after=after)
        )


def _only(answer: People) -> Person:
    if len(answer.people) != 1:
        text = f"the hub answered with {len(answer.people)} people where one was asked for: update it"
        raise HubRefusalError("internal", text)
    return answer.people[0]
