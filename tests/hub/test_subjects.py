"""Over the wire: photos are kept only where asked, all that is kept is told, and an erasure is proven."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from hub.receipts import verify_receipt
from hub.signing import load, public_bytes
from hub.subjects import export_text
from protocol.messages import (
    Document,
    ExportPerson,
    Message,
    People,
    Person,
    Refusal,
    RemovePerson,
    ShowReceipt,
)
from tests.hub.test_service import ADA, BOB, NOW, Admin, World, jpeg, reveal
from tests.hub_fake import Keyring


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(Keyring(tmp_path / "state"))


async def document(admin: Admin, kind: type[Message], **fields: object) -> str:
    """All pieces of a document."""
    text, digest = "", ""
    while True:
        more = {"offset": len(text), "digest": digest} if kind is ExportPerson else {}
        answer = await admin.say(kind, **fields, **more)
        assert isinstance(answer, Document), answer
        assert answer.offset == len(text)
        text, digest = text + "".join(answer.pieces), answer.digest
        if len(text) >= answer.total:
            assert hashlib.sha256(text.encode()).hexdigest() == digest
            return text


async def test_an_export_tells_all_that_is_kept(world: World) -> None:
    async with world.running(), world.admin() as admin:
        await admin.enrol("Ada", ADA, note="signed", cameras=("door",))
        await admin.enrol("Ada", ADA, ADA, note="signed", cameras=("door",), keep_photos=True)
        told: dict[str, Any] = json.loads(await document(admin, ExportPerson, name="ada"))
        assert (told["name"], told["consents"][0]["note"]) == ("Ada", "signed")
        photos = [t["photo_jpeg_base64"] for t in told["templates"]]
        assert photos[0] is None, "nobody asked to keep that one"
        assert [base64.b64decode(p) for p in photos[1:]] == [jpeg(ADA)] * 2
        assert told["shown"] == []


async def test_an_export_tells_when_and_where_somebody_was_shown(world: World) -> None:
    async with world.running(), world.admin() as admin, world.node("door") as node:
        ada = await admin.enrol("Ada", ADA)
        await admin.enrol("Bob", BOB)
        assert (await reveal(node, ADA)).reveal
        (shown,) = json.loads(await document(admin, ExportPerson, name="Ada"))["shown"]
        assert shown["camera"] == "door"
        assert shown["consent"] == ada.consents[0].id
        assert json.loads(await document(admin, ExportPerson, name="Bob"))["shown"] == []


async def test_an_export_of_many_pieces_arrives_whole(world: World) -> None:
    async with world.running(), world.admin() as admin:
        world.store.add("Ada", [], None, NOW)
        for _ in range(8):
            await admin.enrol("Ada", *[ADA] * 16, keep_photos=True)
        told = json.loads(await document(admin, ExportPerson, name="Ada"))
        assert len(told["templates"]) == 128


async def test_the_rest_of_an_export_that_was_given_up_is_refused(world: World) -> None:
    async with world.running(), world.admin() as admin:
        answer = await admin.say(ExportPerson, name="Ada", digest="d1", offset=4)
        assert isinstance(answer, Refusal)
        assert answer.code == "conflict"
        assert (await admin.refused(ExportPerson, name="Nobody")).code == "not-found"


async def test_an_erasure_leaves_a_receipt(world: World) -> None:
    async with world.running(), world.admin() as admin:
        ada = await admin.enrol("Ada", ADA, ADA, keep_photos=True)
        await admin.enrol("Bob", BOB)
        answer = await admin.ask(RemovePerson, name="Ada")
        assert isinstance(answer, People)
        text = await document(admin, ShowReceipt, identity=ada.identity)
        key = load(world.keys.folder / "sign.key")
        assert key is not None
        receipt = verify_receipt(text, public_bytes(key))
        assert (receipt["identity"], receipt["templates"], receipt["photos"]) == (ada.identity, 2, 2)
        assert receipt["check"] == {
            "gallery_version": answer.gallery_version,
            "embeddings_tried": 2,
            "found_as_this_identity": 0,
            "found_as_another": 0,
        }
        assert receipt["is_unknown"] is True
        assert (await admin.refused(ShowReceipt, identity="unheard-of")).code == "not-found"


async def test_an_erasure_is_not_called_checked_where_the_gallery_cannot_be_read(world: World) -> None:
    async with world.running(), world.admin() as admin:
        ada = await admin.enrol("Ada", ADA)
        world.store.is_broken = True
        assert (await admin.refused(RemovePerson, name="Ada")).code == "internal"
        receipt = json.loads(await document(admin, ShowReceipt, identity=ada.identity))["receipt"]
        assert (receipt["check"], receipt["is_unknown"]) == (None, False)


def test_an_export_holds_when_somebody_was_shown() -> None:
    ada = Person(identity="a1", name="Adé", added_at=NOW, consented=False, consents=(), templates=())
    shown = [{"camera": "door", "start": NOW, "end": None}]
    text = export_text(ada, {}, shown, NOW)
    assert text.isascii()
    assert json.loads(text)["shown"] == [
        {"camera": "door", "start": "2027-01-15T08:00:00+00:00", "end": None}
    ]
    assert json.loads(text)["name"] == "Adé"
