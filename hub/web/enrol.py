"""Enrolling from the browser: by uploaded photos, or someone who walked past a camera. [I/O]"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from dataclasses import dataclass, field
from typing import Any

from aiohttp import BodyPartReader, web

from hub.web.access import Role, needs
from hub.web.context import CONTEXT
from hub.web.people import SESSION, ask, people_of, person_json, terms_in
from hub.web.replies import BadInputError, answers, body_of, refusal, text_in
from hub.web.uploads import PhotoDesk, UploadedPhoto, shown_name
from protocol.limits import MAX_GROUPING_S, MAX_NAME_CHARS, MAX_PHOTOS, MAX_REQUEST_HEADER_BYTES
from protocol.messages import AddPerson, EnrolVisitor, ListVisitors, StartVisitors, StopVisitors
from protocol.messages import Visitors as VisitorsAnswer
from vision.errors import ModelError
from vision.photos import MAX_FILE_BYTES
from vision.reasons import Reason, Refused


@dataclass(slots=True)
class _Form:
    """What has arrived of an upload."""

    fields: dict[str, Any] = field(default_factory=dict)
    accepted: list[UploadedPhoto] = field(default_factory=list)
    refused: list[dict[str, str]] = field(default_factory=list)
    digests: set[bytes] = field(default_factory=set)

    def take(self, file: str, verdict: UploadedPhoto | Refused) -> None:
        """Note what became of a photo."""
        if isinstance(verdict, UploadedPhoto):
            digest = hashlib.sha256(verdict.jpeg).digest()
            if digest in self.digests:
                # The same picture twice would count as two agreeing templates.
                verdict = Refused(Reason.REPEATED, "the same picture as another one")
            else:
                self.digests.add(digest)
                self.accepted.append(verdict)
        if isinstance(verdict, Refused):
            self.refused.append({"file": file, "reason": verdict.reason.value, "text": verdict.text})


class Enrol:
    """The handlers."""

    def __init__(self, photos: PhotoDesk) -> None:
        self._photos = photos

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/api/people", self.add),
            web.get("/api/visitors", self.visitors),
            web.post("/api/visitors/start", self.start),
            web.post("/api/visitors/stop", self.stop),
            web.post("/api/visitors/enrol", self.enrol),
        ]

    @needs(Role.OPERATOR)
    @answers
    async def add(self, request: web.Request) -> web.Response:
        """A form with files: `terms` (JSON: name, cameras, until, note, keep_photos), then each `photo`."""
        form = await self._read(request)
        name = person_name(text_in(form.fields, "name"))
        cameras, until, note = terms_in(form.fields, request.app[CONTEXT].wall())
        if not form.accepted:
            return refusal(422, "No photo can be used, so nobody was enrolled.", refused=form.refused)
        answer = await people_of(
            request,
            AddPerson(
                session=SESSION, seq=0, name=name, photos=tuple(p.photo for p in form.accepted),
                cameras=cameras, consent_until=until, note=note,
                keep_photos=form.fields.get("keep_photos") is True,
            ),
            *(p.jpeg for p in form.accepted),
        )  # fmt: skip
        return web.json_response(
            {
                "person": person_json(answer.people[0], request.app[CONTEXT].wall()),
                "enrolled": [p.photo.source for p in form.accepted], "refused": form.refused,
            }
        )  # fmt: skip

    @needs(Role.OPERATOR)
    @answers
    async def visitors(self, request: web.Request) -> web.Response:
        return await _visitors(request, ListVisitors(session=SESSION, seq=0))

    @needs(Role.OPERATOR)
    @answers
    async def start(self, request: web.Request) -> web.Response:
        """Group the unknown faces of a camera for some minutes."""
        body = await body_of(request)
        minutes = body.get("minutes")
        if not isinstance(minutes, int | float) or not 0 < minutes * 60 <= MAX_GROUPING_S:
            raise BadInputError(f"Between 1 and {MAX_GROUPING_S / 60:.0f} minutes.")
        camera = text_in(body, "camera")
        return await _visitors(
            request, StartVisitors(session=SESSION, seq=0, camera=camera, duration_s=float(minutes) * 60)
        )

    @needs(Role.OPERATOR)
    @answers
    async def stop(self, request: web.Request) -> web.Response:
        return await _visitors(request, StopVisitors(session=SESSION, seq=0))

    @needs(Role.OPERATOR)
    @answers
    async def enrol(self, request: web.Request) -> web.Response:
        """Enrol one of them."""
        body = await body_of(request)
        visitor = body.get("visitor")
        if not isinstance(visitor, int) or visitor < 0:
            raise BadInputError("Which visitor is meant?")
        now = request.app[CONTEXT].wall()
        cameras, until, note = terms_in(body, now)
        answer = await people_of(
            request,
            EnrolVisitor(
                session=SESSION, seq=0, visitor=visitor, name=person_name(text_in(body, "name")),
                cameras=cameras, consent_until=until, note=note,
            ),
        )  # fmt: skip
        return web.json_response({"person": person_json(answer.people[0], now)})

    async def _read(self, request: web.Request) -> _Form:
        """One photo after the other, so that no more than one is in memory as a whole."""
        if request.content_type != "multipart/form-data":
            raise BadInputError("Send a form with files.")
        form = _Form()
        try:
            async for part in await request.multipart():
                if not isinstance(part, BodyPartReader):
                    raise BadInputError("That is no form of ours.")
                if part.name == "terms":
                    form.fields = _terms(await _bytes(part, MAX_REQUEST_HEADER_BYTES))
                elif part.name == "photo":
                    await self._take(form, part)
                else:
                    raise BadInputError("That is no form of ours.")
        except ValueError as exc:
            raise BadInputError("That is no form.") from exc
        except ModelError as exc:
            raise BadInputError(f"Photos cannot be examined: {exc}.") from exc
        return form

    async def _take(self, form: _Form, part: BodyPartReader) -> None:
        if len(form.accepted) + len(form.refused) >= MAX_PHOTOS:
            raise BadInputError(f"At most {MAX_PHOTOS} photos at once: add the others after these.")
        if not form.fields:
            raise BadInputError("The terms come before the photos.")
        name = shown_name(part.filename or "")
        form.take(name, await self._photos.examine(name, await _bytes(part, MAX_FILE_BYTES)))


def person_name(text: str) -> str:
    """A name as it is kept: Unicode NFC, single spaces. Raises BadInputError."""
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not name:
        raise BadInputError("A name is needed.")
    if len(name) > MAX_NAME_CHARS or not name.isprintable():
        raise BadInputError(f"A name has at most {MAX_NAME_CHARS} characters that can be read.")
    return name


def _terms(data: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise BadInputError("That is no form of ours.") from exc
    if not isinstance(fields, dict) or not fields:
        raise BadInputError("That is no form of ours.")
    return fields


async def _bytes(part: BodyPartReader, limit: int) -> bytes:
    data = bytearray()
    while chunk := await part.read_chunk(65_536):
        data += chunk
        if len(data) > limit:
            raise BadInputError(f"A file is larger than {limit // 2**20} MB: make it smaller.")
    return bytes(data)


async def _visitors(
    request: web.Request, message: StartVisitors | ListVisitors | StopVisitors
) -> web.Response:
    answer = await ask(request, message)
    assert isinstance(answer, VisitorsAnswer), "the desk answers these with visitors"
    return web.json_response(
        {
            "camera": answer.camera, "left_s": round(answer.left_s),
            "visitors": [
                {
                    "id": v.id, "looks": v.looks, "quality": round(v.quality, 2), "ready": v.ready,
                    "first_seen_s": round(v.first_seen_s), "last_seen_s": round(v.last_seen_s),
                }
                for v in answer.visitors
            ],
        }
    )  # fmt: skip
