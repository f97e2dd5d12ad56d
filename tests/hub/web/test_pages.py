"""The wall and its pages: what they tell, to whom, and that acts of a page are those of an admin's key."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import cv2
import pytest

from hub.receipts import verify_receipt
from hub.web.people import end_of
from hub.web.replies import BadInputError
from protocol.messages import Goodbye, NodeReport, Revoke
from protocol.tickets import check_ticket
from tests.enrollment.fakes import FakeDetector, textured
from tests.hub.test_service import ADA, NOW, World, look, reveal
from tests.hub.web.pages_stage import Client, Page, pages
from tests.hub_client import RawClient
from tests.hub_fake import Keyring
from vision.gate import AcceptedFace
from vision.portrait import portrait_of

DAY = 86_400.0


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(Keyring(tmp_path))


def report(session: bytes, **changes: Any) -> NodeReport:
    values = {
        "camera": "live", "shown": 1, "veiled": 2, "fps": 25.0, "delay_p50_s": 0.06, "delay_p95_s": 0.12,
        "fully_veiled": 0.0, "viewers": 1, "software": "0.1.0", "address": "http://127.0.0.1:8123/",
    }  # fmt: skip
    return NodeReport(session=session, **{**values, **changes})


async def told(world: World, node: RawClient, **changes: Any) -> None:
    """The node's report has arrived."""
    await node.say(report(node.session, **changes))
    nodes = world.hub.nodes
    await until(lambda: (view := nodes.view("door", 0.0)) is not None and view.report is not None)


async def until(holds: Callable[[], bool]) -> None:
    """What a message brings about."""
    async with asyncio.timeout(15.0):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def photo(seed: int = 0) -> bytes:
    done, data = cv2.imencode(".png", textured(seed=seed))
    assert done
    return data.tobytes()


def of(client: Client) -> tuple[Page, Page, Page]:
    return Page(client, "ada"), Page(client, "olga"), Page(client, "vic")


async def test_pages_open_for_the_roles_that_they_are_for(world: World) -> None:
    async with world.running(), pages(world) as client:
        ada, olga, vic = of(client)
        for path in ("/", "/people", "/activity", "/system"):
            status, text = await ada.get(path)
            assert status == 200
            assert 'aria-current="page"' in text
            assert (await olga.get(path))[0] == 200
            assert (await vic.get(path))[0] == (200 if path == "/" else 403)
        _, text = await vic.get("/")
        assert 'href="/people"' not in text, "nobody is shown a way that is closed"
        stranger = Page(client, "nobody")
        for path in ("/", "/api/wall", "/api/wall/events", "/api/people", "/api/activity", "/api/system"):
            assert (await stranger.get(path))[0] == 401
        for path in ("/api/people", "/api/visitors", "/api/activity", "/api/system", "/api/receipts/x"):
            assert (await vic.get(path))[0] == 403
        for path in (
            "/api/people/withdraw",
            "/api/people/erase",
            "/api/people/consent",
            "/api/visitors/start",
        ):
            assert (await vic.post(path, {}))[0] == 403
            assert (await olga.post(path, {}, **{"X-CSRF-Token": "guessed"}))[0] == 403


async def test_pages_hold_nothing_inline_and_load_nothing_from_elsewhere(world: World) -> None:
    async with world.running(), pages(world) as client:
        ada, _, _ = of(client)
        files = set()
        for path in ("/", "/people", "/activity", "/system"):
            _, text = await ada.get(path)
            assert "<style" not in text
            assert " style=" not in text
            assert " onclick" not in text
            assert "$" not in text
            assert "http://" not in text
            assert "https://" not in text
            files |= {part.split('"')[0] for part in text.split('="/static/')[1:]}
        for file in {name.split("#")[0] for name in files}:
            async with client.get(f"/static/{file}") as answer:
                assert answer.status == 200, file
                tag = answer.headers["ETag"]
            async with client.get(f"/static/{file}", headers={"If-None-Match": tag}) as answer:
                assert answer.status == 304
        for wrong in ("frame.html", "live.html", "..%2Fapp.py", "nothing.js"):
            async with client.get(f"/static/{wrong}") as answer:
                assert answer.status == 404, wrong


