"""What admins ask about visitors: group them for some minutes, list, enrol one, stop.

Lives in the event loop; the embeddings are the inference thread's (`hub.visitors`). While visitors are
grouped their camera shows nobody, known or not, and its page says so until when. Called by `hub.service`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from hub.errors import DeclinedError
from hub.people import PeopleDesk
from hub.visitors import MIN_LOOKS, VisitorBook, VisitorLooks
from protocol.limits import MAX_DURATION_S
from protocol.messages import (
    EnrolVisitor,
    ListVisitors,
    People,
    StartVisitors,
    StopVisitors,
    Visitor,
    Visitors,
)

VisitorRequest = StartVisitors | ListVisitors | StopVisitors | EnrolVisitor
InInference = Callable[[Callable[[], Any]], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Grouping:
    """Visitors of one camera are being grouped."""

    camera: str
    until: float
    """Monotonic seconds."""
    words: str
    """For the camera's page."""


class VisitorDesk:
    """`is_camera` tells whether a node of that name is connected; `tell(camera, text)` puts a text on its
    page and, where there is one, veils everyone it shows. `wall` gives UTC epoch seconds."""

    def __init__(
        self,
        book: VisitorBook,
        people: PeopleDesk,
        in_inference: InInference,
        is_camera: Callable[[str], bool],
        tell: Callable[[str, str], None],
        wall: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._book = book
        self._people = people
        self._in_inference = in_inference
        self._is_camera = is_camera
        self._tell = tell
        self._wall = wall
        self._clock = clock
        self._changing = asyncio.Lock()
        self.grouping: Grouping | None = None

    def words(self, camera: str) -> str:
        """What the page of a camera says about visitors; empty where none are grouped there."""
        grouping = self.grouping
        is_on = grouping is not None and grouping.camera == camera and self._clock() < grouping.until
        return grouping.words if grouping is not None and is_on else ""

    async def answer(self, request: VisitorRequest) -> Visitors | People:
        """Do what is asked. Raises DeclinedError where it is not done."""
        async with self._changing:
            match request:
                case StartVisitors():
                    await self._start(request)
                case StopVisitors():
                    await self._stop()
                case EnrolVisitor():
                    return await self._enrol(request)
            return await self._list(request)

    async def poll(self) -> None:
        """To be called often: stops when the time is over."""
        grouping = self.grouping
        if grouping is not None and self._clock() >= grouping.until:
            async with self._changing:
                if self.grouping is grouping:
                    await self._stop()

    async def close(self) -> None:
        """Forget everyone; the hub is stopping."""
        async with self._changing:
            await self._stop()

    async def _start(self, request: StartVisitors) -> None:
        if not self._is_camera(request.camera):
            raise DeclinedError("not-found", f"no camera named {request.camera} is connected")
        if self.grouping is not None:
            await self._stop()
        until = self._clock() + request.duration_s
        at = datetime.fromtimestamp(self._wall() + request.duration_s, UTC).astimezone()
        words = f"Visitors are being grouped until {at:%H:%M}; nobody is shown."
        # Veiled first: from the first look that is kept on, nobody is shown.
        self.grouping = Grouping(request.camera, until, words)
        self._tell(request.camera, words)
        await self._in_inference(lambda: self._book.start(request.camera, until))

    async def _stop(self) -> None:
        await self._in_inference(self._book.stop)
        grouping, self.grouping = self.grouping, None
        if grouping is not None:
            self._tell(grouping.camera, "")

    async def _list(self, request: StartVisitors | ListVisitors | StopVisitors) -> Visitors:
        now = self._clock()
        views = await self._in_inference(lambda: self._book.view(now))
        grouping = self.grouping
        return Visitors(
            session=request.session,
            seq=request.seq,
            camera="" if grouping is None else grouping.camera,
            left_s=0.0 if grouping is None else max(0.0, grouping.until - now),
            visitors=tuple(
                Visitor(
                    id=v.id,
                    looks=v.looks,
                    quality=min(1.0, v.quality),
                    first_seen_s=min(MAX_DURATION_S, max(0.0, v.first_seen_s)),
                    last_seen_s=min(MAX_DURATION_S, max(0.0, v.last_seen_s)),
                    ready=v.ready,
                )
                for v in views
            ),
        )

    async def _enrol(self, request: EnrolVisitor) -> People:
        now = self._clock()
        looks: VisitorLooks | None = await self._in_inference(
            lambda: self._book.looks_of(request.visitor, now)
        )
        if looks is None:
            raise DeclinedError("not-found", f"there is no visitor {request.visitor}: see visitor list")
        if len(looks.qualities) < MIN_LOOKS:
            raise DeclinedError(
                "quality",
                f"visitor {request.visitor} has {len(looks.qualities)} good looks of {MIN_LOOKS} needed: "
                "let them walk past again, facing the camera",
            )
        try:
            people = await self._people.answer(request, (), looks)
        finally:
            looks.embeddings.fill(0.0)
        await self._in_inference(lambda: self._book.forget(request.visitor))
        return people
