"""The hub's socket with real keys on loopback, spoken to by a plain socket that may say anything."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
import zmq
import zmq.asyncio
from zmq.utils.monitor import parse_monitor_message

from hub.errors import DeclinedError, StartError
from hub.server import Server, ServerSettings
from protocol.keys import Peer
from protocol.messages import (
    AnyMessage,
    FaceDecision,
    Goodbye,
    Hello,
    ListPeople,
    People,
    Refusal,
    Request,
    Revoke,
    Welcome,
)
from tests.hub_client import connected
from tests.hub_fake import FakeHandler, Keyring, plain_answer, running

WAIT_S = 15.0


@pytest.fixture
def keys(tmp_path: Path) -> Keyring:
    return Keyring(tmp_path)


DOOR, ADA = Peer("door", "node"), Peer("ada", "admin")


async def test_an_allowed_key_is_welcomed_and_answered(keys: Keyring) -> None:
    door, handler = keys.client("door"), FakeHandler()
    async with (
        running(keys, handler) as server,
        connected(server.address, door, keys.hub.public) as client,
    ):
        welcome = await client.greet(DOOR)
        assert isinstance(welcome, Welcome)
        assert (welcome.model_id, welcome.gallery_version) == ("fake-model", 7)
        assert await handler.next() == ("opened", DOOR, client.session)
        await client.say(client.query(1), [b"jpeg"])
        decision = await client.hear()
        assert isinstance(decision, FaceDecision)
        assert decision.seq == 1


async def test_an_unknown_key_gets_nothing(keys: Keyring) -> None:
    """Not a byte of the application: the refusal happens in the handshake."""
    stranger, door = keys.client("door", is_allowed=False), keys.client("hall")
    handler = FakeHandler()
    async with (
        running(keys, handler) as server,
        connected(server.address, stranger, keys.hub.public) as outside,
        connected(server.address, door, keys.hub.public) as inside,
    ):
        hello = Hello(session=outside.session, role="node", name="door", versions=(1,))
        await outside.say(hello)
        # Once somebody else has been served, the stranger's message would long have been too.
        assert isinstance(await inside.greet(Peer("hall", "node")), Welcome)
        assert not await outside.socket.poll(500)
        assert server.registry.counters.received == 1


async def test_an_unknown_key_is_turned_away_in_the_handshake(keys: Keyring) -> None:
    stranger = keys.client("door", is_allowed=False)
    async with running(keys, FakeHandler()) as server:
        with zmq.asyncio.Context() as context, context.socket(zmq.DEALER) as socket:
            socket.setsockopt(zmq.LINGER, 0)
            socket.curve_serverkey = keys.hub.public
            socket.curve_publickey, socket.curve_secretkey = stranger.public, stranger.secret
            ends = zmq.Event.HANDSHAKE_SUCCEEDED | zmq.Event.HANDSHAKE_FAILED_AUTH
            monitor = socket.get_monitor_socket(int(ends))
            socket.connect(server.address)
            event = parse_monitor_message(
                await asyncio.wait_for(monitor.recv_multipart(), WAIT_S)  # type: ignore[arg-type]
            )
            socket.disable_monitor()
            monitor.close()
        assert event["event"] == zmq.Event.HANDSHAKE_FAILED_AUTH


async def test_without_encryption_nothing_is_heard(keys: Keyring) -> None:
    door = keys.client("door")
    async with (
        running(keys, FakeHandler()) as server,
        connected(server.address, None, b"") as plain,
        connected(server.address, door, keys.hub.public) as inside,
    ):
        hello = Hello(session=plain.session, role="node", name="door", versions=(1,))
        # Once the hub has hung up on it, libzmq has no place to put a message and would wait for ever.
        with suppress(TimeoutError):
            await asyncio.wait_for(plain.say(hello), 1.0)
        assert isinstance(await inside.greet(DOOR), Welcome)
        assert not await plain.socket.poll(500)
        assert server.registry.counters.received == 1


async def test_a_key_can_be_added_while_the_hub_runs(keys: Keyring) -> None:
    async with running(keys, FakeHandler()) as server:
        door = keys.client("door")
        await read_allow_list(server)
        async with connected(server.address, door, keys.hub.public) as client:
            assert isinstance(await client.greet(DOOR), Welcome)


async def test_a_removed_key_loses_its_session_and_is_not_heard_again(keys: Keyring) -> None:
    door, handler = keys.client("door"), FakeHandler()
    async with (
        running(keys, handler) as server,
        connected(server.address, door, keys.hub.public) as client,
    ):
        await client.greet(DOOR)
        keys.file_of("door").unlink()
        goodbye = await client.hear()
        assert isinstance(goodbye, Goodbye)
        assert [(await handler.next())[0] for _ in range(2)] == ["opened", "lost"]
        heard = server.registry.counters.received
        await client.say(Hello(session=os.urandom(16), role="node", name="door", versions=(1,)))
        assert not await client.socket.poll(500)
        assert server.registry.counters.received == heard


async def test_a_broken_allow_list_lets_nobody_in(keys: Keyring) -> None:
    door = keys.client("door")
    keys.file_of("door").write_text("broken")
    async with (
        running(keys, FakeHandler()) as server,
        connected(server.address, door, keys.hub.public) as client,
    ):
        await client.say(Hello(session=client.session, role="node", name="door", versions=(1,)))
        assert not await client.socket.poll(500)


async def test_any_bytes_leave_the_hub_serving(keys: Keyring) -> None:
    door, hall = keys.client("door"), keys.client("hall")
    async with (
        running(keys, FakeHandler()) as server,
        connected(server.address, door, keys.hub.public) as rude,
        connected(server.address, hall, keys.hub.public) as client,
    ):
        await rude.greet(DOOR)
        for parts in ([b""], [b"\xc1"], [b"x"] * 40, [b"\x91" * 4000], [b"", b"", b""]):
            await rude.socket.send_multipart(parts)
            refusal = await rude.hear()
            assert isinstance(refusal, Refusal)
            assert refusal.code == "malformed"
        await rude.socket.send_multipart([b"x" * 1_000_000])  # beyond MAXMSGSIZE: cut off
        assert isinstance(await client.greet(Peer("hall", "node")), Welcome)
        await client.say(client.query(1), [b"jpeg"])
        assert isinstance(await client.hear(), FaceDecision)
        assert server.registry.counters.malformed == 5


async def test_too_many_questions_shed_the_oldest(keys: Keyring) -> None:
    gate = asyncio.Event()

    async def slow(peer: Peer, request: Request, payloads: Sequence[bytes]) -> AnyMessage:
        await gate.wait()
        return await plain_answer(peer, request, payloads)

    door, handler = keys.client("door"), FakeHandler(slow)
    settings = ServerSettings(address="tcp://127.0.0.1:*", max_in_flight=2)
    async with (
        running(keys, handler, settings) as server,
        connected(server.address, door, keys.hub.public) as client,
    ):
        await client.greet(DOOR)
        for seq in range(1, 5):
            await client.say(client.query(seq), [b"jpeg"])
        refused = [await client.hear(), await client.hear()]
        assert [(m.code, m.seq) for m in refused if isinstance(m, Refusal)] == [
            ("overloaded", 1),
            ("overloaded", 2),
        ]
        gate.set()
        answered = [await client.hear(), await client.hear()]
        assert sorted(m.seq for m in answered if isinstance(m, FaceDecision)) == [3, 4]
        assert server.shed == 2


async def test_admin_requests_are_bounded_and_never_given_up(keys: Keyring) -> None:
    gate = asyncio.Event()

    async def slow(peer: Peer, request: Request, payloads: Sequence[bytes]) -> AnyMessage:
        await gate.wait()
        return await plain_answer(peer, request, payloads)

    ada = keys.client("ada", "admin")
    async with (
        running(keys, FakeHandler(slow)) as server,
        connected(server.address, ada, keys.hub.public) as client,
    ):
        await client.greet(ADA)
        for seq in range(1, 11):
            await client.say(ListPeople(session=client.session, seq=seq))
        refused = [await client.hear(), await client.hear()]
        assert [m.seq for m in refused if isinstance(m, Refusal)] == [9, 10]
        gate.set()
        answered = [await client.hear() for _ in range(8)]
        assert sorted(m.seq for m in answered if isinstance(m, People)) == list(range(1, 9))


async def test_what_the_handler_declines_or_fails_at_is_refused(
    keys: Keyring, caplog: pytest.LogCaptureFixture
) -> None:
    async def answer(peer: Peer, request: Request, payloads: Sequence[bytes]) -> AnyMessage:
        if request.seq == 1:
            raise DeclinedError("not-found", "there is no such person")
        raise RuntimeError("Grace Hopper")

    ada = keys.client("ada", "admin")
    async with (
        running(keys, FakeHandler(answer)) as server,
        connected(server.address, ada, keys.hub.public) as client,
    ):
        await client.greet(ADA)
        for seq, code in ((1, "not-found"), (2, "internal")):
            await client.say(ListPeople(session=client.session, seq=seq))
            refusal = await client.hear()
            assert isinstance(refusal, Refusal)
            assert (refusal.code, refusal.seq) == (code, seq)
    assert "Grace" not in caplog.text
    assert "RuntimeError" in caplog.text


async def test_a_peer_that_reads_nothing_loses_its_session(keys: Keyring) -> None:
    """A revocation that does not get through must not be taken for one that did."""
    door, handler = keys.client("door"), FakeHandler()
    async with (
        running(keys, handler) as server,
        connected(server.address, door, keys.hub.public) as client,
    ):
        await client.greet(DOOR)
        await handler.next()
        revoke = Revoke(session=client.session, reason="x" * 500)
        deadline = time.monotonic() + WAIT_S
        while server.push(client.session, revoke):
            assert time.monotonic() < deadline
        assert (await handler.next())[0] == "lost"
        assert server.unreachable == 1


async def test_the_hub_says_goodbye(keys: Keyring) -> None:
    door = keys.client("door")
    server = Server(ServerSettings(address="tcp://127.0.0.1:*"), keys.hub, keys.allow_list, FakeHandler())
    await server.start()
    async with connected(server.address, door, keys.hub.public) as client:
        await client.greet(DOOR)
        _, goodbye = await asyncio.gather(server.stop(), client.hear())
        assert isinstance(goodbye, Goodbye)
    await server.stop()


@pytest.mark.parametrize("address", ["nonsense", "tcp://127.0.0.1", "tcp://198.51.100.1:5570"])
async def test_an_address_that_cannot_be_listened_on_is_one_clear_line(keys: Keyring, address: str) -> None:
    server = Server(ServerSettings(address=address), keys.hub, keys.allow_list, FakeHandler())
    with pytest.raises(StartError, match="cannot listen on"):
        await server.start()


async def test_two_hubs_do_not_share_an_address(keys: Keyring) -> None:
    async with running(keys, FakeHandler()) as server:
        second = Server(ServerSettings(address=server.address), keys.hub, keys.allow_list, FakeHandler())
        with pytest.raises(StartError, match="in use"):
            await second.start()


async def read_allow_list(server: Server) -> None:
    """What the server does by itself every second."""
    server._allow_list.read()
