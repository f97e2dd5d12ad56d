"""What is shown is recorded before, on the disk; what cannot be recorded is not shown."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.audit.desk import SLACK_S, AuditDesk
from hub.audit.files import AuditFiles, write_all
from hub.audit.log import AuditLog
from hub.audit.reading import FolderSource, Reading
from hub.audit.shown import ShownInLog
from hub.errors import DeclinedError
from hub.policy import Verdict
from protocol.keys import Peer
from protocol.messages import AddPerson, GrantConsent, Message, People, ShowPerson, WithdrawConsent
from tests.protocol.examples import EXAMPLES

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
NOW = 1_800_000_000.0
A = b"a" * 16
ME = Peer("me", "admin")
SHOWN = Verdict(True, 3.0, "id-ada", "Ada", 0.95, 0.3, "consented", (), "consent-1", 7, 0.9)


class Disk(AuditLog):
    """Full while `is_full`; waits where the test holds `gate`."""

    is_full = False
    gate: threading.Event | None = None

    def _write(self, descriptor: int, data: bytes) -> None:
        if self.gate is not None:
            assert self.gate.wait(20.0)
        if self.is_full:
            write_all(descriptor, data[:20])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_all(descriptor, data)


@dataclass
class Rig:
    """A desk under the test's clock."""

    state: Path
    keep_days: float = 0.0
    now: float = 100.0
    disk: Disk = field(init=False)
    desk: AuditDesk = field(init=False)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[AuditDesk]:
        self.disk = Disk(self.state, KEY, NOW + self.now)
        self.desk = AuditDesk(self.disk, lambda: NOW + self.now, self.keep_days, lambda: self.now)
        self.desk.start(model="color")
        try:
            yield self.desk
        finally:
            await self.desk.close()

    async def decided(self, verdict: Verdict = SHOWN, track: int = 1) -> Verdict:
        return await self.desk.decided("door", "reveal-consented", A, track, verdict)

    def records(self, *kinds: str) -> list[dict[str, Any]]:
        """What is on the disk at this moment and holds."""
        reading = Reading(FolderSource(AuditFiles(self.state), KEY.public_key()), KEY.public_key())
        found = [r for r in reading.records() if r["kind"] in kinds]
        assert reading.problems == []
        return found


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


# --- reveals --------------------------------------------------------------------------------------


async def test_a_reveal_is_on_the_disk_before_it_is_granted(rig: Rig) -> None:
    async with rig.running():
        assert await rig.decided() == SHOWN
        (start,) = rig.records("reveal-start")
        assert (start["identity"], start["consent"]) == ("id-ada", "consent-1")
        rig.now += 1.0
        assert await rig.decided() == SHOWN
        assert len(rig.records("reveal-start")) == 1
        assert not (await rig.decided(Verdict.veil("the looks disagree"))).reveal
    (end,) = rig.records("reveal-end")
    assert (end["cause"], end["end"]) == ("the looks disagree", NOW + 101.0)
    assert [r["kind"] for r in rig.records("hub-start", "hub-stop")] == ["hub-start", "hub-stop"]


async def test_nothing_is_granted_while_the_start_is_on_its_way(rig: Rig) -> None:
    async with rig.running():
        await rig.decided(track=9)
        rig.disk.gate = threading.Event()
        first = asyncio.ensure_future(rig.decided())
        second = asyncio.ensure_future(rig.decided())
        await asyncio.sleep(0.02)
        assert not first.done()
        assert not second.done(), "the reveal is open already, but not written"
        rig.disk.gate.set()
        assert (await first).reveal
        assert (await second).reveal


async def test_a_question_that_is_given_up_takes_no_other_answer_with_it(rig: Rig) -> None:
    async with rig.running():
        await rig.decided(track=9)
        rig.disk.gate = threading.Event()
        first = asyncio.ensure_future(rig.decided())
        second = asyncio.ensure_future(rig.decided())
        await asyncio.sleep(0.02)
        first.cancel()
        rig.disk.gate.set()
        assert (await second).reveal


