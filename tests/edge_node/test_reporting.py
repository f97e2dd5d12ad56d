"""What a node tells the hub of itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from edge_node.capture.grabber import SourceState
from edge_node.frames import MaskedFrame, ReleaseReason, ShownFace
from edge_node.reporting import CAMERA_STATES, REPORT_EVERY_S, STALE_S, FrameTally, Report, Reporter, Tally
from edge_node.stream.state import LinkState, NodeState
from protocol.keys import Peer
from tests.edge_node.test_uplink import WAIT_S, Owner, going
from tests.hub_fake import FakeHandler, Keyring, running


class Clock:
    """Stands still unless moved."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


GRACE = ShownFace(1, "Grace Hopper", (0.0, 0.0, 10.0, 10.0))


def frame(seq: int, *shown: ShownFace, veiled: int = 0, late: bool = False) -> MaskedFrame:
    reason = ReleaseReason.LATE if late else ReleaseReason.COVERED
    return MaskedFrame(seq, 0.0, 0.0, np.zeros((4, 4, 3), np.uint8), reason, shown, veiled)


def test_every_state_of_a_camera_has_a_word_on_the_wire() -> None:
    assert set(CAMERA_STATES) == {state.value for state in SourceState}


def test_the_stream_is_counted() -> None:
    clock = Clock()
    tally = FrameTally(clock)
    assert tally.read() == Tally()
    for n in range(100):
        clock.now += 0.04
        tally.push(frame(n, GRACE, veiled=3, late=n % 4 == 0))
    read = tally.read()
    assert read.fps == pytest.approx(25.0, rel=0.02)
    assert read.fully_veiled == pytest.approx(0.25)
    assert (read.shown, read.veiled) == (1, 3)
    clock.now += STALE_S + 0.1
    assert (tally.read().shown, tally.read().veiled) == (0, 0), "nobody knows who is there now"


class Told:
    """Whom the reporter tells."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.is_there = True

    def __call__(self, report: Report) -> bool:
        if self.is_there:
            self.reports.append(report)
        return self.is_there


def test_it_reports_every_two_seconds_and_when_something_changes() -> None:
    clock, told = Clock(), Told()
    tally = FrameTally(clock)
    camera = LinkState("live", "", 0.0)
    reporter = Reporter(
        tally, lambda: NodeState("door", camera, camera, (60.0, 120.0, 130.0), 0.0),
        lambda: 2, lambda: "http://127.0.0.1:8080/", told, clock,
    )  # fmt: skip
    reporter.step()
    reporter.step()
    assert len(told.reports) == 1
    assert (told.reports[0].delay_p95_s, told.reports[0].viewers) == (0.12, 2)
    tally.push(frame(1, GRACE))
    reporter.step()
    assert [r.tally.shown for r in told.reports] == [0, 1]
    clock.now += REPORT_EVERY_S
    reporter.step()
    assert len(told.reports) == 3
    camera = LinkState("lost", "", 0.0)
    told.is_there = False
    reporter.step()
    told.is_there = True
    reporter.step()
    assert told.reports[-1].camera == "lost", "what could not be told is told as soon as it can"


async def test_a_report_reaches_the_hub_under_the_name_of_the_key(tmp_path: Path) -> None:
    keys, owner, handler = Keyring(tmp_path), Owner(), FakeHandler()
    door = keys.client("door")
    report = Report("live", Tally(25.0, 0.0, 1, 2), 0.06, 0.12, 1, "0.1.0", "http://127.0.0.1:8080/")
    async with (
        running(keys, handler) as server,
        going(owner.uplink(server.address, door, keys.hub.public)) as uplink,
    ):
        assert not uplink.report(report), "nobody is told without a session"
        await owner.next()
        assert uplink.report(report)
        assert uplink.report(report), "it has no number that could have been used"
        for _ in range(2):
            peer, arrived = await asyncio.wait_for(handler.reports.get(), WAIT_S)
        assert peer == Peer("door", "node")
        assert (arrived.camera, arrived.shown, arrived.veiled, arrived.fps) == ("live", 1, 2, 25.0)
        assert owner.heard.empty(), "nothing answers it"
