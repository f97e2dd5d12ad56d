"""The live page in a real browser: the picture moves, the words are true, names stay text."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from edge_node.frames import ReleaseReason
from edge_node.stream.mjpeg import MjpegSink
from edge_node.stream.state import Health, LinkState, NodeState
from edge_node.stream.web import WebPorts, WebServer
from tests.edge_node.stream.frames import masked

playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
CHROMIUM = Path("/usr/bin/chromium")
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="Chromium is not installed")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
PIXEL = """() => {
  const image = document.getElementById("picture");
  if (!image.naturalWidth) return -1;
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0, 1, 1);
  return context.getImageData(0, 0, 1, 1).data[0];
}"""


class Page:
    """A node behind a page in a browser."""

    def __init__(self) -> None:
        self.sink = MjpegSink()
        self.camera = LinkState("live", "demo scene", 0.0)
        self.hub = LinkState("connected", "1 person", 0.0)
        ports = WebPorts(self.state, lambda: Health(True, "well"), self.sink, CollectorRegistry())
        self.server = WebServer(ports, "127.0.0.1", 0)
        self.problems: list[str] = []

    def state(self) -> NodeState:
        return NodeState("door", self.camera, self.hub, (184.0, 236.0, 260.0), 0.0)


@asynccontextmanager
async def opened(page: Page) -> AsyncIterator[playwright.Page]:
    await page.server.start()
    try:
        async with playwright.async_playwright() as driver:
            browser = await driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
            tab = await browser.new_page()
            tab.on("console", lambda m: page.problems.append(m.text))
            tab.on("pageerror", lambda e: page.problems.append(str(e)))
            await tab.goto(page.server.url, wait_until="commit")
            yield tab
            await browser.close()
    finally:
        await page.server.stop()
        page.sink.close()


async def text_becomes(tab: playwright.Page, selector: str, text: str) -> None:
    await playwright.expect(tab.locator(selector)).to_have_text(text, timeout=10_000)


async def brightness_becomes(page: Page, tab: playwright.Page, level: int) -> None:
    """Push frames of this brightness until the browser shows one."""
    image = np.full((90, 160, 3), level, np.uint8)
    for n in range(200):
        page.sink.push(masked(n, image, pts_s=time.monotonic(), names=("<b>Grace</b>",), veiled=1))
        await asyncio.sleep(0.05)
        if abs(await tab.evaluate(PIXEL) - level) <= 3:
            return
    raise AssertionError(f"the picture never became {level}")


async def test_the_picture_moves_and_the_words_are_true() -> None:
    page = Page()
    async with opened(page) as tab:
        await brightness_becomes(page, tab, 60)
        await brightness_becomes(page, tab, 200)
        await text_becomes(tab, "#shown .chip", "<b>Grace</b>")
        await text_becomes(tab, "#veiled", "1")
        await text_becomes(tab, "#p50", "184")
        await text_becomes(tab, "#live", "Live, anonymized")
        await playwright.expect(tab.locator("#notice")).to_be_hidden()
        assert await tab.locator("#shown b").count() == 0  # a name is text, whatever it says

        page.hub = LinkState("lost", "no heartbeat", 0.0)
        page.sink.push(masked(900, pts_s=time.monotonic()))
        words = "The hub cannot be reached: nobody can be recognized, so everyone is veiled."
        await text_becomes(tab, "#notice", words)
        assert page.problems == []


async def test_a_lost_camera_and_a_lost_node_are_said() -> None:
    page = Page()
    async with opened(page) as tab:
        page.camera = LinkState("lost", "/dev/video0 gives no picture: is it unplugged?", 0.0)
        page.sink.push(masked(1, reason=ReleaseReason.NO_SOURCE))
        await text_becomes(tab, "#camera", "lost, trying again")
        await text_becomes(
            tab, "#notice", "Camera lost, trying again. /dev/video0 gives no picture: is it unplugged?"
        )
        await text_becomes(tab, "#veiled", "All")
        await text_becomes(tab, "#live", "No live picture")
        await page.server.stop()
        await text_becomes(tab, "#live", "No connection to this node")
        await text_becomes(tab, "#camera", "unknown")


async def test_a_paused_page_asks_for_no_stream() -> None:
    page = Page()
    async with opened(page) as tab:
        await brightness_becomes(page, tab, 60)
        await tab.click("#pause")
        await text_becomes(tab, "#live", "Paused")
        for _ in range(100):
            if not page.sink.viewers:
                break
            page.sink.push(masked(1))
            await asyncio.sleep(0.05)
        assert page.sink.viewers == 0
        await tab.click("#pause")
        await brightness_becomes(page, tab, 200)
