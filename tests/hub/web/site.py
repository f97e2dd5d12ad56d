"""A site for tests: a real aiohttp server over real TLS, with a fake audit log and cheap passwords."""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from argon2 import PasswordHasher
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.errors import DeclinedError
from hub.web.access import Role, User, needs, user_of
from hub.web.accounts import Accounts
from hub.web.app import build_app
from hub.web.context import WebContext
from hub.web.passwords import Passwords
from hub.web.tickets import TicketOffice
from hub.web.tls import Certificate, made_certificate
from hub.web.users import Lifetime, UserStore

NOW = 1_800_000_000.0
PASSWORD = "correct horse battery"
CHEAP = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


class Notes:
    """An audit log that can be full."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, object]]] = []
        self.is_full = False

    def note(self, by: str, what: str, **facts: object) -> None:
        self.lines.append((by, what, facts))

    async def recorded(self, by: str, what: str, **facts: object) -> None:
        if self.is_full:
            raise DeclinedError("internal", "the disk is full")
        self.note(by, what, **facts)

    def about(self, what: str) -> list[tuple[str, dict[str, object]]]:
        return [(by, facts) for by, done, facts in self.lines if done == what]


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class World:
    """Users in a real store, and a site that shows a page to each role."""

    def __init__(self, folder: Path, *, is_tls: bool = True) -> None:
        self.clock, self.notes = Clock(), Notes()
        self.store = UserStore(folder)
        self.lifetime = Lifetime(600.0, 3_600.0)
        self.accounts = Accounts(self.store, self.notes, self.lifetime, self.clock, self.clock, CHEAP)
        self.key = Ed25519PrivateKey.generate()
        self.certificate: Certificate | None = made_certificate(folder, ["hub.lan"]) if is_tls else None
        self.url = ""

    def add(self, name: str, role: Role, cameras: frozenset[str] | None = None) -> None:
        self.store.add(User(name, role, cameras), CHEAP.hash(PASSWORD), "test", self.clock())

    def app(self) -> web.Application:
        app = build_app(self.context())
        app.add_routes(
            [
                web.get("/", _whoami), web.post("/watch", _whoami),
                web.get("/operate", _operate), web.get("/admin", _admin),
            ]
        )  # fmt: skip
        return app

    def context(self, **other: Any) -> WebContext:
        audit: Any = self.notes
        return WebContext(
            audit=audit,
            accounts=self.accounts,
            wall=self.clock,
            let_in=frozenset,
            issue_ticket=TicketOffice(self.key, 300.0, self.clock).issue,
            is_tls=self.certificate is not None,
            names=self.certificate.names if self.certificate is not None else frozenset(),
            stream_origins=lambda: ("https://door.lan:8080",),
            **other,
        )

    @asynccontextmanager
    async def running(self, app: Callable[[], web.Application] | None = None) -> AsyncIterator[World]:
        runner = web.AppRunner((app or self.app)(), access_log=None)
        await runner.setup()
        tls = None if self.certificate is None else self.certificate.context()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()
            await self.accounts.close()

    def browser(self) -> Browser:
        return Browser(self)


class Browser:
    """Keeps cookies, and sends what browsers send: Origin and Sec-Fetch-Site."""

    def __init__(self, world: World) -> None:
        self._world = world
        context: ssl.SSLContext | bool = False
        if world.certificate is not None:  # the real check of the certificate that was made
            context = ssl.create_default_context(cafile=str(world.certificate.cert))
        self.client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context),
            cookie_jar=aiohttp.CookieJar(unsafe=True),
            timeout=aiohttp.ClientTimeout(total=60),
            headers={"Accept": "text/html"},
        )

    async def __aenter__(self) -> Browser:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        async with self.client.get(
            self._world.url + path, headers=headers, allow_redirects=False
        ) as response:
            location = response.headers.get("Location", "")
            return response.status, location or await response.text()

    async def post(self, path: str, headers: dict[str, str] | None = None, **form: str) -> tuple[int, str]:
        sent = {"Origin": self._world.url, "Sec-Fetch-Site": "same-origin", **(headers or {})}
        sent = {name: value for name, value in sent.items() if value}
        async with self.client.post(
            self._world.url + path, data=form, headers=sent, allow_redirects=False
        ) as response:
            location = response.headers.get("Location", "")
            return response.status, location or await response.text()

    async def login(self, name: str, password: str = PASSWORD) -> int:
        status, _ = await self.post("/login", name=name, password=password)
        return status

    async def csrf(self) -> str:
        _, page = await self.get("/password")
        found = re.search(r'name="csrf" value="([^"]+)"', page)
        assert found is not None
        return found[1]

    def cookie(self, name: str) -> str:
        return next((c.value for c in self.client.cookie_jar if c.key == name), "")


@needs(Role.VIEWER)
async def _whoami(request: web.Request) -> web.Response:
    return web.Response(text=user_of(request).name)


@needs(Role.OPERATOR)
async def _operate(_: web.Request) -> web.Response:
    return web.Response(text="operate")


@needs(Role.ADMIN)
async def _admin(_: web.Request) -> web.Response:
    return web.Response(text="admin")
