"""The whole hub on loopback, and what its audit log says afterwards; the commands that ask it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from hub.__main__ import app
from hub.audit.errors import AuditError
from hub.audit.files import AuditFiles
from hub.audit.reading import FolderSource, Reading
from hub.audit.times import span
from hub.signing import load
from protocol.messages import FaceDecision, GrantConsent, RemovePerson, Revoke, WithdrawConsent
from tests.hub.test_service import ADA, BOB, NOW, STRANGER, World, look, reveal
from tests.hub_fake import Keyring

LOCAL = datetime.fromtimestamp(NOW, UTC).astimezone()
CLOCK = LOCAL.strftime("%Y-%m-%d %H:%M")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(Keyring(tmp_path))


def call(world: World, *words: str) -> Result:
    return CliRunner().invoke(app, ["audit", *words, "--state", str(world.keys.folder)])


def records(world: World, *kinds: str) -> list[dict[str, Any]]:
    key = load(AuditFiles(world.keys.folder).key)
    assert key is not None
    reading = Reading(FolderSource(AuditFiles(world.keys.folder), key.public_key()), key.public_key())
    found = [r for r in reading.records() if r["kind"] in kinds]
    assert reading.problems == []
    return found


async def test_a_reveal_is_explained_from_its_consent_to_its_end(world: World) -> None:
    async with world.running(), world.admin() as admin, world.node("door") as node:
        ada = await admin.enrol("Ada", ADA, cameras=("door",), note="signed on paper")
        assert (await reveal(node, ADA)).reveal
        assert not (await reveal(node, STRANGER, 3, track=2)).reveal
        (start,) = records(world, "reveal-start")
        assert start["identity"] == ada.identity
        assert start["consent"] == ada.consents[0].id
        assert (start["camera"], start["node"], start["track"]) == ("door", "door", 1)
        assert (start["similarity"], start["margin"], start["threshold"]) == (1.0, 1.0, 0.9)
        assert start["gallery_version"] == 1
        await admin.ask(WithdrawConsent, name="Ada")
        assert isinstance(await node.hear(), Revoke)
        (end,) = records(world, "reveal-end")
        assert (end["reveal"], end["cause"]) == (start["reveal"], "revoked")
    acts = [a for a in records(world, "act") if a["by"] == "me"]
    assert [(a["by"], a["what"], a["result"]) for a in acts] == [
        ("me", "add-person", "done"),
        ("me", "withdraw-consent", "done"),
    ]
    assert acts[0]["cameras"] == ["door"]
    log = b"".join(path.read_bytes() for _, path in AuditFiles(world.keys.folder).segments())
    assert b"Ada" not in log
    assert b"signed" not in log
    assert records(world, "hub-start")[0]["model"] == "color"


async def test_keys_that_are_let_in_and_shut_out_are_recorded(world: World) -> None:
    async with world.running(), world.admin() as admin, world.node("door") as node:
        await node.hear_nothing(0.6)
        world.keys.file_of("door").unlink()
        await node.hear_nothing(2.0)
        assert await admin.enrol("Ada", ADA)
    notes = [(r["what"], r["role"], r["name"]) for r in records(world, "act") if r["by"] == "hub"]
    assert set(notes) == {("let-in", "admin", "me"), ("let-in", "node", "door"), ("shut-out", "node", "door")}


async def test_ends_by_goodbye_by_removal_and_by_a_new_consent(world: World) -> None:
    async with world.running(), world.admin() as admin, world.node("door") as node:
        await admin.enrol("Ada", ADA)
        assert (await reveal(node, ADA)).reveal
        await admin.ask(GrantConsent, name="Ada")
        again = await reveal(node, ADA, 3)
        assert again.reveal
        assert [r["cause"] for r in records(world, "reveal-end")] == ["another person or consent"]
        consents = [r["consent"] for r in records(world, "reveal-start")]
        assert len(set(consents)) == 2
        await admin.ask(RemovePerson, name="Ada")
        assert isinstance(await node.hear(), Revoke)
        await admin.enrol("Bob", BOB)
        assert (await reveal(node, BOB, 5, track=3)).reveal
    causes = [r["cause"] for r in records(world, "reveal-end")]
    assert causes[:2] == ["another person or consent", "revoked"]
    assert causes[2] in ("hub stopped", "session lost")


async def test_a_camera_that_shows_everyone_not_on_its_list_is_recorded(world: World) -> None:
    world.modes = {"yard": "veil-protected"}
    async with world.running(), world.admin() as admin:
        await admin.enrol("Ada", ADA)
        async with world.node("yard") as node:
            assert (await reveal(node, STRANGER)).reveal
        (start,) = records(world, "reveal-start")
        assert (start["mode"], start["identity"], start["consent"]) == ("veil-protected", "", "")


async def test_a_log_that_cannot_be_written_shows_nobody(world: World) -> None:
    async with world.running(), world.admin() as admin, world.node("door") as node:
        await admin.enrol("Ada", ADA)
        blocker = AuditFiles(world.keys.folder).head.with_name(".audit.head.new")
        blocker.mkdir()
        refused = await reveal(node, ADA)
        assert (refused.reveal, refused.name, refused.reason) == (
            False,
            "",
            "the audit log cannot be written",
        )
        blocker.rmdir()
        seq, decision = 3, refused
        while not decision.reveal:
            await node.hear_nothing(0.05)
            answer = await look(node, seq, ADA)
            assert isinstance(answer, FaceDecision)
            seq, decision = seq + 1, answer


async def test_a_hub_does_not_start_on_a_log_that_was_changed(world: World) -> None:
    async with world.running(), world.admin() as admin:
        await admin.enrol("Ada", ADA)
    ((_, path),) = AuditFiles(world.keys.folder).segments()
    path.write_bytes(path.read_bytes().replace(b'"by":"me"', b'"by":"he"', 1))
    with pytest.raises(AuditError, match="audit verify"):
        async with world.running():
            pass
    bad = call(world, "verify")
    assert bad.exit_code == 1
    assert re.search(r"record \d+: was changed", bad.output)
    aside = call(world, "set-aside")
    assert aside.exit_code == 0
    async with world.running():
        pass
    assert call(world, "verify").exit_code == 0


# --- commands -------------------------------------------------------------------------------------


async def shown_once(world: World) -> str:
    """Ada was shown at NOW on camera door, by a hub that has stopped; her identity."""
    async with world.running(), world.admin() as admin, world.node("door") as node:
        ada = await admin.enrol("Ada", ADA)
        assert (await reveal(node, ADA)).reveal
    return ada.identity


async def test_why_was_i_shown(world: World) -> None:
    identity = await shown_once(world)
    result = call(world, "why", "--person", "Ada", "--camera", "door", "--at", CLOCK)
    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    for words in (
        "Ada was shown on camera door from", "similarity 1.000", f"identity {identity}",
        "threshold in force was 0.900", "1.000 behind", "recorded",
        "by me, for every camera, until withdrawn", "gallery version 1", "mode reveal-consented",
        "The log is intact",
    ):  # fmt: skip
        assert words in text
    same = call(world, "why", "--identity", identity, "--camera", "door", "--at", CLOCK, "--json")
    assert json.loads(same.output)[0]["identity"] == identity
    elsewhere = call(world, "why", "--person", "Ada", "--camera", "hall", "--at", CLOCK)
    assert "Ada was not shown on camera hall" in elsewhere.output
    earlier = call(world, "why", "--person", "Ada", "--camera", "door", "--at", "2020-01-01 10:00")
    assert "The nearest time after" in earlier.output
    nobody = call(world, "why", "--person", "Eve", "--camera", "door", "--at", CLOCK)
    assert nobody.exit_code == 1
    assert "nobody named Eve" in nobody.output
    assert call(world, "why", "--person", "Ada", "--camera", "door", "--at", "soon").exit_code == 1


async def test_why_beside_a_running_hub(world: World) -> None:
    async with world.running(), world.admin() as admin, world.node("door") as node:
        await admin.enrol("Ada", ADA)
        assert (await reveal(node, ADA)).reveal
        result = call(world, "why", "--person", "Ada", "--camera", "door", "--at", CLOCK)
        assert "still is at the end of this log" in " ".join(result.output.split())
        assert call(world, "verify").exit_code == 0
        assert "stop it first" in call(world, "retain", "--days", "30").output


async def test_query_by_person_identity_camera_and_time(world: World) -> None:
    identity = await shown_once(world)

    def found(*words: str) -> int:
        result = call(world, "query", "--json", *words)
        assert result.exit_code == 0, result.output
        return len([json.loads(line) for line in result.output.splitlines()])

    assert found() == found("--person", "Ada") == found("--identity", identity) == 1
    assert found("--camera", "door", "--since", CLOCK, "--until", CLOCK) == 1
    assert found("--camera", "hall") == found("--identity", "nobody") == 0
    assert found("--until", "2020-01-01") == found("--since", "2036-01-01") == 0
    assert identity in call(world, "query", "--camera", "door").output
    acts = [json.loads(line) for line in call(world, "query", "--acts", "--json").output.splitlines()]
    assert [(a["what"], a["identity"]) for a in acts if a["by"] == "me"] == [("add-person", identity)]
    assert "add-person" in call(world, "query", "--acts").output
    assert call(world, "query", "--person", "Ada", "--identity", identity).exit_code == 1


async def test_verify_says_where_and_knows_a_noted_head(world: World) -> None:
    await shown_once(world)
    good = json.loads(call(world, "verify", "--json").output)
    assert good["intact"]
    assert good["records"] == good["count"]
    assert call(world, "verify", "--head", good["head"]).exit_code == 0
    lost = call(world, "verify", "--head", "0" * 63 + "1")
    assert lost.exit_code == 1
    assert "set back" in lost.output
    ((_, path),) = AuditFiles(world.keys.folder).segments()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-2]))
    cut = call(world, "verify")
    assert cut.exit_code == 1
    assert f"record {len(lines) - 1}: cut off" in cut.output
    assert call(world, "query", "--json").exit_code == 1, "an answer from a log that does not hold says so"


async def test_an_export_is_checked_without_the_hub(world: World, tmp_path: Path) -> None:
    await shown_once(world)
    file = tmp_path / "log.jsonl"
    assert call(world, "export", str(file)).exit_code == 0
    assert "not overwritten" in call(world, "export", str(file)).output
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    key, other = tmp_path / "sign.pub", tmp_path / "other.pub"
    key.write_text(CliRunner().invoke(app, ["receipt", "key", "--state", str(world.keys.folder)]).stdout)
    assert key.read_text().strip() == lines[-1]["public_key"]
    other.write_text("A" * 43 + "=")

    def verify(*words: str) -> Result:
        return CliRunner().invoke(app, ["audit", "verify", "--export", str(file), *words])

    assert verify("--key", str(key)).exit_code == 0
    assert "the one the export names" in verify().output
    assert verify("--key", str(other)).exit_code == 1
    assert "not a public key" in verify("--key", str(file)).output
    data = file.read_bytes()
    file.write_bytes(data.replace(b'"result":"done"', b'"result":"gone"', 1))
    assert "was changed" in verify().output
    file.write_bytes(b"\n".join(data.splitlines()[:-1]) + b"\n")
    assert "its last line holds no head" in verify("--key", str(key)).output


def test_times_as_people_write_them() -> None:
    now = datetime(2026, 11, 21, 15, 30).astimezone()

    def begin(text: str) -> datetime:
        return datetime.fromtimestamp(span(text, now)[0], UTC).astimezone().replace(tzinfo=None)

    def length(text: str) -> float:
        first, last = span(text, now)
        return last - first

    assert begin("14:05") == datetime(2026, 11, 21, 14, 5)
    assert begin("9:05") == datetime(2026, 11, 21, 9, 5)
    assert begin("16:05") == datetime(2026, 11, 20, 16, 5), "not in the future"
    assert begin("2026-07-01 14:05:09") == datetime(2026, 7, 1, 14, 5, 9)
    assert span("2026-11-21T14:05:00+00:00", now)[0] == datetime(2026, 11, 21, 14, 5, tzinfo=UTC).timestamp()
    assert (length("14:05"), length("14:05:30"), length("2026-11-20")) == (60.0, 1.0, 86_400.0)
    for text in ("", "soon", "25:00", "14:61", "2026-13-01", "2026-11-21 99:00"):
        with pytest.raises(AuditError, match="is no time"):
            span(text, now)