async def test_the_wall_tells_each_user_what_is_theirs(world: World) -> None:
    async with world.running(), world.admin() as admin, world.node("door") as node, pages(world) as client:
        _, olga, vic = of(client)
        await admin.enrol("Ada", ADA)
        async with world.node("vault") as other:
            await told(world, node)
            assert (await reveal(node, ADA)).reveal
            _, wall = await olga.get("/api/wall")
            door, vault = wall["cameras"]
            assert (door["name"], door["standing"], door["names"]) == ("door", "live", ["Ada"])
            numbers = door["report"]
            assert (numbers["shown"], numbers["veiled"], numbers["p95_ms"]) == (1, 2, 120)
            assert (vault["name"], vault["standing"], vault["report"]) == ("vault", "opening", None)
            _, wall = await vic.get("/api/wall")
            [door] = wall["cameras"]
            assert door["report"]["shown"] == 1
            assert "Ada" not in json.dumps(wall), "a viewer sees counts"
            await other.say(Goodbye(session=other.session))
            await until(lambda: bool(world.hub.nodes.views(0.0)[1].standing == "away"))
        _, wall = await olga.get("/api/wall")
        assert [c["standing"] for c in wall["cameras"]] == ["live", "away"]


async def test_events_bring_the_wall_when_it_changes(world: World) -> None:
    async with world.running(), world.node("door") as node, pages(world) as client:
        headers = {"Cookie": "veilcast-session=olga"}
        async with client.get("/api/wall/events", headers=headers) as answer:
            assert answer.content_type == "text/event-stream"
            first = await _event(answer.content)
            assert first["cameras"][0]["report"] is None
            await told(world, node, shown=3)
            changed = await _event(answer.content)
            assert changed["cameras"][0]["report"]["shown"] == 3


async def _event(lines: Any) -> dict[str, Any]:
    async with asyncio.timeout(20.0):
        while not (line := (await lines.readline()).decode()).startswith("data: "):
            pass
    event: dict[str, Any] = json.loads(line.removeprefix("data: "))
    return event


async def test_a_ticket_is_for_a_camera_that_the_user_may_watch(world: World) -> None:
    async with world.running(), world.node("door") as node, world.node("vault"), pages(world) as client:
        _, olga, vic = of(client)
        assert (await vic.get("/api/tickets/door"))[0] == 409, "it has not said where it is"
        await told(world, node)
        status, found = await vic.get("/api/tickets/door")
        assert (status, found["url"]) == (200, "http://127.0.0.1:8123/")
        public = world.hub.for_pages().public_key.public_bytes_raw()
        ticket = check_ticket(found["ticket"], "door", public, NOW)
        assert (ticket.user, ticket.may_see_names, found["lasts_s"]) == ("vic", False, 60.0)
        assert await vic.get("/api/tickets/vault") == await vic.get("/api/tickets/nothing")
        assert (await vic.get("/api/tickets/vault"))[0] == 404
        assert (await olga.get("/api/tickets/vault"))[0] == 409


