"""The live page plays video by WebRTC in a real browser, shows its age, and falls back where it must."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from edge_node.bridge import LoopCaller
from edge_node.stream.mjpeg import MjpegSink
from edge_node.stream.state import Health, LinkState, NodeState
from edge_node.stream.web import WebPorts, WebServer
from edge_node.stream.webrtc import WebRtcSink
from tests.edge_node.stream.frames import masked
from tests.edge_node.stream.test_page import CHROMIUM, FLAGS, text_becomes

playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="Chromium is not installed")
COLOR = """() => {
  const video = document.getElementById("video");
  if (video.hidden || !video.videoWidth) return null;
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0, 1, 1);
  return Array.from(context.getImageData(0, 0, 1, 1).data.slice(0, 3));
}"""
FALLEN_BACK = """() => document.getElementById("video").hidden
  && document.getElementById("picture").naturalWidth > 0"""


class Page:
    """A node behind a page in a browser; frames are pushed at 25 a second."""

    def __init__(self, max_viewers: int = 4) -> None:
        self.mjpeg = MjpegSink()
        self.live = WebRtcSink(LoopCaller(asyncio.get_running_loop()), max_viewers)
        link = LinkState("live", "demo scene", 0.0)
        state = NodeState("door", link, link, (184.0, 236.0, 260.0), 0.0)
        ports = WebPorts(
            lambda: state, lambda: Health(True, "well"), self.mjpeg, CollectorRegistry(), self.live
        )
        self.server = WebServer(ports, "127.0.0.1", 0)
        self.color = (40, 90, 200)
        self.problems: list[str] = []

    async def push(self) -> None:
        n = 0
        while True:
            image = np.full((180, 320, 3), self.color, np.uint8)
            frame = masked(n, image, pts_s=time.monotonic(), names=("Grace",), veiled=1)
            self.mjpeg.push(frame)
            self.live.push(frame)
            n += 1
            await asyncio.sleep(0.04)


@asynccontextmanager
async def opened(page: Page, query: str = "") -> AsyncIterator[playwright.Page]:
    await page.server.start()
    pushing = asyncio.create_task(page.push())
    try:
        async with playwright.async_playwright() as driver:
            browser = await driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
            tab = await browser.new_page()
            tab.on("console", lambda m: page.problems.append(m.text))
            tab.on("pageerror", lambda e: page.problems.append(str(e)))
            await tab.goto(page.server.url + query, wait_until="commit")
            yield tab
            await browser.close()
    finally:
        pushing.cancel()
        page.live.close()
        page.mjpeg.close()
        await page.server.stop()


async def becomes(tab: playwright.Page, question: str, what: str) -> None:
    for _ in range(300):
        if await tab.evaluate(question):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"never: {what}")


async def color_becomes(tab: playwright.Page, bgr: tuple[int, int, int]) -> None:
    seen = None
    for _ in range(300):
        seen = await tab.evaluate(COLOR)
        if seen is not None and max(abs(a - b) for a, b in zip(seen, bgr[::-1], strict=True)) <= 8:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"the video is {seen}, not {bgr[::-1]}")


async def test_video_plays_in_its_true_colors_and_says_how_old_it_is() -> None:
    page = Page()
    async with opened(page) as tab:
        await color_becomes(tab, page.color)
        page.color = (200, 60, 30)
        await color_becomes(tab, page.color)
        assert page.mjpeg.viewers == 0, "one stream at a time"
        await playwright.expect(tab.locator("#glass-line")).to_be_visible(timeout=30_000)
        age_ms = int(await tab.inner_text("#glass"))
        assert 0 < age_ms < 20_000
        await text_becomes(tab, "#live", "Live, anonymized")
        assert page.problems == []


async def test_pausing_ends_the_stream_and_resuming_brings_it_back() -> None:
    page = Page()
    async with opened(page) as tab:
        await color_becomes(tab, page.color)
        await tab.click("#pause")
        await becomes(tab, FALLEN_BACK, "the picture of this moment is shown")
        for _ in range(100):
            if not page.live._peers:
                break
            await asyncio.sleep(0.1)
        assert not page.live._peers
        await tab.click("#pause")
        await color_becomes(tab, page.color)


async def test_where_no_place_is_free_pictures_are_shown() -> None:
    page = Page(max_viewers=0)
    async with opened(page) as tab:
        await becomes(tab, FALLEN_BACK, "pictures instead")
        assert page.mjpeg.viewers == 1


async def test_pictures_can_be_asked_for() -> None:
    page = Page()
    async with opened(page, "?mjpeg") as tab:
        await becomes(tab, FALLEN_BACK, "pictures instead")
        assert not page.live._peers
        assert page.problems == []


async def test_a_stream_that_was_hung_up_is_replaced_by_pictures() -> None:
    page = Page()
    async with opened(page) as tab:
        await color_becomes(tab, page.color)
        await page.live.hang_up()
        await becomes(tab, FALLEN_BACK, "pictures instead")
