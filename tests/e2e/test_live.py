"""The main job with real processes: who is shown, who is not, and what happens when parts die."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_node.capture.source import SourceOptions
from edge_node.capture.synthetic import GroundTruth, SceneRenderer, open_demo
from tests.e2e.rig import GRACE, Rig, likeness, wait_for
from vision.detections import Image

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
CHROMIUM = Path("/usr/bin/chromium")
LEASE_S = 3.0


@pytest.fixture(scope="module")
def scene() -> SceneRenderer:
    """The demo scene once more, for its ground truth."""
    return open_demo(SourceOptions())._renderer


def faces(scene: SceneRenderer, n: int) -> tuple[Image, dict[str, GroundTruth]]:
    image, truth = scene.render(n)
    return image, {t.identity: t for t in truth}


def start(rig: Rig) -> None:
    rig.start_hub()
    rig.enrol_grace()
    rig.start_node()
    wait_for(lambda: GRACE in rig.shown(), 20, "Grace is shown")


def test_the_consenting_face_is_shown_and_the_other_is_not_recognizable(
    rig: Rig, scene: SceneRenderer
) -> None:
    start(rig)
    shown = 0
    for _ in range(40):
        seq, picture = rig.snapshot()
        source, truth = faces(scene, seq)
        for name, face in truth.items():
            if face.visible < 0.9:
                continue
            alike = likeness(source, picture, face.box_xyxy)
            if name == GRACE:
                shown += alike > 0.9
            else:
                assert alike < 0.35, f"{name} in frame {seq}: {alike:.2f}"
        time.sleep(0.15)
    assert shown >= 10, "the consenting face is shown most of the time"


def test_the_page_shows_it_in_a_browser(rig: Rig, tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip("Chromium is not installed")
    start(rig)
    with playwright.sync_playwright() as driver:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=flags)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(rig.url + "?mjpeg", wait_until="commit")
        drawn = "() => document.getElementById('picture')?.naturalWidth > 0"
        wait_for(lambda: bool(page.evaluate(drawn)), 20, "the picture is drawn")
        first = page.locator("#picture").screenshot()
        page.wait_for_timeout(1500)
        second = page.locator("#picture").screenshot()
        wait_for(lambda: GRACE in page.inner_text("body"), 20, "her name stands on the page")
        target = os.environ.get("VEILCAST_SCREENSHOTS")
        page.screenshot(path=str((Path(target) if target else tmp_path) / "live.png"))
        browser.close()
    pictures = [cv2.imdecode(np.frombuffer(p, np.uint8), cv2.IMREAD_COLOR) for p in (first, second)]
    assert np.abs(pictures[0].astype(int) - pictures[1]).max() > 60, "the stream moves"


def test_a_killed_hub_veils_everyone_while_the_stream_goes_on(rig: Rig) -> None:
    start(rig)
    before = rig.state()["picture"]["seq"]
    rig.kill("hub")
    wait_for(lambda: rig.state()["hub"]["state"] != "connected", LEASE_S + 2.0, "the loss is noticed")
    wait_for(lambda: not rig.shown(), 1.0, "the next frame is veiled")
    assert rig.state()["picture"]["seq"] > before + 10
    seen_until = time.monotonic() + 2.0
    while time.monotonic() < seen_until:
        assert rig.shown() == []
        assert rig.state()["picture"]["age_s"] < 1.0, "the stream never stops"
        time.sleep(0.1)
    rig.start_hub()
    wait_for(lambda: GRACE in rig.shown(), 45, "she is shown again after re-proof")


def test_a_restarted_node_shows_nobody_before_re_proof(rig: Rig) -> None:
    start(rig)
    rig.kill("node")
    rig.start_node()
    wait_for(lambda: GRACE in rig.shown(), 20, "she is proven again")


def test_a_withdrawn_consent_veils_within_two_seconds_and_a_new_one_shows(rig: Rig) -> None:
    start(rig)
    assert rig.enrol("consent", "withdraw", GRACE).returncode == 0
    wait_for(lambda: not rig.shown(), 2.0, "she is veiled")
    quiet_until = time.monotonic() + 3.0
    while time.monotonic() < quiet_until:
        assert rig.shown() == []
        time.sleep(0.1)
    assert rig.enrol("consent", "grant", GRACE).returncode == 0
    wait_for(lambda: GRACE in rig.shown(), 15, "she is shown again")


def test_a_removed_person_is_veiled_at_once(rig: Rig) -> None:
    start(rig)
    assert rig.enrol("remove", GRACE, "--yes").returncode == 0
    wait_for(lambda: not rig.shown(), 2.0, "she is veiled")


def test_ctrl_c_ends_both_cleanly(rig: Rig) -> None:
    start(rig)
    assert rig.kill("node", signal.SIGINT) == 0
    assert rig.kill("hub", signal.SIGINT) == 0
    for name in ("node", "hub"):
        assert "Traceback" not in rig.output(name)


def test_no_name_reaches_a_log(rig: Rig) -> None:
    start(rig)
    rig.enrol("remove", GRACE, "--yes")
    rig.stop()
    for name in ("node", "hub"):
        assert "Hopper" not in rig.output(name)