async def test_a_person_is_enrolled_by_photos_shown_withdrawn_and_erased_with_a_receipt(world: World) -> None:
    async with world.running(), world.node("door") as node, pages(world) as client:
        _, olga, _ = of(client)
        terms = {"name": " Ada  Lovelace ", "until": "2027-06-01", "cameras": ["door"], "note": "signed"}
        status, done = await olga.upload(terms, photo(1), photo(2), b"no photo", photo(1))
        assert status == 200, done
        assert done["enrolled"] == ["0.png", "1.png"]
        assert [(r["file"], r["reason"]) for r in done["refused"]] == [
            ("2.png", "not-a-photo"), ("3.png", "repeated"),
        ]  # fmt: skip
        person = done["person"]
        assert (person["name"], person["state"], person["photos"]) == ("Ada Lovelace", "consented", 2)
        assert person["consent"]["cameras"] == ["door"]
        _, listed = await olga.get("/api/people")
        assert [p["name"] for p in listed["people"]] == ["Ada Lovelace"]
        assert listed["cameras"] == ["door"]
        portrait = portrait_of(textured(seed=1), FakeDetector())
        assert isinstance(portrait, AcceptedFace)
        face = int(portrait.crop.image_rgb.mean())
        assert (await reveal(node, face)).reveal
        status, done = await olga.post("/api/people/withdraw", {"name": "Ada Lovelace"})
        assert (status, done["person"]["state"]) == (200, "withdrawn")
        assert isinstance(await node.hear(), Revoke), "veiled when the page is told"
        assert not (await look(node, 3, face)).reveal  # type: ignore[union-attr]
        status, done = await olga.post("/api/people/consent", {"name": "Ada Lovelace", "until": "2027-01-20"})
        assert (status, done["person"]["state"]) == (200, "soon"), "it ends within a month"
        status, done = await olga.get("/api/people/export?name=Ada%20Lovelace")
        assert (status, done["name"]) == (200, "Ada Lovelace")
        status, done = await olga.post("/api/people/erase", {"name": "Ada Lovelace"})
        assert status == 200
        assert done["receipt"]["is_unknown"]
        async with client.get(done["url"], headers={"Cookie": "veilcast-session=olga"}) as answer:
            assert answer.headers["Content-Disposition"].startswith("attachment")
            public = world.hub.for_pages().public_key.public_bytes_raw()
            assert verify_receipt(await answer.text(), public)["identity"] == person["identity"]
        assert (await olga.get("/api/people"))[1]["people"] == []


async def test_nobody_is_enrolled_twice_or_from_nothing(world: World) -> None:
    async with world.running(), pages(world) as client:
        _, olga, _ = of(client)
        status, done = await olga.upload({"name": "Ada"}, b"no photo", photo(1)[:200])
        assert status == 422
        assert [r["reason"] for r in done["refused"]] == ["not-a-photo", "corrupt"]
        assert (await olga.upload({"name": "Ada"}, photo(1)))[0] == 200
        status, done = await olga.upload({"name": "Bob"}, photo(1))
        assert (status, done["code"]) == (409, "duplicate")
        for terms in (
            {"name": ""}, {"name": "x" * 200}, {"name": "Bob", "until": "2020-01-01"}, {"nothing": 1},
            {"name": "Bob", "until": "soon"}, {"name": "Bob", "cameras": ["../x"]},
            {"name": "Bob", "cameras": "door"},
            {"name": "Bob", "note": "n" * 600},
        ):  # fmt: skip
            status, done = await olga.upload(terms, photo(3))
            assert status == 400, terms
            assert done["error"].endswith(".")
        status, done = await olga.upload({"name": "Bob"}, *(photo(n) for n in range(17)))
        assert (status, done["error"][:17]) == (400, "At most 16 photos")
        assert [p["name"] for p in (await olga.get("/api/people"))[1]["people"]] == ["Ada"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"{" + b" " * 300_000, b"[" * 100_000])
async def test_bad_requests_are_refused_in_a_sentence(world: World, body: bytes) -> None:
    async with world.running(), pages(world) as client:
        headers = {**Page(client, "olga")._headers(), "Content-Type": "application/json"}
        async with client.post("/api/people/withdraw", data=body, headers=headers) as answer:
            assert answer.status == 400
            assert (await answer.json())["error"]
        headers["Content-Type"] = "multipart/form-data; boundary=x"
        async with client.post("/api/people", data=body, headers=headers) as answer:
            assert answer.status == 400
        status, done = await Page(client, "olga").post("/api/people/withdraw", {"name": "Nobody"})
        assert (status, done["error"]) == (404, "Nobody named Nobody is enrolled.")


async def test_visitors_are_grouped_and_their_camera_says_so(world: World) -> None:
    async with world.running(), world.node("door") as node, pages(world) as client:
        _, olga, _ = of(client)
        await told(world, node)
        assert (await olga.get("/api/visitors"))[1] == {"camera": "", "left_s": 0, "visitors": []}
        assert (await olga.post("/api/visitors/start", {"camera": "yard", "minutes": 5}))[0] == 404
        for minutes in (0, 31, "5", None):
            assert (await olga.post("/api/visitors/start", {"camera": "door", "minutes": minutes}))[0] == 400
        status, state = await olga.post("/api/visitors/start", {"camera": "door", "minutes": 5})
        assert (status, state["camera"]) == (200, "door")
        _, wall = await olga.get("/api/wall")
        assert "Visitors are being grouped" in wall["cameras"][0]["notice"]
        assert (await olga.post("/api/visitors/enrol", {"visitor": 7, "name": "Ada"}))[0] == 404
        assert (await olga.post("/api/visitors/enrol", {"visitor": -1, "name": "Ada"}))[0] == 400
        assert (await olga.post("/api/visitors/stop", {}))[1]["camera"] == ""


