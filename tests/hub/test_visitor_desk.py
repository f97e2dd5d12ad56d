"""Visitors through the whole hub on loopback: veiled meanwhile, enrolled by number, gone at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hub.visitors import VisitorLooks
from protocol.keys import Peer
from protocol.messages import (
    AnyMessage,
    EnrolVisitor,
    FaceDecision,
    ListVisitors,
    Notice,
    People,
    Refusal,
    Revoke,
    StartVisitors,
    StopVisitors,
    Visitors,
    Welcome,
)
from tests.hub.test_service import ADA, BOB, STRANGER, Admin, World, jpeg
from tests.hub_client import RawClient, connected
from tests.hub_fake import Keyring


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World(Keyring(tmp_path)).running() as running:
        yield running


async def ask(admin: Admin, kind: Any, **fields: object) -> AnyMessage:
    """Like `Admin.ask`, for answers that are Visitors."""
    admin._seq += 1
    await admin.client.say(kind(session=admin.client.session, seq=admin._seq, **fields))
    return await admin.client.hear()


class Walker:
    """Somebody in front of a node: asks about them and hears decisions, and notices on the way."""

    def __init__(self, node: RawClient) -> None:
        self.node = node
        self.notices: list[str] = []
        self._seq = 0

    async def look(self, face: int, track: int) -> FaceDecision:
        self._seq += 1
        await self.node.say(self.node.query(self._seq, track), [jpeg(face)])
        while True:
            message = await self.node.hear()
            if isinstance(message, Notice):
                self.notices.append(message.text)
            elif isinstance(message, FaceDecision):
                return message
            else:
                assert isinstance(message, Revoke)


def rows_in_use(world: World) -> int:
    return int((world.hub._recognizer._visitors._rows != 0).any(axis=1).sum())  # type: ignore[union-attr]


async def test_by_default_the_hub_keeps_no_stranger(world: World) -> None:
    async with world.node("door") as node, world.admin() as admin:
        walker = Walker(node)
        for _ in range(5):
            assert not (await walker.look(STRANGER, 1)).reveal
        answer = await ask(admin, ListVisitors)
        assert isinstance(answer, Visitors)
        assert (answer.camera, answer.visitors) == ("", ())
        assert rows_in_use(world) == 0


async def test_a_visitor_is_enrolled_by_number_and_shown_after_that(world: World) -> None:
    async with world.node("door") as node, world.admin() as admin:
        walker = Walker(node)
        started = await ask(admin, StartVisitors, camera="door", duration_s=300.0)
        assert isinstance(started, Visitors)
        assert started.camera == "door"
        assert 290 < started.left_s <= 300
        for _ in range(3):
            assert not (await walker.look(STRANGER, 1)).reveal
        assert walker.notices[0].startswith("Visitors are being grouped until ")
        listed = await ask(admin, ListVisitors)
        assert isinstance(listed, Visitors)
        (visitor,) = listed.visitors
        assert visitor.ready
        done = await ask(
            admin, EnrolVisitor, visitor=visitor.id, name="Vera", cameras=("door",), note="signed"
        )
        assert isinstance(done, People)
        (person,) = done.people
        assert person.consented
        assert {t.source for t in person.templates} == {"seen by a camera"}
        assert rows_in_use(world) == 0, "what is a template now is a visitor no more"
        assert not (await walker.look(STRANGER, 1)).reveal, "veiled until the grouping is over"
        stopped = await ask(admin, StopVisitors)
        assert isinstance(stopped, Visitors)
        assert stopped.camera == ""
        decisions = [await walker.look(STRANGER, 1) for _ in range(3)]
        assert decisions[-1].reveal
        assert decisions[-1].name == "Vera"
        assert walker.notices[-1] == ""


async def test_the_copy_that_is_enrolled_is_overwritten_too(world: World) -> None:
    book, copies = world.hub._visitors._book, []
    looks_of = book.looks_of

    def remembered(number: int, now: float) -> VisitorLooks | None:
        copies.append(looks_of(number, now))
        return copies[-1]

    book.looks_of = remembered  # type: ignore[method-assign]
    async with world.node("door") as node, world.admin() as admin:
        walker = Walker(node)
        await ask(admin, StartVisitors, camera="door", duration_s=300.0)
        for _ in range(3):
            await walker.look(STRANGER, 1)
        assert isinstance(await ask(admin, EnrolVisitor, visitor=1, name="Vera"), People)
    (copy,) = copies
    assert copy is not None
    assert copy.embeddings.shape[0] == 3
    assert not copy.embeddings.any()


async def test_nobody_is_shown_at_a_camera_that_groups_visitors(world: World) -> None:
    async with world.node("door") as node, world.node("yard") as other, world.admin() as admin:
        await admin.add("Ada", ADA)
        walker, elsewhere = Walker(node), Walker(other)
        assert [(await walker.look(ADA, 1)).reveal for _ in range(2)] == [False, True]
        await ask(admin, StartVisitors, camera="door", duration_s=300.0)
        assert isinstance(await node.hear(), Revoke), "who is shown already is veiled at once"
        assert not any([(await walker.look(ADA, 1)).reveal for _ in range(3)])
        assert [(await elsewhere.look(ADA, 1)).reveal for _ in range(2)] == [False, True]
        assert rows_in_use(world) == 0, "an enrolled person is no visitor"


async def test_a_node_that_comes_back_hears_of_it(world: World) -> None:
    keys = world.keys.client("door")
    world.hub._server._allow_list.read()
    async with world.admin() as admin:
        for visit in range(2):
            async with connected(world.hub.address, keys, world.keys.hub.public) as node:
                assert isinstance(await node.greet(Peer("door", "node")), Welcome)
                if visit == 0:
                    await ask(admin, StartVisitors, camera="door", duration_s=300.0)
                else:
                    notice = await node.hear()
                    assert isinstance(notice, Notice)
                    assert notice.text.startswith("Visitors are being grouped")


async def test_the_time_ends_by_itself_and_the_page_hears_of_it(world: World) -> None:
    async with world.node("door") as node, world.admin() as admin:
        walker = Walker(node)
        await ask(admin, StartVisitors, camera="door", duration_s=300.0)
        await walker.look(STRANGER, 1)
        assert rows_in_use(world) == 1
        world.hub._visitors._clock = lambda: 1e9
        while not isinstance(message := await node.hear(), Notice) or message.text:
            pass
        assert rows_in_use(world) == 0


async def test_nothing_reaches_the_disk(world: World) -> None:
    def contents() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in world.keys.folder.rglob("*") if "people.db" in p.name}

    async with world.node("door") as node, world.admin() as admin:
        walker, before = Walker(node), contents()
        await ask(admin, StartVisitors, camera="door", duration_s=300.0)
        for _ in range(4):
            await walker.look(STRANGER, 1)
        assert contents() == before


@pytest.mark.parametrize(
    ("visitor", "looks", "code"), [(9, 3, "not-found"), (1, 2, "quality"), (1, 3, "duplicate")]
)
async def test_who_cannot_be_enrolled(world: World, visitor: int, looks: int, code: str) -> None:
    async with world.node("door") as node, world.admin() as admin:
        walker = Walker(node)
        await ask(admin, StartVisitors, camera="door", duration_s=300.0)
        for _ in range(looks):
            await walker.look(BOB, 1)
        if code == "duplicate":
            await admin.add("Bob", BOB)
        answer = await ask(admin, EnrolVisitor, visitor=visitor, name="Vera")
        assert isinstance(answer, Refusal)
        assert answer.code == code


async def test_a_camera_that_is_not_connected_is_refused(world: World) -> None:
    async with world.admin() as admin:
        answer = await ask(admin, StartVisitors, camera="attic", duration_s=300.0)
        assert isinstance(answer, Refusal)
        assert answer.text == "no camera named attic is connected"


async def test_a_stopped_hub_holds_nothing(tmp_path: Path) -> None:
    async with World(Keyring(tmp_path)).running() as world:
        async with world.node("door") as node, world.admin() as admin:
            await ask(admin, StartVisitors, camera="door", duration_s=300.0)
            await Walker(node).look(STRANGER, 1)
        await asyncio.sleep(0)
    assert rows_in_use(world) == 0
