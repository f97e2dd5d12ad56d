"""What the audit log tells, newest first, with filters. [I/O]

The log holds ids of identities; names are put to them here, for those who are still enrolled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any, get_args

from aiohttp import web

from hub.audit.recent import Record, Sort, Wanted, newest, sort_of
from hub.web.access import Role, needs
from hub.web.replies import BadInputError, answers, ports_of
from hub.web.shell import Shell

PER_PAGE = 50
_FACTS = (
    "cameras", "until", "photos", "visitor", "duration_s", "people", "role", "name", "user", "address",
    "threshold", "margin", "model", "reveals_refused", "by_link", "through",
)  # fmt: skip
"""Members of records that are shown as they are."""


class Activity:
    """The handlers. One page is read at a time, whoever asks."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._reading = asyncio.Lock()

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/activity", self.page), web.get("/api/activity", self.list)]

    @needs(Role.OPERATOR)
    async def page(self, request: web.Request) -> web.Response:
        return self._shell.page(request, "activity")

    @needs(Role.OPERATOR)
    @answers
    async def list(self, request: web.Request) -> web.Response:
        """One page: `sort`, `act`, `person` (a name or an id), `camera`, `since`, `until`, `before`."""
        ports = ports_of(request)
        names = await ports.names()
        wanted = wanted_in(request.query, names)
        if wanted is None:
            return web.json_response({"entries": [], "before": None, "total": 0, "unknown_person": True})
        going_on = frozenset(shown.reveal for shown in ports.shown())
        async with self._reading:
            page = await asyncio.to_thread(
                newest, ports.audit_files, ports.public_key, wanted, PER_PAGE, going_on
            )
        entries = [entry_json(record, names) for record in page.records]
        return web.json_response({"entries": entries, "before": page.next_before, "total": page.total})


def wanted_in(query: Mapping[str, str], names: Mapping[str, str]) -> Wanted | None:
    """The filter that was asked for; None where it names nobody. Raises BadInputError."""
    sort = query.get("sort", "")
    if sort and sort not in get_args(Sort):
        raise BadInputError("There is no such sort of entries.")
    person, identity = query.get("person", "").strip(), ""
    if person:
        folded = person.casefold()
        identity = next((i for i, name in names.items() if name.casefold() == folded), "")
        if not identity and all(c.isalnum() or c in "-_" for c in person):
            identity = person  # of somebody who was erased, perhaps
        if not identity:
            return None
    before = query.get("before", "")
    if before and not (before.isdecimal() and len(before) <= 15):
        raise BadInputError("That is no place in the log.")
    return Wanted(
        sort=sort or None,  # type: ignore[arg-type]  # checked above
        act=query.get("act", ""), identity=identity, camera=query.get("camera", "").strip(),
        since=_moment(query.get("since", "")), until=_moment(query.get("until", "")),
        before=int(before) if before else None,
    )  # fmt: skip


def _moment(text: str) -> float | None:
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError, OSError) as exc:
        raise BadInputError("A time is written like 2026-11-21T14:05.") from exc


def entry_json(record: Record, names: Mapping[str, str]) -> dict[str, Any]:
    """A record as the page shows it."""
    kind = record["kind"]
    identity = record.get("identity", "")
    entry: dict[str, Any] = {
        "n": record["n"], "at": record["at"], "sort": sort_of(record), "what": record.get("what", kind),
        "by": record.get("by", ""), "result": record.get("result", ""), "camera": record.get("camera", ""),
        "identity": identity, "person": names.get(identity, ""),
        "facts": {name: record[name] for name in _FACTS if name in record},
    }  # fmt: skip
    if kind == "reveal-end":
        entry |= {
            "what": "shown", "start": record["start"], "end": record["end"], "cause": record["cause"],
            "similarity": record.get("least_similarity"),
        }  # fmt: skip
    elif kind == "reveal-start":
        entry |= {
            "what": "shown", "start": record["at"], "end": None, "cause": "",
            "similarity": record.get("similarity"),
        }  # fmt: skip
    return entry
