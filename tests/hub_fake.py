"""The real server with answers that the test writes, on loopback with real keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from hub.server import Server, ServerSettings, Told
from protocol.keys import KeyPair, Peer, allowed_file, create_keypair, write_public_key
from protocol.messages import (
    AnyMessage,
    FaceDecision,
    FaceQuery,
    ListPeople,
    NodeReport,
    People,
    Request,
    Role,
)
from protocol.session import HubFacts

Answer = Callable[[Peer, Request, Sequence[bytes]], Awaitable[AnyMessage]]


class Keyring:
    """A hub's keys and its allow-list, in a folder of the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hub = create_keypair(folder / "hub.key", "hub", "hub")
        self.allow_list = folder / "authorized"
        self.allow_list.mkdir()

    def client(self, name: str, role: Role = "node", *, is_allowed: bool = True) -> KeyPair:
        """A new key pair, let in or not."""
        keys = create_keypair(self.folder / f"{name}.{role}.key", name, role)
        if is_allowed:
            write_public_key(self.file_of(name, role), keys)
        return keys

    def file_of(self, name: str, role: Role = "node") -> Path:
        return allowed_file(self.allow_list, Peer(name, role))


class FakeHandler:
    """Reveals everyone for three seconds and knows nobody, unless the test says otherwise."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.happened: asyncio.Queue[tuple[str, Peer, bytes]] = asyncio.Queue()
        self.asked: list[tuple[Peer, Request, tuple[bytes, ...]]] = []
        self.reports: asyncio.Queue[tuple[Peer, NodeReport]] = asyncio.Queue()
        self._answer = answer or plain_answer

    def facts(self, peer: Peer) -> HubFacts:
        return HubFacts("fake-model", 7, f"mode of {peer.name}")

    def opened(self, peer: Peer, session: bytes) -> None:
        self.happened.put_nowait(("opened", peer, session))

    def lost(self, peer: Peer, session: bytes) -> None:
        self.happened.put_nowait(("lost", peer, session))

    def reported(self, peer: Peer, session: bytes, report: NodeReport) -> None:
        self.reports.put_nowait((peer, report))

    def decide(self, peer: Peer, query: FaceQuery, crop: bytes, told: Told) -> Callable[[], None]:
        async def answered() -> None:
            try:
                answer = await self.answer(peer, query, [crop])
                assert isinstance(answer, FaceDecision)
                told(answer)
            except Exception as exc:
                told(exc)

        task = asyncio.create_task(answered())

        def give_up() -> None:
            task.cancel()

        return give_up

    async def answer(self, peer: Peer, request: Request, payloads: Sequence[bytes]) -> AnyMessage:
        self.asked.append((peer, request, tuple(payloads)))
        return await self._answer(peer, request, payloads)

    async def next(self) -> tuple[str, Peer, bytes]:
        """What happened next."""
        return await asyncio.wait_for(self.happened.get(), 10.0)


async def plain_answer(peer: Peer, request: Request, payloads: Sequence[bytes]) -> AnyMessage:
    if isinstance(request, FaceQuery):
        return FaceDecision(
            session=request.session,
            seq=request.seq,
            track=request.track,
            reveal=True,
            lease_s=3.0,
            identity="p1",
            name="Grace Hopper",
        )
    assert isinstance(request, ListPeople)
    return People(session=request.session, seq=request.seq, people=(), gallery_version=7)


@asynccontextmanager
async def running(
    keys: Keyring, handler: FakeHandler, settings: ServerSettings | None = None
) -> AsyncIterator[Server]:
    """A server on a free port (or the given one), stopped at the end."""
    settings = settings or ServerSettings(address="tcp://127.0.0.1:*")
    server = Server(settings, keys.hub, keys.allow_list, handler)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
