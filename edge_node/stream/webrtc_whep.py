"""WHEP: how a browser or a player asks for the live video over HTTP. [I/O]

`POST /whep` with an offer gives 201, the answer and the address of the session; `PATCH` there takes
candidates that follow, `DELETE` ends it. A session that was opened with a ticket ends with it; `PUT` with a
newer one prolongs it. Who may connect is `stream.web`'s part, which adds these routes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from aiohttp import web

from edge_node.stream.guard import TICKET
from edge_node.stream.mjpeg import ViewersFull
from edge_node.stream.webrtc import WebRtcSink
from edge_node.stream.webrtc_peer import OfferRefused

MAX_SDP_BYTES = 64 * 1024
"""A browser's offer has 2 to 8 KiB; with every codec and extension known, less than 20."""
SDP, FRAGMENT = "application/sdp", "application/trickle-ice-sdpfrag"


class WhepRoutes:
    """The handlers. `addresses`: where to receive media, all addresses of the machine if empty. `wall`
    gives UTC epoch seconds."""

    def __init__(self, sink: WebRtcSink, addresses: Sequence[str], wall: Callable[[], float]) -> None:
        self._sink = sink
        self._addresses = tuple(addresses)
        self._wall = wall
        self._ends: dict[str, tuple[str, asyncio.TimerHandle]] = {}
        """Whose ticket opened a session, and what ends it."""
        self._closing: set[asyncio.Task[None]] = set()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/whep", self._open),
            web.patch("/whep/{name}", self._add_candidates),
            web.delete("/whep/{name}", self._close),
            web.put("/whep/{name}", self._prolong),
        ]

    async def stop(self, _: web.Application) -> None:
        for _user, timer in self._ends.values():
            timer.cancel()
        await self._sink.hang_up()

    async def _open(self, request: web.Request) -> web.Response:
        # A form of another site cannot send this type unasked, so it cannot open a session either.
        offer = await _body(request, SDP)
        try:
            name, answer = await self._sink.admit(offer, self._addresses)
        except ViewersFull as exc:
            return web.Response(status=503, text=f"{exc}.", headers={"Retry-After": "10"})
        except OfferRefused as exc:
            return web.Response(status=400, text=f"{exc}.")
        self._end_with_ticket(name, request)
        return web.Response(status=201, text=answer, content_type=SDP, headers={"Location": f"/whep/{name}"})

    async def _add_candidates(self, request: web.Request) -> web.Response:
        peer = self._sink.find(request.match_info["name"])
        if peer is None:
            return web.Response(status=404, text="This session has ended.")
        try:
            await peer.add_candidates(await _body(request, FRAGMENT))
        except OfferRefused as exc:
            return web.Response(status=400, text=f"{exc}.")
        return web.Response(status=204)

    async def _close(self, request: web.Request) -> web.Response:
        peer = self._sink.find(request.match_info["name"])
        if peer is None:
            return web.Response(status=404, text="This session has ended.")
        await peer.close()
        return web.Response(status=200)

    async def _prolong(self, request: web.Request) -> web.Response:
        """The request's ticket in place of the one that the session was opened with."""
        name = request.match_info["name"]
        if self._sink.find(name) is None:
            return web.Response(status=404, text="This session has ended.")
        ticket, known = request.get(TICKET), self._ends.get(name)
        if ticket is not None and known is not None and ticket.user != known[0]:
            return web.Response(status=403, text="This session is somebody else's.")
        self._end_with_ticket(name, request)
        return web.Response(status=204)

    def _end_with_ticket(self, name: str, request: web.Request) -> None:
        ticket = request.get(TICKET)
        if ticket is None:
            return
        if known := self._ends.pop(name, None):
            known[1].cancel()
        timer = asyncio.get_running_loop().call_later(ticket.expires - self._wall(), self._end, name)
        self._ends[name] = (ticket.user, timer)

    def _end(self, name: str) -> None:
        self._ends.pop(name, None)
        if (peer := self._sink.find(name)) is not None:
            task = asyncio.create_task(peer.close(), name="ticket-ended")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


async def _body(request: web.Request, kind: str) -> str:
    """The request's text. Raises HTTPException where it is of another kind, too large or no text."""
    if request.content_type != kind:
        raise web.HTTPUnsupportedMediaType(text=f"Send {kind}.")
    data = bytearray()
    async for chunk in request.content.iter_any():
        data += chunk
        if len(data) > MAX_SDP_BYTES:
            raise web.HTTPRequestEntityTooLarge(MAX_SDP_BYTES, len(data), text="That is too long.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise web.HTTPBadRequest(text="That is no text.") from exc
