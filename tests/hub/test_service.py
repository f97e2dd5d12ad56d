"""The whole hub on loopback: real keys, sockets, store, gallery; a model that knows people by color."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from hub.config import CameraSettings, HubSettings, NetworkSettings
from hub.embedding.port import Embeddings, ModelManifest
from hub.live import Live, ended
from hub.people import fit
from hub.policy import LiveConsent
from hub.service import Hub
from hub.store.errors import StoreError
from hub.store.people import PeopleStore
from protocol.codec import encode
from protocol.keys import Peer
from protocol.messages import (
    AddPerson,
    AnyMessage,
    Consent,
    FaceDecision,
    GrantConsent,
    ListPeople,
    Message,
    People,
    Person,
    Photo,
    Refusal,
    RemovePerson,
    Revoke,
    ShowPerson,
    Template,
    Welcome,
    WithdrawConsent,
)
from tests.hub_client import RawClient, connected
from tests.hub_fake import Keyring
from tests.protocol.examples import LANDMARKS
from vision.crops import FaceCrop, encode_crop

NOW = 1_800_000_000.0
ADA, BOB, STRANGER = 30, 110, 190
"""Faces are plain pictures of this brightness."""


class ColorEmbedder:
    """One dimension for each of eight brightnesses; waits where the test holds `gate`."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.working = threading.Event()

    @property
    def manifest(self) -> ModelManifest:
        return ModelManifest("color", 8, "0" * 64, "none", 0.9, 0.1, "by hand")

    def embed(self, crops: Sequence[FaceCrop]) -> Embeddings:
        self.working.set()
        assert self.gate.wait(20.0)
        embeddings = np.zeros((len(crops), 8), np.float32)
        for row, crop in zip(embeddings, crops, strict=True):
            row[int(crop.image_rgb.mean()) // 32] = 1.0
        return embeddings


class FailingStore(PeopleStore):
    """Cannot be read while `is_broken`."""

    is_broken = False

    def load(self, model_id: str, dimension: int, now: float):  # type: ignore[no-untyped-def]
        if self.is_broken:
            raise StoreError("the disk is gone")
        return super().load(model_id, dimension, now)


@dataclass
class World:
    """A hub and what a test turns about it."""

    keys: Keyring
    embedder: ColorEmbedder = field(default_factory=ColorEmbedder)
    wall: float = NOW
    modes: dict[str, str] = field(default_factory=dict)
    store: FailingStore = field(init=False)
    hub: Hub = field(init=False)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[World]:
        settings = HubSettings(
            state=str(self.keys.folder),
            server=NetworkSettings(listen="tcp://127.0.0.1:*"),
            cameras=CameraSettings(modes=self.modes),  # type: ignore[arg-type]
        )
        self.store = FailingStore(settings.files.people)
        self.hub = Hub(settings, self.keys.hub, self.store, self.embedder, lambda: self.wall)
        await self.hub.start()
        try:
            yield self
        finally:
            self.embedder.gate.set()
            await self.hub.stop()

    @asynccontextmanager
    async def node(self, name: str) -> AsyncIterator[RawClient]:
        keys = self.keys.client(name)
        self.hub._server._allow_list.read()  # what it does by itself every second
        async with connected(self.hub.address, keys, self.keys.hub.public) as client:
            assert isinstance(await client.greet(Peer(name, "node")), Welcome)
            yield client

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[Admin]:
        keys = self.keys.client("me", "admin")
        self.hub._server._allow_list.read()
        async with connected(self.hub.address, keys, self.keys.hub.public) as client:
            assert isinstance(await client.greet(Peer("me", "admin")), Welcome)
            yield Admin(client)


class Admin:
    """Asks and hears, numbering as it goes."""

    def __init__(self, client: RawClient) -> None:
        self.client = client
        self._seq = 0

    async def ask(self, kind: type[Message], payloads: Sequence[bytes] = (), **fields: object) -> AnyMessage:
        answer = await self.say(kind, payloads, **fields)
        assert isinstance(answer, People | Refusal)
        return answer

    async def say(self, kind: type[Message], payloads: Sequence[bytes] = (), **fields: object) -> AnyMessage:
        """Whatever is answered under the number of the question."""
        self._seq += 1
        request = kind(session=self.client.session, seq=self._seq, **fields)  # type: ignore[call-arg]
        await self.client.say(request, payloads)  # type: ignore[arg-type]
        answer = await self.client.hear()
        assert getattr(answer, "seq", None) == self._seq
        return answer

    async def add(self, name: str, *faces: int, **fields: object) -> AnyMessage:
        photo = Photo(landmarks=LANDMARKS, quality=0.8, source="a.jpg")
        return await self.ask(
            AddPerson, [jpeg(f) for f in faces], name=name, photos=(photo,) * len(faces), **fields
        )

    async def enrol(self, name: str, *faces: int, **fields: object) -> Person:
        answer = await self.add(name, *faces, **fields)
        assert isinstance(answer, People)
        return answer.people[0]

    async def refused(self, kind: type[Message], **fields: object) -> Refusal:
        answer = await self.ask(kind, **fields)
        assert isinstance(answer, Refusal)
        return answer


def jpeg(face: int) -> bytes:
    image = np.full((224, 224, 3), face, np.uint8)
    return encode_crop(FaceCrop(image, np.array(LANDMARKS, np.float32)))


async def look(node: RawClient, seq: int, face: int, track: int = 1) -> AnyMessage:
    """One question and what comes next."""
    await say_look(node, seq, face, track)
    return await node.hear()


async def say_look(node: RawClient, seq: int, face: int, track: int = 1) -> None:
    await node.say(node.query(seq, track), [jpeg(face)])


async def reveal(node: RawClient, face: int, first_seq: int = 1, track: int = 1) -> FaceDecision:
    """The answer to as many looks as a reveal needs."""
    await look(node, first_seq, face, track)
    decision = await look(node, first_seq + 1, face, track)
    assert isinstance(decision, FaceDecision)
    return decision


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(Keyring(tmp_path))


# --- recognition --------------------------------------------------------------------------------


async def test_a_consenting_person_is_shown_and_a_stranger_is_not(world: World) -> None:
    async with world.running(), world.admin() as admin, world.node("door") as node:
        ada = await admin.enrol("Ada", ADA)
        assert ada.consented
        first = await look(node, 1, ADA)
        assert isinstance(first, FaceDecision)
        assert not first.reveal, "one look is not enough"
        second = await look(node, 2, ADA)
        assert isinstance(second, FaceDecision)
        assert (second.reveal, second.name, second.identity) == (True, "Ada", ada.identity)
        assert second.lease_s == 3.0
        stranger = await reveal(node, STRANGER, 3, track=2)
        assert (stranger.reveal, stranger.name, stranger.identity) == (False, "", "")


async def test_a_picture_that_is_none_is_refused(world: World) -> None:
    async with world.running(), world.node("door") as node:
        await node.say(node.query(1), [b"no jpeg"])
        refusal = await node.hear()
        assert isinstance(refusal, Refusal)
        assert (refusal.code, refusal.seq) == ("invalid", 1)


async def test_a_camera_that_shows_nobody(world: World) -> None:
    world.modes = {"door": "veil-all"}
    async with world.running(), world.admin() as admin, world.node("door") as node:
        await admin.enrol("Ada", ADA)
        assert not (await reveal(node, ADA)).reveal


async def test_people_are_there_after_a_restart(world: World) -> None:
    async with world.running(), world.admin() as admin:
        await admin.enrol("Ada", ADA)
    async with world.running(), world.node("door") as node:
        assert world.hub.summary == "model color gallery 1 person"
        assert (await reveal(node, ADA)).reveal


# --- revocation ---------------------------------------------------------------------------------


async def test_a_withdrawn_consent_reaches_the_node_before_the_admin_hears_that_it_is_done(
    world: World,
) -> None:
    async with world.running(), world.admin() as admin, world.node("door") as node:
        ada = await admin.enrol("Ada", ADA)
        assert (await reveal(node, ADA)).reveal
        answer = await admin.ask(WithdrawConsent, name="Ada")
        assert isinstance(answer, People)
        assert not answer.people[0].consented
        revoke = await node.hear()
        assert isinstance(revoke, Revoke)
        assert revoke.identities == (ada.identity,)
        assert not (await reveal(node, ADA, 3)).reveal


async def test_a_removed_person_is_revoked(world: World) -> None:
    async with world.running(), world.admin() as admin, world.node("door") as node:
        ada = await admin.enrol("Ada", ADA)
        assert (await reveal(node, ADA)).reveal
        assert isinstance(await admin.ask(RemovePerson, name="Ada"), People)
        revoke = await node.hear()
        assert isinstance(revoke, Revoke)
        assert revoke.identities == (ada.identity,)
        assert not (await reveal(node, ADA, 3)).reveal
        assert (await admin.refused(ShowPerson, name="Ada")).code == "not-found"


async def test_a_consent_that_loses_a_camera_is_revoked_there_only(world: World) -> None:
    async with (
        world.running(),
        world.admin() as admin,
        world.node("door") as door,
        world.node("hall") as hall,
    ):
        await admin.enrol("Ada", ADA)
        await admin.ask(GrantConsent, name="Ada", cameras=("hall",))
        assert isinstance(await door.hear(), Revoke)
        assert not (await reveal(door, ADA)).reveal
        assert (await reveal(hall, ADA)).reveal, "and no revocation came before these answers"


async def test_a_consent_ends_on_its_date(world: World) -> None:
    async with world.running(), world.admin() as admin, world.node("door") as node:
        ada = await admin.enrol("Ada", ADA, consent_until=NOW + 60.0)
        assert (await reveal(node, ADA)).reveal
        world.wall = NOW + 58.5
        last = await look(node, 3, ADA)
        assert isinstance(last, FaceDecision)
        assert last.lease_s == pytest.approx(1.5), "no lease outlives the consent"
        world.wall = NOW + 60.0
        revoke = await node.hear()
        assert isinstance(revoke, Revoke)
        assert revoke.identities == (ada.identity,)
        assert not (await reveal(node, ADA, 4)).reveal


async def test_an_answer_that_was_under_way_shows_nobody_whose_consent_has_ended(
    world: World,
) -> None:
    async with world.running(), world.admin() as admin, world.node("door") as node:
        await admin.enrol("Ada", ADA)
        await look(node, 1, ADA)
        world.embedder.gate.clear()
        world.embedder.working.clear()
        await say_look(node, 2, ADA)
        while not world.embedder.working.is_set():
            await node.hear_nothing(0.01)
        await admin.client.say(WithdrawConsent(session=admin.client.session, seq=99, name="Ada"))
        assert isinstance(await node.hear(), Revoke), "the busy model does not hold it up"
        world.embedder.gate.set()
        decision = await node.hear()
        assert isinstance(decision, FaceDecision)
        assert (decision.seq, decision.reveal, decision.name) == (2, False, "")


async def test_a_store_that_cannot_be_read_shows_nobody_until_it_can(world: World) -> None:
    async with world.running(), world.admin() as admin, world.node("door") as node:
        ada = await admin.enrol("Ada", ADA)
        assert (await reveal(node, ADA)).reveal
        world.store.is_broken = True
        refusal = await admin.refused(GrantConsent, name="Ada")
        assert (refusal.code, refusal.text) == ("internal", "the disk is gone")
        revoke = await node.hear()
        assert isinstance(revoke, Revoke)
        assert revoke.identities == (ada.identity,)
        assert not (await reveal(node, ADA, 3)).reveal
        world.store.is_broken = False
        seq = 5
        while not (await reveal(node, ADA, seq)).reveal:
            await node.hear_nothing(0.05)
            seq += 2


# --- people ---------------------------------------------------------------------------------------


async def test_more_photos_of_a_known_person_keep_one_consent(world: World) -> None:
    async with world.running(), world.admin() as admin:
        await admin.enrol("Ada", ADA, note="signed")
        ada = await admin.enrol("Ada", ADA, ADA, note="signed")
        assert len(ada.templates) == 3
        assert len(ada.consents) == 1
        ada = await admin.enrol("Ada", ADA, cameras=("hall",))
        assert [c.cameras for c in ada.consents if c.withdrawn_at is None] == [("hall",)]


async def test_a_face_that_is_enrolled_under_another_name_is_a_duplicate(world: World) -> None:
    async with world.running(), world.admin() as admin:
        await admin.enrol("Ada", ADA)
        refusal = await admin.add("Bob", ADA)
        assert isinstance(refusal, Refusal)
        assert refusal.code == "duplicate"
        assert "enrolled already as Ada" in refusal.text
        people = await admin.ask(ListPeople)
        assert isinstance(people, People)
        assert [p.name for p in people.people] == ["Ada"]


@pytest.mark.parametrize("name", [" Ada", "Ada ", "A  da", "A\nda", "\u200bAda", "\t"])
async def test_names_that_cannot_be_told_apart_are_refused(world: World, name: str) -> None:
    async with world.running(), world.admin() as admin:
        refusal = await admin.add(name, ADA)
        assert isinstance(refusal, Refusal)
        assert refusal.code == "invalid"


async def test_what_cannot_be_done_is_said(world: World) -> None:
    async with world.running(), world.admin() as admin:
        for kind in (ShowPerson, RemovePerson, GrantConsent, WithdrawConsent):
            assert (await admin.refused(kind, name="Nobody")).code == "not-found"
        past = await admin.add("Ada", ADA, consent_until=NOW - 1)
        assert isinstance(past, Refusal)
        assert past.code == "invalid"
        photo = Photo(landmarks=LANDMARKS, quality=0.8, source="broken.jpg")
        broken = await admin.ask(AddPerson, [b"none"], name="Ada", photos=(photo,))
        assert isinstance(broken, Refusal)
        assert broken.code == "invalid"
        assert broken.text.startswith("broken.jpg: ")
        nobody = await admin.ask(ListPeople)
        assert isinstance(nobody, People)
        assert nobody.people == ()


async def test_a_list_comes_in_pages(world: World) -> None:
    async with world.running(), world.admin() as admin:
        for n in range(60):
            world.store.add(f"Person {n:02}", [], None, NOW)
        first = await admin.ask(ListPeople)
        assert isinstance(first, People)
        assert (len(first.people), first.more) == (50, True)
        second = await admin.ask(ListPeople, after=first.people[-1].name)
        assert isinstance(second, People)
        assert (len(second.people), second.more) == (10, False)


async def test_no_name_reaches_the_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with world.running(), world.admin() as admin, world.node("door") as node:
        await admin.enrol("Ada Lovelace", ADA)
        await reveal(node, ADA)
        await admin.add("Bob", ADA)
        await admin.ask(RemovePerson, name="Ada Lovelace")
        await admin.refused(ShowPerson, name="Ada Lovelace")
    assert "Lovelace" not in caplog.text


# --- pure parts -----------------------------------------------------------------------------------


def test_a_page_is_cut_to_what_fits_into_a_message() -> None:
    text = "ü" * 500
    consent = Consent(
        id=text, granted_at=0.0, until=None, withdrawn_at=None, cameras=("x" * 128,) * 20, note=text
    )
    template = Template(model_id=text, source=text, quality=0.5, added_at=0.0)
    person = Person(
        identity="i",
        name="n",
        added_at=0.0,
        consented=True,
        consents=(consent,) * 256,
        templates=(template,) * 256,
    )
    page = fit(bytes(16), 1, [person] * 4, 1, False)
    encode(page)
    assert page.more
    assert len(page.people) == 1
    assert page.people[0].consents, "the newest of the history stays"
    small = fit(bytes(16), 1, [], 1, False)
    assert not small.more


def consent(identity: str, *cameras: str, until: float | None = None) -> LiveConsent:
    return LiveConsent(identity, identity.title(), frozenset(cameras), until)


def live(*consents: LiveConsent) -> Live:
    return Live(1, frozenset(c.identity for c in consents), {c.identity: c for c in consents})


def test_who_may_no_longer_be_shown() -> None:
    everywhere, hall = consent("ada"), consent("bob", "hall")
    assert ended(live(everywhere, hall), live(hall), "door") == ("ada",)
    assert ended(live(everywhere, hall), live(everywhere), "door") == ()
    assert ended(live(everywhere, hall), live(everywhere), "hall") == ("bob",)
    assert ended(live(everywhere), live(consent("ada", "hall")), "door") == ("ada",)
    assert ended(live(everywhere), live(consent("ada", "hall")), "hall") == ()
    assert ended(live(), live(everywhere), "door") == ()


def test_consents_end_at_their_second() -> None:
    both = live(consent("ada", until=10.0), consent("bob"))
    assert both.next_expiry() == 10.0
    assert both.at(9.9) == both
    assert set(both.at(10.0).consents) == {"bob"}
    assert both.at(10.0).next_expiry() == float("inf")
