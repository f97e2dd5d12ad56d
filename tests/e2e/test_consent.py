"""Consents that end, with real processes: told to a node, out of a node's reach, and by their date."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge_node.capture.portraits import demo_portrait_path
from tests.e2e.rig import GRACE, Rig, wait_for
from tests.faults.proxy import NO_FAULT, Fault, FaultProxy

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
LEASE_S = 3.0


def stays_veiled(rig: Rig, for_s: float) -> None:
    until = time.monotonic() + for_s
    while time.monotonic() < until:
        assert rig.shown() == []
        time.sleep(0.1)


def test_a_withdrawal_that_cannot_reach_the_node_veils_by_the_end_of_the_lease(rig: Rig) -> None:
    rig.start_hub()
    rig.enrol_grace()
    with FaultProxy(("127.0.0.1", rig.hub_port)) as proxy:
        config = rig.folder / "node.toml"
        config.write_text(config.read_text().replace(rig.hub_address, proxy.address))
        rig.start_node()
        wait_for(lambda: GRACE in rig.shown(), 45, "she is shown")
        proxy.switch(Fault(is_black_hole=True))
        assert rig.enrol("consent", "withdraw", GRACE).returncode == 0
        wait_for(lambda: not rig.shown(), LEASE_S + 0.5, "her lease has ended")
        stays_veiled(rig, 1.0)
        proxy.switch(NO_FAULT)
        wait_for(lambda: rig.state()["hub"]["state"] == "connected", 30, "the node is back")
        stays_veiled(rig, 3.0)


def test_a_consent_ends_by_its_date_without_anyone_doing_anything(rig: Rig) -> None:
    rig.start_hub()
    rig.enrol_grace()
    rig.start_node()
    wait_for(lambda: GRACE in rig.shown(), 45, "she is shown")
    until = datetime.now(UTC) + timedelta(seconds=15)
    granted = rig.enrol("consent", "grant", GRACE, "--until", until.isoformat())
    assert granted.returncode == 0, granted.stderr
    time.sleep(max(0.0, (until - datetime.now(UTC)).total_seconds()))  # a doubt may veil her before it
    wait_for(lambda: not rig.shown(), 2.0, "her consent has ended")
    stays_veiled(rig, 3.0)
    assert "expired" in rig.enrol("consent", "history", GRACE).stdout


def test_an_erased_person_has_a_receipt_and_an_export_before(rig: Rig, tmp_path: Path) -> None:
    rig.start_hub()
    done = rig.enrol("add", GRACE, str(demo_portrait_path(GRACE)), "--keep-photos", "--note", "demo")
    assert done.returncode == 0, done.stderr
    told = json.loads(rig.enrol("export", GRACE).stdout)
    assert told["consents"][0]["note"] == "demo"
    assert told["templates"][0]["photo_jpeg_base64"]
    receipt = tmp_path / "receipt.json"
    gone = rig.enrol("remove", GRACE, "--yes", "--receipt", str(receipt))
    assert gone.returncode == 0, gone.stderr
    rig.check("hub", "receipt", "verify", str(receipt), "--state", str(rig.folder / "hub"))
    body = json.loads(receipt.read_text())["receipt"]
    assert (body["photos"], body["is_unknown"], body["hub_key_destroyed"]) == (1, True, True)
    assert rig.enrol("export", GRACE).returncode == 1
