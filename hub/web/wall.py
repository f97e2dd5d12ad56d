"""The wall: every camera that a user may watch, as tiles with their state, and tickets to the nodes. [I/O]

No picture passes through here: browsers get them from the nodes, with a ticket that the hub signs.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web

from hub.nodes import NodeView
from hub.web.access import Role, User, may_watch, needs, user_of
from hub.web.context import CONTEXT
from hub.web.ports import PagePorts
from hub.web.replies import answers, ports_of, refusal
from hub.web.shell import Shell
from protocol.tickets import check_ticket

EVENT_EVERY_S = 0.5
"""How soon a change reaches a page."""
REPEAT_EVERY_S = 5.0
"""Also without a change, so that a page notices when the hub is gone."""
LISTEN_S = 60.0
"""Then the page asks again, and whether it still may is looked at again."""
MAX_LISTENERS = 256
SLOW_S = 10.0


class Wall:
    """The handlers."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._listeners = 0
        self._stopping = asyncio.Event()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self.page),
            web.get("/api/wall", self.now),
            web.get("/api/wall/events", self.events),
            web.get("/api/tickets/{camera}", self.ticket),
        ]

    async def stop(self, _: web.Application) -> None:
        """Let go of those who listen."""
        self._stopping.set()

    @needs(Role.VIEWER)
    async def page(self, request: web.Request) -> web.Response:
        return self._shell.page(request, "live")

    @needs(Role.VIEWER)
    async def now(self, request: web.Request) -> web.Response:
        return web.json_response(wall_of(request, user_of(request)))

    @needs(Role.VIEWER)
    async def events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: the wall whenever it has changed."""
        if self._listeners >= MAX_LISTENERS:
            return refusal(503, "Too many pages are open.")
        self._listeners += 1
        try:
            return await self._tell(request)
        finally:
            self._listeners -= 1

    @needs(Role.VIEWER)
    @answers
    async def ticket(self, request: web.Request) -> web.Response:
        """Where a camera's node is, and a ticket for it."""
        user, camera = user_of(request), request.match_info["camera"]
        view = ports_of(request).nodes.view(camera, ports_of(request).clock())
        if not may_watch(user, camera) or view is None:
            # The same answer for both: who may not watch a camera does not learn that it exists.
            return refusal(404, "There is no such camera.")
        if not view.address:
            return refusal(409, "This camera serves no pictures to browsers.")
        context = request.app[CONTEXT]
        text, now = context.issue_ticket(user, camera), context.wall()
        ticket = check_ticket(text, camera, ports_of(request).public_key.public_bytes_raw(), now)
        lasts_s = round(ticket.expires - now, 1)
        return web.json_response({"url": view.address, "ticket": text, "lasts_s": lasts_s})

    async def _tell(self, request: web.Request) -> web.StreamResponse:
        user, clock = user_of(request), ports_of(request).clock
        response = web.StreamResponse()
        response.content_type = "text/event-stream"
        await response.prepare(request)
        until, told, told_at = clock() + LISTEN_S, "", float("-inf")
        try:
            while not self._stopping.is_set() and request.transport is not None and clock() < until:
                text = json.dumps(wall_of(request, user))
                if text != told or clock() - told_at >= REPEAT_EVERY_S:
                    async with asyncio.timeout(SLOW_S):
                        await response.write(f"retry: 1000\ndata: {text}\n\n".encode())
                    told, told_at = text, clock()
                await self._pause(EVENT_EVERY_S)
        except (ConnectionError, TimeoutError):
            if request.transport is not None:
                request.transport.abort()
        return response

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return


def wall_of(request: web.Request, user: User) -> dict[str, Any]:
    """The wall as JSON values, for one user: names only where the user may see them."""
    ports, context = ports_of(request), request.app[CONTEXT]
    views = {view.name: view for view in ports.nodes.views(ports.clock())}
    known = {peer.name for peer in context.let_in() if peer.role == "node"} | set(views)
    names = _names(ports) if user.sees_names else {}
    cameras = [
        _tile(name, views.get(name), ports, names.get(name))
        for name in sorted(known)
        if may_watch(user, name)
    ]
    return {
        "cameras": cameras,
        "sees_names": user.sees_names,
        "origins": list(context.stream_origins()) if cameras else [],
    }


def _names(ports: PagePorts) -> dict[str, list[str]]:
    """Whom each camera may be showing, by name."""
    consents = ports.live().consents
    names: dict[str, set[str]] = {}
    for shown in ports.shown():
        if shown.identity in consents:
            names.setdefault(shown.camera, set()).add(consents[shown.identity].name)
    return {camera: sorted(people) for camera, people in names.items()}


def _tile(name: str, view: NodeView | None, ports: PagePorts, people: list[str] | None) -> dict[str, Any]:
    tile: dict[str, Any] = {
        "name": name, "mode": ports.mode_of(name), "notice": ports.notice(name), "report": None,
        "standing": view.standing if view is not None else "away", "has_pictures": False,
    }  # fmt: skip
    if view is None:
        return tile
    tile["has_pictures"] = bool(view.address)
    report = view.report
    if report is not None:
        tile["report"] = {
            "shown": report.shown, "veiled": report.veiled, "fps": round(report.fps, 1),
            "p50_ms": round(report.delay_p50_s * 1000), "p95_ms": round(report.delay_p95_s * 1000),
            "fully_veiled": round(report.fully_veiled, 3), "viewers": report.viewers,
        }  # fmt: skip
        tile["names"] = people if people and report.shown else []
    return tile
