"""Who may watch this node: browsers with a ticket that its hub has signed (protocol.tickets). [I/O]

Checks every request, lets pages of the hub ask (CORS), and ends what a ticket began when the ticket ends.
Without a guard a node is open to whoever reaches it, which is loopback then. Used by `stream.web`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from edge_node.stream.errors import WebError
from protocol.hosts import is_loopback
from protocol.tickets import Ticket, TicketError, check_ticket, public_key_from

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Middleware = Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]
TICKET: web.RequestKey[Ticket] = web.RequestKey("ticket", Ticket)
MAX_KEY_BYTES = 4_096
OPEN_ON_LOOPBACK = frozenset({"/healthz", "/metrics"})
"""For programs on this machine, which have no user. They tell nothing about anybody."""
METHODS = "GET, POST, PUT, PATCH, DELETE"
PREFLIGHT_S = 600


@dataclass(frozen=True, slots=True)
class Guard:
    """`wall` gives UTC epoch seconds."""

    camera: str
    """This node's name."""
    public: bytes
    """The hub's signing key, 32 bytes."""
    hub_origin: str = ""
    """Whose pages may ask from a browser; empty: only the node's own."""
    has_captions: bool = False
    """The picture itself holds the names of people who are shown."""
    wall: Callable[[], float] = time.time

    def middlewares(self) -> list[Middleware]:
        """In the order in which they are asked."""
        return [self._share_with_hub, self._need_ticket]

    async def share(self, request: web.Request, response: web.StreamResponse) -> None:
        """The headers by which a page of the hub may use an answer; for `on_response_prepare`."""
        if not self.hub_origin:
            return
        # An <img> of the hub's page may show what the ticket in its address opens.
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        response.headers["Vary"] = "Origin"
        if request.headers.get("Origin") == self.hub_origin:
            response.headers["Access-Control-Allow-Origin"] = self.hub_origin
            response.headers["Access-Control-Expose-Headers"] = "Location, X-Frame-Seq"

    @web.middleware
    async def _share_with_hub(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """A browser asks first whether the hub's page may; that question carries no ticket."""
        asks = "Access-Control-Request-Method" in request.headers
        if request.method != "OPTIONS" or not asks or not self.hub_origin:
            return await handler(request)
        if request.headers.get("Origin") != self.hub_origin:
            return web.Response(status=403, text="This page may not ask.")
        headers = {
            "Access-Control-Allow-Methods": METHODS,
            "Access-Control-Allow-Headers": "Authorization, Content-Type",
            "Access-Control-Max-Age": str(PREFLIGHT_S),
        }
        if "Access-Control-Request-Private-Network" in request.headers:
            headers["Access-Control-Allow-Private-Network"] = "true"
        return web.Response(status=204, headers=headers)

    @web.middleware
    async def _need_ticket(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in OPEN_ON_LOOPBACK and is_loopback(request.remote or ""):
            return await handler(request)
        text = self._presented(request)
        if not text:
            return _refuse("This camera needs a ticket: open it from the pages of its hub.")
        try:
            ticket = check_ticket(text, self.camera, self.public, self.wall())
        except TicketError as exc:
            return _refuse(str(exc))
        if self.has_captions and not ticket.may_see_names:
            return web.Response(
                status=403,
                text="This camera writes names into its picture, and this ticket is without names "
                "(veil.captions in node.toml).",
            )
        request[TICKET] = ticket
        return await self._until_it_ends(request, handler, ticket, text)

    async def _until_it_ends(
        self, request: web.Request, handler: Handler, ticket: Ticket, text: str
    ) -> web.StreamResponse:
        left_s = ticket.expires - self.wall()
        try:
            async with asyncio.timeout(left_s) as limit:
                response = await handler(request)
        except TimeoutError:
            if not limit.expired():
                raise
            if request.transport is not None:
                request.transport.abort()
            return _refuse("The ticket has ended.")
        if request.path == "/" and not response.prepared:  # what the page loads comes with this
            response.set_cookie(
                self._cookie(request), text, path="/", max_age=int(left_s) + 1,
                secure=request.secure, httponly=True, samesite="Strict",
            )  # fmt: skip
        return response

    def _presented(self, request: web.Request) -> str:
        kind, _, text = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "bearer" and text:
            return text.strip()
        return request.query.get("ticket") or request.cookies.get(self._cookie(request), "")

    def _cookie(self, request: web.Request) -> str:
        """One a camera: nodes on one machine share their cookies, whatever the port."""
        return f"{'__Host-' if request.secure else ''}veilcast-ticket-{self.camera}"


def open_guard(camera: str, key: str, hub_origin: str, *, has_captions: bool) -> Guard | None:
    """The guard, with the hub's public key from a file; None where no file is named. Raises WebError."""
    if not key:
        if hub_origin:
            raise WebError("web.hub_origin needs web.ticket_key: pages of the hub come with tickets")
        return None
    try:
        with Path(key).open("rb") as file:
            public = public_key_from(file.read(MAX_KEY_BYTES).decode("ascii"))
    except OSError as exc:
        raise WebError(
            f"{key}: cannot be read: {exc.strerror}; web.ticket_key names the hub's public signing key, "
            "which veilcast-hub receipt key prints"
        ) from exc
    except ValueError as exc:
        raise WebError(f"{key}: not a public signing key; veilcast-hub receipt key prints one") from exc
    return Guard(camera, public, hub_origin, has_captions)


def may_see_names(request: web.Request) -> bool:
    """Whoever asks may be told the names of people who are shown."""
    ticket = request.get(TICKET)
    return ticket is None or ticket.may_see_names


def _refuse(text: str) -> web.Response:
    return web.Response(status=401, text=text, headers={"WWW-Authenticate": "Bearer"})
