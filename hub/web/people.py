"""Who is enrolled: listed, allowed, withdrawn, erased with a receipt. [I/O]

Every act goes the way of an admin's key (`PagePorts.ask`): the same rules hold, and the audit log names the
user. Enrolling is `hub.web.enrol`'s part.
"""

from __future__ import annotations

import json
from datetime import datetime, time
from typing import Any

from aiohttp import web

from hub.web.access import Role, needs, user_of
from hub.web.context import CONTEXT
from hub.web.replies import BadInputError, answers, body_of, ports_of, text_in
from hub.web.shell import Shell
from protocol.keys import NAME_PATTERN
from protocol.limits import MAX_CAMERAS, MAX_EPOCH_S, MAX_TEXT_CHARS
from protocol.messages import (
    AnyMessage,
    Consent,
    Document,
    ExportPerson,
    GrantConsent,
    ListPeople,
    Person,
    RemovePerson,
    Request,
    ShowReceipt,
    WithdrawConsent,
)
from protocol.messages import People as PeopleAnswer

SESSION = bytes(16)
"""Requests from pages belong to no session of the wire."""
PAGES_AT_ONCE = 4
"""Of the protocol, for one page here: 200 people."""
SOON_S = 30 * 86_400.0
"""A consent that ends within this is "expiring soon"."""


