"""Live video from a real node in a real browser: it moves, it is veiled, and it outlives its parts."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_node.capture.source import SourceOptions
from edge_node.capture.synthetic import SceneRenderer, open_demo
from tests.e2e.rig import GRACE, Rig, likeness, wait_for
from vision.detections import Image

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
FRAMES = "() => document.getElementById('video').getVideoPlaybackQuality().totalVideoFrames"
PLAYS = "() => !document.getElementById('video').hidden && document.getElementById('video').videoWidth > 0"
GRAB = """() => {
  const video = document.getElementById("video");
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  return canvas.toDataURL("image/png").split(",")[1];
}"""
SAME_FRAME = 4.0
"""Mean difference outside of faces up to which a decoded picture and a drawn one are the same instant."""


@contextmanager
def browsing(url: str) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(url, wait_until="commit")
        yield page
        browser.close()


def picture(page: Any) -> Image:
    data = np.frombuffer(base64.b64decode(page.evaluate(GRAB)), np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert image is not None
    return np.asarray(image, np.uint8)


def source_frame(scene: SceneRenderer, seen: Image, around: int) -> int:
    """The frame of the drawn scene that a decoded picture shows: the one that differs least."""
    small = cv2.resize(seen, (160, 90), interpolation=cv2.INTER_AREA).astype(int)
    span = range(max(0, around - 75), around + 10)

    def distance(n: int) -> float:
        drawn = cv2.resize(scene.render(n)[0], (160, 90), interpolation=cv2.INTER_AREA).astype(int)
        return float(np.median(np.abs(drawn - small).mean(axis=2)) + 0.2 * np.abs(drawn - small).mean())

    return min(span, key=distance)


def start(rig: Rig) -> None:
    rig.start_hub()
    rig.enrol_grace()
    rig.start_node()
    wait_for(lambda: GRACE in rig.shown(), 40, "Grace is shown")


def test_video_advances_and_its_pixels_are_veiled(rig: Rig, tmp_path: Path) -> None:
    start(rig)
    scene = open_demo(SourceOptions())._renderer
    with browsing(rig.url) as page:
        wait_for(lambda: bool(page.evaluate(PLAYS)), 40, "video plays")
        before = page.evaluate(FRAMES)
        wait_for(lambda: bool(page.evaluate(FRAMES) > before + 20), 30, "frames advance")
        judged = shown = 0
        for _ in range(12):
            seen = picture(page)
            n = source_frame(scene, seen, rig.state()["picture"]["seq"])
            drawn, truth = scene.render(n)
            for face in truth:
                if face.visible < 0.9:
                    continue
                alike = likeness(drawn, seen, face.box_xyxy)
                judged += 1
                if face.identity == GRACE:
                    shown += alike > 0.6
                else:
                    assert alike < 0.4, f"{face.identity} in frame {n}: {alike:.2f}"
            page.wait_for_timeout(300)
        assert judged > 0
        assert shown > 0, "the consenting face is shown"
        wait_for(lambda: page.locator("#glass-line").is_visible(), 30, "its age is shown")
        target = os.environ.get("VEILCAST_SCREENSHOTS")
        page.screenshot(path=str((Path(target) if target else tmp_path) / "live.png"))


def test_video_goes_on_without_the_hub_and_comes_back_with_the_node(rig: Rig) -> None:
    start(rig)
    with browsing(rig.url) as page:
        wait_for(lambda: bool(page.evaluate(PLAYS)), 40, "video plays")
        rig.kill("hub")
        wait_for(lambda: not rig.shown(), 10, "everyone is veiled")
        before = page.evaluate(FRAMES)
        wait_for(lambda: bool(page.evaluate(FRAMES) > before + 20), 30, "frames advance")
        rig.kill("node")
        rig.start_node()
        wait_for(lambda: bool(page.evaluate(PLAYS)), 60, "video is back")
        before = page.evaluate(FRAMES)
        wait_for(lambda: bool(page.evaluate(FRAMES) > before + 20), 30, "frames advance again")