async def test_the_log_is_told_newest_first_and_filtered(world: World) -> None:
    async with world.running(), world.admin() as admin, world.node("door") as node, pages(world) as client:
        _, olga, _ = of(client)
        ada = await admin.enrol("Ada", ADA)
        assert (await reveal(node, ADA)).reveal
        _, page = await olga.get("/api/activity?sort=shown")
        [entry] = page["entries"]
        assert (entry["person"], entry["camera"], entry["end"]) == ("Ada", "door", None)
        world.wall = NOW + 100
        await olga.post("/api/people/withdraw", {"name": "Ada"})
        _, page = await olga.get("/api/activity")
        numbers = [e["n"] for e in page["entries"]]
        assert numbers == sorted(numbers, reverse=True)
        acts = [e for e in page["entries"] if e["what"] == "withdraw-consent"]
        assert [(a["by"], a["person"], a["result"]) for a in acts] == [("user olga", "Ada", "done")]
        [entry] = (await olga.get("/api/activity?sort=shown&person=ada"))[1]["entries"]
        assert entry["cause"] == "revoked", "its beginning is not told again"
        queries = {
            f"person={ada.identity}&sort=people": 2, "person=nobody%20like%20that": 0, "camera=door": 1,
            "camera=yard": 0, "act=withdraw-consent": 1, "act=let-in&camera=door": 0,
            "since=2099-01-01T00:00": 0, "until=2001-01-01T00:00": 0,
        }  # fmt: skip
        for query, count in queries.items():
            _, page = await olga.get(f"/api/activity?{query}")
            assert len(page["entries"]) == count, query
        for wrong in ("sort=faces", "before=x", "since=yesterday", f"before={'9' * 40}"):
            assert (await olga.get(f"/api/activity?{wrong}"))[0] == 400


async def test_the_log_is_paged_without_gaps(world: World) -> None:
    async with world.running(), pages(world) as client:
        _, olga, _ = of(client)
        for n in range(130):
            world.hub._audit.note("user ann", "logout", user=f"u{n}")
        await olga.get("/api/people")  # an act is on the disk when it is answered, and so is all before it
        seen: list[int] = []
        before: int | None = None
        while True:
            _, page = await olga.get("/api/activity?sort=access" + (f"&before={before}" if before else ""))
            seen += [e["n"] for e in page["entries"]]
            before = page["before"]
            if before is None:
                break
        assert len(seen) == len(set(seen)) == 130
        assert seen == sorted(seen, reverse=True)


async def test_the_system_page_tells_versions_keys_and_what_needs_a_look(world: World) -> None:
    async with world.running(), world.node("door") as node, pages(world) as client:
        ada, _, _ = of(client)
        await told(world, node, fully_veiled=0.5)
        _, state = await ada.get("/api/system")
        assert state["hub"]["model"] == "color"
        [door] = state["nodes"]
        assert (door["standing"], door["software"], len(door["history"])) == ("live", "0.1.0", 1)
        assert {"role": "node", "name": "door"} in state["keys"]["let_in"]
        assert len(state["keys"]["signing"]) == 32
        assert [h["text"] for h in state["health"]] == ["door: 50% of its pictures are veiled in full."]
        world.hub._audit._log._files.head.write_text("{}")
        _, state = await ada.get("/api/system")
        assert state["health"][0]["level"] == "bad"


def test_a_consent_ends_with_its_day() -> None:
    until = end_of("2027-06-01", NOW)
    assert until is not None
    assert datetime.fromtimestamp(until).isoformat() == "2027-06-01T23:59:59"
    assert end_of(" ", NOW) is None
    for wrong in ("2020-01-01", "tomorrow", "9999-99-99"):
        with pytest.raises(BadInputError):
            end_of(wrong, NOW)