class People:
    """The handlers."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/people", self.page),
            web.get("/api/people", self.list),
            web.post("/api/people/consent", self.consent),
            web.post("/api/people/withdraw", self.withdraw),
            web.post("/api/people/erase", self.erase),
            web.get("/api/people/export", self.export),
            web.get("/api/receipts/{identity}", self.receipt),
        ]

    @needs(Role.OPERATOR)
    async def page(self, request: web.Request) -> web.Response:
        return self._shell.page(request, "people")

    @needs(Role.OPERATOR)
    @answers
    async def list(self, request: web.Request) -> web.Response:
        """People in order of their names, after the name in `after`."""
        after, more = request.query.get("after", ""), True
        found: list[Person] = []
        for _ in range(PAGES_AT_ONCE):
            page = await people_of(request, ListPeople(session=SESSION, seq=0, after=after))
            found += page.people
            more = page.more and bool(page.people)
            if not more:
                break
            after = found[-1].name
        now = request.app[CONTEXT].wall()
        cameras = sorted(p.name for p in request.app[CONTEXT].let_in() if p.role == "node")
        people = [person_json(p, now) for p in found]
        return web.json_response({"people": people, "more": more, "cameras": cameras, "now": now})

    @needs(Role.OPERATOR)
    @answers
    async def consent(self, request: web.Request) -> web.Response:
        """Record a consent in place of the live one."""
        body = await body_of(request)
        cameras, until, note = terms_in(body, request.app[CONTEXT].wall())
        grant = GrantConsent(
            session=SESSION, seq=0, name=text_in(body, "name"), cameras=cameras, until=until, note=note
        )
        return await _one(request, grant)

    @needs(Role.OPERATOR)
    @answers
    async def withdraw(self, request: web.Request) -> web.Response:
        """End the live consent: the person is veiled everywhere when this answers."""
        name = text_in(await body_of(request), "name")
        return await _one(request, WithdrawConsent(session=SESSION, seq=0, name=name))

    @needs(Role.OPERATOR)
    @answers
    async def erase(self, request: web.Request) -> web.Response:
        """Forget a person for good; the answer says where the receipt is."""
        name = text_in(await body_of(request), "name")
        answer = await people_of(request, RemovePerson(session=SESSION, seq=0, name=name))
        identity = answer.people[0].identity
        receipt = json.loads(await _document(request, ShowReceipt(session=SESSION, seq=0, identity=identity)))
        return web.json_response(
            {"identity": identity, "receipt": receipt["receipt"], "url": f"/api/receipts/{identity}"}
        )

    @needs(Role.OPERATOR)
    @answers
    async def receipt(self, request: web.Request) -> web.Response:
        identity = request.match_info["identity"]
        text = await _document(request, ShowReceipt(session=SESSION, seq=0, identity=identity))
        return _file(text, f"receipt-{_plain(identity)}.json")

    @needs(Role.OPERATOR)
    @answers
    async def export(self, request: web.Request) -> web.Response:
        """All that is kept about a person, for that person."""
        name = request.query.get("name", "")
        text = await _document(request, ExportPerson(session=SESSION, seq=0, name=name))
        return _file(text, "person.json")


async def ask(request: web.Request, message: Request, *payloads: bytes) -> AnyMessage:
    """Ask the hub as the user. Raises DeclinedError."""
    return await ports_of(request).ask(user_of(request).peer, message, payloads)


async def people_of(request: web.Request, message: Request, *payloads: bytes) -> PeopleAnswer:
    """The same, of what is answered by people."""
    answer = await ask(request, message, *payloads)
    assert isinstance(answer, PeopleAnswer), "the desk answers these with people"
    return answer


async def _one(request: web.Request, message: Request) -> web.Response:
    answer = await people_of(request, message)
    return web.json_response({"person": person_json(answer.people[0], request.app[CONTEXT].wall())})


async def _document(request: web.Request, message: ExportPerson | ShowReceipt) -> str:
    pieces: list[str] = []
    while True:
        answer = await ask(request, message)
        assert isinstance(answer, Document), "the desk answers these with a document"
        pieces += answer.pieces
        offset = answer.offset + sum(map(len, answer.pieces))
        if offset >= answer.total or not isinstance(message, ExportPerson):
            return "".join(pieces)
        message = ExportPerson(session=SESSION, seq=0, name=message.name, digest=answer.digest, offset=offset)


def _file(text: str, name: str) -> web.Response:
    disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
    return web.Response(text=text, content_type="application/json", headers=disposition)


def _plain(text: str) -> str:
    return "".join(c for c in text if c.isascii() and (c.isalnum() or c in "-_"))[:64]


def terms_in(body: dict[str, Any], now: float) -> tuple[tuple[str, ...], float | None, str]:
    """Cameras, end (UTC epoch seconds) and note of a consent. Raises BadInputError."""
    cameras = body.get("cameras", [])
    if not isinstance(cameras, list) or not all(isinstance(c, str) for c in cameras):
        raise BadInputError("The cameras are a list of names.")
    if len(cameras) > MAX_CAMERAS or not all(NAME_PATTERN.fullmatch(c) for c in cameras):
        raise BadInputError("One of these is no camera's name.")
    note = text_in(body, "note", "").strip()
    if len(note) > MAX_TEXT_CHARS:
        raise BadInputError(f"A note has at most {MAX_TEXT_CHARS} characters.")
    return tuple(dict.fromkeys(cameras)), end_of(text_in(body, "until", ""), now), note


def end_of(text: str, now: float) -> float | None:
    """The last second of a day (2027-12-31) where the hub is; None for "". Raises BadInputError."""
    if not text.strip():
        return None
    try:
        day = datetime.fromisoformat(text.strip()).date()
        until = datetime.combine(day, time(23, 59, 59)).astimezone().timestamp()
    except (ValueError, OverflowError, OSError) as exc:
        raise BadInputError("The end is a day, like 2027-12-31.") from exc
    if until <= now:
        raise BadInputError("The end lies in the past.")
    return min(until, MAX_EPOCH_S)


def person_json(person: Person, now: float) -> dict[str, Any]:
    """A person as the page shows them."""
    live = [c for c in person.consents if c.withdrawn_at is None and (c.until is None or now < c.until)]
    consent = max(live, key=lambda c: c.granted_at, default=None)
    last = max(person.consents, key=lambda c: c.granted_at, default=None)
    return {
        "identity": person.identity, "name": person.name, "added_at": person.added_at,
        "state": _state(consent, last, now),
        "consent": None if consent is None else _consent_json(consent),
        "history": [_consent_json(c) for c in sorted(person.consents, key=lambda c: -c.granted_at)[:20]],
        "photos": len(person.templates), "kept_photos": sum(t.photo_kept for t in person.templates),
    }  # fmt: skip


def _state(consent: Consent | None, last: Consent | None, now: float) -> str:
    if consent is not None:
        return "soon" if consent.until is not None and consent.until - now < SOON_S else "consented"
    if last is None:
        return "none"
    return "withdrawn" if last.withdrawn_at is not None else "expired"


def _consent_json(consent: Consent) -> dict[str, Any]:
    return {
        "granted_at": consent.granted_at, "until": consent.until, "withdrawn_at": consent.withdrawn_at,
        "cameras": list(consent.cameras), "note": consent.note,
    }  # fmt: skip
