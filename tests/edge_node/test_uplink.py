"""The node's line, against the hub's real server on loopback."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from edge_node.errors import StartError
from edge_node.uplink import MAX_IN_FLIGHT, Uplink
from hub.server import ServerSettings
from protocol.errors import LocalProtocolError
from protocol.keys import KeyPair, Peer
from protocol.messages import AnyMessage, FaceDecision, Notice, Refusal, Request, Revoke, Welcome
from tests.hub_fake import FakeHandler, Keyring, running

LANDMARKS = np.array([(80, 90), (140, 90), (110, 125), (90, 160), (135, 160)], np.float32)
WAIT_S = 15.0
"""Far beyond what anything here takes; a failing test ends then."""


class Owner:
    """Hears everything that an uplink has to say, in order."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[Welcome | FaceDecision | Revoke | Refusal | str] = asyncio.Queue()

    def uplink(self, address: str, keys: KeyPair, hub_key: bytes, name: str = "door") -> Uplink:
        return Uplink(
            address,
            keys,
            hub_key,
            name,
            on_open=self.heard.put_nowait,
            on_lost=self.heard.put_nowait,
            on_decision=lambda message, now: self.heard.put_nowait(message),
            on_revoke=lambda message, now: self.heard.put_nowait(message),
            on_refusal=lambda message, now: self.heard.put_nowait(message),
        )

    async def next(self) -> Welcome | FaceDecision | Revoke | Refusal | str:
        return await asyncio.wait_for(self.heard.get(), WAIT_S)

    async def wait_for(self, kind: type) -> object:
        """The next news of this kind."""
        while not isinstance(news := await self.next(), kind):
            pass
        return news


@asynccontextmanager
async def going(uplink: Uplink) -> AsyncIterator[Uplink]:
    task = asyncio.create_task(uplink.run())
    try:
        yield uplink
    finally:
        assert not task.done(), "run() must go on whatever the other side does"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def keys(tmp_path: Path) -> Keyring:
    return Keyring(tmp_path)


async def test_a_question_is_asked_and_answered(keys: Keyring) -> None:
    owner, handler = Owner(), FakeHandler()
    door = keys.client("door")
    async with (
        running(keys, handler) as server,
        going(owner.uplink(server.address, door, keys.hub.public)) as uplink,
    ):
        assert uplink.ask(3, b"jpeg", LANDMARKS, 0.5) is None, "nothing is asked without a session"
        welcome = await owner.next()
        assert isinstance(welcome, Welcome)
        assert (uplink.state.connected, uplink.state.mode) == (True, "mode of door")
        seq = uplink.ask(3, b"jpeg", LANDMARKS, 0.5)
        decision = await owner.next()
        assert isinstance(decision, FaceDecision)
        assert (decision.seq, decision.track, decision.reveal) == (seq, 3, True)
        assert uplink.in_flight == 0
        [(peer, request, payloads)] = handler.asked
        assert peer == Peer("door", "node")
        assert payloads == (b"jpeg",)
        assert request.landmarks[0] == (80.0, 90.0)  # type: ignore[union-attr]


async def test_a_revocation_is_heard(keys: Keyring) -> None:
    owner, handler = Owner(), FakeHandler()
    door = keys.client("door")
    async with (
        running(keys, handler) as server,
        going(owner.uplink(server.address, door, keys.hub.public)),
    ):
        await owner.next()
        _, _, session = await handler.next()
        assert server.push(session, Revoke(session=session, identities=("p1",)))
        revoke = await owner.next()
        assert isinstance(revoke, Revoke)
        assert revoke.identities == ("p1",)


async def test_a_notice_is_kept_until_it_is_withdrawn_or_the_line_is_lost(keys: Keyring) -> None:
    owner, handler = Owner(), FakeHandler()
    door = keys.client("door")
    async with (
        running(keys, handler) as server,
        going(owner.uplink(server.address, door, keys.hub.public)) as uplink,
    ):
        await owner.next()
        _, _, session = await handler.next()
        for text in ("Visitors are being grouped until 14:05.", ""):
            assert server.push(session, Notice(session=session, text=text))
            assert server.push(session, Revoke(session=session))
            await owner.next()
            assert uplink.state.notice == text
            assert uplink.state.connected
        server.push(session, Notice(session=session, text="again"))
        await server.stop()
        assert isinstance(await owner.next(), str)
        assert uplink.state.notice == ""


async def test_a_hub_that_is_restarted_is_found_again(keys: Keyring) -> None:
    owner = Owner()
    door = keys.client("door")
    async with running(keys, FakeHandler()) as server:
        address = server.address
        task = asyncio.create_task((uplink := owner.uplink(address, door, keys.hub.public)).run())
        await owner.wait_for(Welcome)
    assert await owner.next() == "the hub said goodbye: the hub is stopping"
    assert not uplink.state.connected
    assert uplink.ask(3, b"jpeg", LANDMARKS, 0.5) is None
    async with running(keys, FakeHandler(), ServerSettings(address=address)):
        await owner.wait_for(Welcome)
        seq = uplink.ask(3, b"jpeg", LANDMARKS, 0.5)
        decision = await owner.wait_for(FaceDecision)
        assert isinstance(decision, FaceDecision)
        assert decision.seq == seq
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_hub_that_falls_silent_is_noticed(keys: Keyring) -> None:
    """Killed without a goodbye: the connection may even stay up, but nothing comes any more."""
    owner, handler = Owner(), FakeHandler()
    door = keys.client("door")
    quick = ServerSettings(address="tcp://127.0.0.1:*", heartbeat_s=0.1, liveness=3)
    async with (
        running(keys, handler, quick) as server,
        going(owner.uplink(server.address, door, keys.hub.public)) as uplink,
    ):
        await owner.next()
        await hang(server)
        assert await owner.next() == "the hub was silent for 0.3 s"
        assert not uplink.state.connected
        assert "silent" in uplink.state.reason


