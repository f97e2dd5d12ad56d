"""The pages on a real hub with real stores and sockets; who is signed in, and the detector, are stand-ins."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from hub.signing import load_or_create
from hub.web.access import Role, User
from hub.web.app import build_app
from hub.web.context import WebContext
from hub.web.pages import add_pages
from hub.web.sessions import csrf_token
from hub.web.tickets import TicketOffice
from hub.web.uploads import PhotoDesk
from tests.enrollment.fakes import FakeDetector
from tests.hub.test_service import World

USERS = {
    "ada": User("ada", Role.ADMIN),
    "olga": User("olga", Role.OPERATOR),
    "vic": User("vic", Role.VIEWER, frozenset({"door"}), sees_names=False),
}
Client = TestClient[web.Request, web.Application]


class Accounts:
    """The name in the cookie is the user."""

    async def find(self, session: str) -> User | None:
        return USERS.get(session)


class Page:
    """One user's browser."""

    def __init__(self, client: Client, user: str) -> None:
        self._client = client
        self._user = user

    async def get(self, path: str, **options: Any) -> tuple[int, Any]:
        """Status and JSON, or text where it is none."""
        async with self._client.get(
            path, headers=self._headers(), allow_redirects=False, **options
        ) as answer:
            return answer.status, await _body(answer)

    async def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        options = {"data": body} if isinstance(body, aiohttp.FormData) else {"json": body}
        async with self._client.post(path, headers={**self._headers(), **headers}, **options) as answer:
            return answer.status, await _body(answer)

    async def upload(self, terms: Mapping[str, object], *photos: bytes) -> tuple[int, Any]:
        form = aiohttp.FormData()
        form.add_field("terms", json.dumps(terms), content_type="application/json")
        for n, photo in enumerate(photos):
            form.add_field("photo", photo, filename=f"{n}.png", content_type="image/png")
        return await self.post("/api/people", form)

    def _headers(self) -> dict[str, str]:
        return {
            "Cookie": f"veilcast-session={self._user}", "X-CSRF-Token": csrf_token(self._user),
            "Sec-Fetch-Site": "same-origin", "Accept": "application/json",
        }  # fmt: skip


async def _body(answer: aiohttp.ClientResponse) -> Any:
    return await answer.json() if answer.content_type == "application/json" else await answer.text()


@asynccontextmanager
async def pages(world: World, detector: FakeDetector | None = None) -> AsyncIterator[Client]:
    """The pages of a hub that runs."""
    hub = world.hub
    key = load_or_create(hub._settings.files.signing_key)
    tickets = TicketOffice(key, 60.0, lambda: world.wall)
    context = WebContext(
        audit=hub._audit, accounts=Accounts(), wall=lambda: world.wall,  # type: ignore[arg-type]
        let_in=lambda: hub._server.let_in, issue_ticket=tickets.issue, pages=hub.for_pages(), is_tls=False,
    )  # fmt: skip
    app = build_app(context)
    add_pages(app, PhotoDesk(detector or FakeDetector()))
    async with TestClient(TestServer(app)) as client:
        yield client