@pytest.mark.parametrize("by", ["identity", "track", "session", "lost", "veil"])
async def test_what_is_revoked_while_it_is_written_is_not_granted(rig: Rig, by: str) -> None:
    async with rig.running() as desk:
        await rig.decided(track=9)
        rig.disk.gate = threading.Event()
        waiting = asyncio.ensure_future(rig.decided())
        await asyncio.sleep(0.02)
        match by:
            case "identity":
                desk.revoked(A, identities=["id-ada"])
            case "track":
                desk.revoked(A, tracks=[1])
            case "session":
                desk.revoked(A)
            case "lost":
                desk.lost(A)
            case "veil":
                desk.veiled(A, 1, "veiled")
        rig.disk.gate.set()
        assert not (await waiting).reveal
    kinds = [r["kind"] for r in rig.records("reveal-start", "reveal-end") if r["track"] == 1]
    assert kinds == ["reveal-start", "reveal-end"]


async def test_a_full_disk_shows_nobody_says_so_once_and_recovers(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with rig.running() as desk:
        assert (await rig.decided()).reveal
        rig.disk.is_full = True
        for track in (2, 3, 2):
            assert (await rig.decided(track=track)).reason == "the audit log cannot be written"
        assert not (await rig.decided()).reveal, "nor anyone who was shown before"
        for _ in range(5):
            rig.now += 1.5
            desk.tick()
            await asyncio.sleep(0.02)
        assert [r.levelname for r in caplog.records] == ["ERROR"]
        assert "No space left" in caplog.text
        rig.disk.is_full = False
        rig.now += 1.5
        desk.tick()
        for _ in range(1_000):
            if (await rig.decided(track=4)).reveal:
                break
            await asyncio.sleep(0.01)
        assert "written again" in caplog.text
    starts = [r["track"] for r in rig.records("reveal-start")]
    assert starts == [1, 4]
    (recovered,) = rig.records("recovered")
    assert recovered["reveals_refused"] >= 4
    ends = {r["track"]: r["cause"] for r in rig.records("reveal-end")}
    assert ends == {1: "the audit log cannot be written", 4: "hub stopped"}


async def test_leases_never_outlast_the_promise_on_the_disk(rig: Rig) -> None:
    """What a crash leaves open is closed with this time."""
    async with rig.running() as desk:
        for _ in range(60):
            assert (await rig.decided()).reveal
            head = AuditFiles(rig.state).read_head(KEY.public_key())
            assert head is not None
            assert NOW + rig.now + 3.0 <= head.horizon <= NOW + rig.now + 3.0 + SLACK_S
            rig.now += 0.25
            desk.tick()
            await asyncio.sleep(0.001)


async def test_a_hub_that_shows_nobody_writes_nothing(rig: Rig) -> None:
    async with rig.running() as desk:
        await rig.decided(Verdict.veil("not similar enough to anyone"))
        await asyncio.sleep(0.05)
        before = AuditFiles(rig.state).head.stat().st_mtime_ns
        for _ in range(10):
            rig.now += 0.25
            desk.tick()
            await asyncio.sleep(0.005)
        assert AuditFiles(rig.state).head.stat().st_mtime_ns == before


async def test_reveals_that_a_crash_left_open_are_closed_at_the_next_start(rig: Rig) -> None:
    crashed = AuditLog(rig.state, KEY, NOW)
    start = {"kind": "reveal-start", "at": NOW + 10, "reveal": "old-1", "track": 1}
    facts = {"node": "door", "camera": "door", "session": "00", "identity": "id-ada"}
    crashed.append([{**start, **facts}], NOW + 10, horizon=NOW + 18)
    crashed.close()
    async with rig.running():
        pass
    (end,) = rig.records("reveal-end")
    assert (end["reveal"], end["cause"]) == ("old-1", "hub went away")
    assert (end["start"], end["end"], end["latest"]) == (NOW + 10, NOW + 18, NOW + 18)
    assert rig.records("hub-start")[0]["unended"] == 1
    async with rig.running():
        pass
    assert len(rig.records("reveal-end")) == 1


async def test_subject_access_gets_every_interval(rig: Rig) -> None:
    shown = ShownInLog(rig.state, KEY.public_key())
    async with rig.running() as desk:
        await rig.decided()
        await rig.decided(replace(SHOWN, identity="id-bob"), track=2)
        rig.now += 10.0
        desk.tick()
        await rig.decided(track=5)
        first, second = shown.intervals("id-ada")
        assert (first.start, first.end, first.cause) == (NOW + 100, NOW + 103, "lease expired")
        assert (second.start, second.end, second.cause) == (NOW + 110, None, "")
        assert [i.start for i in shown.intervals("id-ada", since=NOW + 105)] == [NOW + 110]
        assert shown.intervals("id-eve") == []
        assert shown.shown_intervals("id-bob")[0]["consent"] == "consent-1"


async def test_old_segments_go_by_themselves(rig: Rig) -> None:
    rig.keep_days = 30.0
    for day in range(0, 100, 5):
        rig.now = day * 86_400.0
        async with rig.running() as desk:
            desk.tick()
    held = rig.records("hub-start")
    assert held[0]["at"] >= NOW + (95 - 30 - 5) * 86_400.0
    assert held[-1]["at"] == NOW + 95 * 86_400.0


# --- acts -----------------------------------------------------------------------------------------


def example(kind: type[Message]) -> Any:
    return next(m for m, _ in EXAMPLES if type(m) is kind)


async def test_an_act_is_recorded_before_and_after_without_names_or_notes(rig: Rig) -> None:
    request: AddPerson = example(AddPerson)
    people: People = example(People)
    seen: list[str] = []

    async def do() -> People:
        seen.extend(r["kind"] for r in rig.records("act-asked", "act"))
        return People(session=A, seq=1, people=people.people[:1], gallery_version=3)

    async with rig.running() as desk:
        await desk.act(ME, request, do)
        assert seen == ["act-asked"]
        (act,) = rig.records("act")
    person = people.people[0]
    assert (act["by"], act["what"], act["result"]) == ("me", "add-person", "done")
    assert act["identity"] == person.identity
    assert act["consent"] in {c.id for c in person.consents} | {""}
    text = str(rig.records("act", "act-asked"))
    for secret in (request.name, request.note, request.photos[0].source, person.name):
        assert not secret or secret not in text


async def test_a_declined_act_is_recorded_as_such(rig: Rig) -> None:
    async def do() -> People:
        raise DeclinedError("not-found", "nobody named Ada is enrolled")

    async with rig.running() as desk:
        with pytest.raises(DeclinedError, match="nobody named"):
            await desk.act(ME, example(GrantConsent), do)
        (act,) = rig.records("act")
    assert act["result"] == "declined: not-found"
    assert "Ada" not in str(act)


@pytest.mark.parametrize(
    ("kind", "is_done"),
    [(AddPerson, False), (GrantConsent, False), (ShowPerson, False), (WithdrawConsent, True)],
)
async def test_on_a_full_disk_only_what_veils_people_is_done(
    rig: Rig, kind: type[Message], is_done: bool
) -> None:
    done: list[str] = []

    async def do() -> People:
        done.append("done")
        return People(session=A, seq=1, people=(), gallery_version=3)

    async with rig.running() as desk:
        await rig.decided()
        rig.disk.is_full = True
        await rig.decided(track=2)
        if is_done:
            await desk.act(ME, example(kind), do)
        else:
            with pytest.raises(DeclinedError, match="cannot be recorded"):
                await desk.act(ME, example(kind), do)
        rig.disk.is_full = False
    assert bool(done) is is_done
    assert len(rig.records("act")) == is_done, "recorded as soon as there is room"


async def test_a_disk_that_is_found_full_by_an_act_keeps_it_from_being_done(rig: Rig) -> None:
    async def do() -> People:
        raise AssertionError("must not be done")

    async with rig.running() as desk:
        await rig.decided()
        rig.disk.is_full = True
        with pytest.raises(DeclinedError, match="No space left"):
            await desk.act(ME, example(GrantConsent), do)
        rig.disk.is_full = False


async def test_other_parts_note_what_they_did(rig: Rig) -> None:
    async with rig.running() as desk:
        desk.note("hub", "visitors-forgotten", camera="door")
    (act,) = rig.records("act")
    assert (act["by"], act["what"], act["camera"]) == ("hub", "visitors-forgotten", "door")