async def hang(server: object) -> None:
    """Stop the server's tasks and leave its socket as it is."""
    tasks = server._tasks  # type: ignore[attr-defined]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_key_that_is_not_allowed_gets_no_answer(keys: Keyring) -> None:
    owner, handler = Owner(), FakeHandler()
    stranger = keys.client("door", is_allowed=False)
    async with (
        running(keys, handler) as server,
        going(owner.uplink(server.address, stranger, keys.hub.public)),
    ):
        reason = await owner.next()
        assert isinstance(reason, str)
        assert reason.startswith("no answer")
        assert handler.happened.empty()
        assert server.registry.counters.received == 0


async def test_a_name_that_does_not_fit_the_key_is_refused(keys: Keyring) -> None:
    owner = Owner()
    door = keys.client("door")
    async with (
        running(keys, FakeHandler()) as server,
        going(owner.uplink(server.address, door, keys.hub.public, name="hall")) as uplink,
    ):
        refusal = await owner.next()
        assert isinstance(refusal, Refusal)
        assert refusal.code == "not-allowed"
        assert "authorized as node 'door'" in str(await owner.next())
        assert not uplink.state.connected


async def test_questions_under_way_are_bounded(keys: Keyring) -> None:
    async def never(peer: Peer, request: Request, payloads: Sequence[bytes]) -> AnyMessage:
        await asyncio.Event().wait()
        raise AssertionError

    owner = Owner()
    door = keys.client("door")
    async with (
        running(keys, FakeHandler(never)) as server,
        going(owner.uplink(server.address, door, keys.hub.public)) as uplink,
    ):
        await owner.next()
        asked = [uplink.ask(n, b"jpeg", LANDMARKS, 0.5) for n in range(MAX_IN_FLIGHT + 3)]
        assert asked[:MAX_IN_FLIGHT] == list(range(1, MAX_IN_FLIGHT + 1))
        assert asked[MAX_IN_FLIGHT:] == [None] * 3


async def test_what_cannot_be_sent_is_a_mistake_of_the_caller(keys: Keyring) -> None:
    owner = Owner()
    door = keys.client("door")
    async with (
        running(keys, FakeHandler()) as server,
        going(owner.uplink(server.address, door, keys.hub.public)) as uplink,
    ):
        await owner.next()
        with pytest.raises(LocalProtocolError):
            uplink.ask(3, b"jpeg", np.full((5, 2), np.nan), 0.5)
        assert uplink.in_flight == 0


async def test_stopping_says_goodbye(keys: Keyring) -> None:
    owner, handler = Owner(), FakeHandler()
    door = keys.client("door")
    async with running(keys, handler) as server:
        async with going(owner.uplink(server.address, door, keys.hub.public)):
            await owner.next()
            assert (await handler.next())[0] == "opened"
        assert (await handler.next())[0] == "lost"


@pytest.mark.parametrize("address", ["", "localhost", "tcp://", "tcp://host", "http://x:1"])
def test_an_address_that_is_none_is_refused_at_start(keys: Keyring, address: str) -> None:
    with pytest.raises(StartError, match="tcp://HOST:PORT"):
        Owner().uplink(address, keys.client("door"), keys.hub.public)


async def test_asking_while_the_hub_has_vanished_ends_nothing(keys: Keyring) -> None:
    """The socket takes nothing then, and the uplink waits for room: a question must not disturb that."""
    owner, handler = Owner(), FakeHandler()
    door = keys.client("door")
    slow = ServerSettings(address="tcp://127.0.0.1:*", heartbeat_s=0.2, liveness=4)
    async with (
        running(keys, handler, slow) as server,
        going(owner.uplink(server.address, door, keys.hub.public)) as uplink,
    ):
        await owner.wait_for(Welcome)
        await hang(server)
        server._socket.close(linger=0)
        while uplink.state.connected:
            uplink.ask(1, b"jpeg", LANDMARKS, 0.5)
            await asyncio.sleep(0.02)
        assert await owner.wait_for(str) is not None


async def test_without_file_descriptors_it_says_so_and_connects_once_there_are_some(keys: Keyring) -> None:
    owner = Owner()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with running(keys, FakeHandler()) as server:
        address = server.address
        task = asyncio.create_task(owner.uplink(address, keys.client("door"), keys.hub.public).run())
        await owner.wait_for(Welcome)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
        reasons = [await owner.wait_for(str) for _ in range(4)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    # The session's end comes first, and an attempt that was under way already may come next.
    assert reasons[2:] == ["this machine opens no connection (Too many open files)"] * 2
    async with running(keys, FakeHandler(), ServerSettings(address=address)):
        await owner.wait_for(Welcome)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
