"""From the camera to the screen: a code drawn into each frame, read back from Chromium's video element.

A camera by HTTP MJPEG (`glass_feed`, five faces) feeds the node, with masking on, and aiortc as its webcam
example uses it (`glass_example`), in turns. The age of a picture is the time at which the browser puts it
on the screen less the time at which the camera sent it, both on the system's monotonic clock. What a
viewer costs is measured apart (`glass_viewers`).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.glass_feed import BITS, CELL_PX, CHECK_BITS, FPS, LOOP, STRIP_PX, check_of
from benchmarks.interval import median_95, slope_95
from benchmarks.overload import by_second
from tests.e2e.rig import Rig

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking",
         "--autoplay-policy=no-user-gesture-required"]  # fmt: skip
TURNS, QUICK_TURNS = 5, 1
TURN_S, QUICK_TURN_S = 15.0, 6.0
SETTLE_S, QUICK_SETTLE_S = 6.0, 3.0
DRIFT_S = 600.0
VIEWERS, QUICK_VIEWERS = (1, 5, 20), (1, 5)
VIEWERS_S, QUICK_VIEWERS_S = 10.0, 4.0
VIEWPORT = {"width": 640, "height": 450}
"""Small: what draws the page shares the cores with the node, and is not what is measured."""
CLOCK_SAMPLES = 40
WAIT_MS = 60_000
READER = """([cells, cellPx, stripPx]) => {
  const video = document.getElementById("video");
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [8 * cells, 1];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  window.seen = [];
  const read = (now, frame) => {
    const h = video.videoHeight;
    const scale = h / 720;
    // The middle row of the strip, drawn once: the canvas then holds a pixel of it for each cell's eighth.
    context.drawImage(video, 0, h - 0.75 * stripPx * scale, cells * cellPx * scale, 0.5 * stripPx * scale,
      0, 0, 8 * cells, 1);
    const pixels = context.getImageData(0, 0, 8 * cells, 1).data;
    let code = 0;
    for (let n = 0; n < cells; n++) code = (code << 1) | (pixels[4 * (8 * n + 4) + 1] > 126 ? 1 : 0);
    window.seen.push([code, Math.max(now, frame.expectedDisplayTime)]);
    video.requestVideoFrameCallback(read);
  };
  video.requestVideoFrameCallback(read);
}"""
ASK_EXAMPLE = """async () => {
  const peer = window.peer = new RTCPeerConnection();
  peer.addEventListener("track", (e) => { document.getElementById("video").srcObject = e.streams[0]; });
  peer.addTransceiver("video", { direction: "recvonly" });
  await peer.setLocalDescription(await peer.createOffer());
  while (peer.iceGatheringState !== "complete") await new Promise((done) => setTimeout(done, 10));
  const answer = await fetch("/offer", { method: "POST", body: peer.localDescription.sdp });
  await peer.setRemoteDescription({ type: "answer", sdp: await answer.text() });
}"""
PLAYS = "() => document.getElementById('video').videoWidth > 0"


@dataclass(frozen=True, slots=True)
class Turn:
    """One stretch of one stream."""

    at_s: NDArray[np.float64]
    """(N,) monotonic seconds at which pictures appeared."""
    ages_ms: NDArray[np.float64]
    """(N,) of the same pictures."""
    unread: int
    """Pictures whose code could not be read: those that left veiled in full."""

    @property
    def fps(self) -> float:
        return float((len(self.at_s) - 1) / (self.at_s[-1] - self.at_s[0])) if len(self.at_s) > 1 else 0.0


@dataclass(frozen=True, slots=True)
class Camera:
    """The feed's address and the time of its frame 0."""

    url: str
    start: float


def measure(quick: bool = False) -> dict[str, Any]:
    """Keys as documented in docs/performance.md. Raises RuntimeError where a part does not run."""
    turns = QUICK_TURNS if quick else TURNS
    seconds = QUICK_TURN_S if quick else TURN_S
    settle_s = QUICK_SETTLE_S if quick else SETTLE_S
    ours: list[Turn] = []
    example: list[Turn] = []
    with running("benchmarks.glass_feed") as (_, line):
        camera = Camera(line.split()[0], float(line.split()[1]))
        for _ in range(turns):
            ours.append(node_turn(camera, settle_s, seconds))
            example.append(example_turn(camera, settle_s, seconds))
        drift = None if quick else drift_ms_per_min(node_turn(camera, settle_s, DRIFT_S))
    ages = np.concatenate([turn.ages_ms for turn in ours])
    theirs = np.concatenate([turn.ages_ms for turn in example])
    pairs = [float(np.median(a.ages_ms) / np.median(b.ages_ms)) for a, b in zip(ours, example, strict=True)]
    ratio, low, high = median_95(pairs)
    unread = sum(turn.unread for turn in ours)
    return {
        "p50_ms": round(float(np.percentile(ages, 50)), 1),
        "p95_ms": round(float(np.percentile(ages, 95)), 1),
        "fps": round(float(np.median([turn.fps for turn in ours])), 1),
        "vs_aiortc_example": round(ratio, 3),
        "vs_aiortc_example_lo": round(low, 3),
        "vs_aiortc_example_hi": round(high, 3),
        "aiortc_example_p50_ms": round(float(np.percentile(theirs, 50)), 1),
        "aiortc_example_p95_ms": round(float(np.percentile(theirs, 95)), 1),
        "drift_ms_per_min": drift,
        "cpu_per_viewer": cpu_per_viewer(quick),
        "veiled_share": round(unread / max(1, unread + len(ages)), 4),
        "turns": turns,
    }


def drift_ms_per_min(turn: Turn) -> float:
    """By how much pictures get older each minute."""
    at, medians = by_second(turn.at_s - turn.at_s[0], turn.ages_ms)
    return round(slope_95(at / 60, medians)[0], 3)


# --- latency ------------------------------------------------------------------------------------


def node_turn(camera: Camera, settle_s: float, seconds: float) -> Turn:
    """The node's own page, with everyone veiled: without a hub nobody may be shown."""
    with tempfile.TemporaryDirectory() as name:
        rig = Rig(Path(name))
        try:
            rig.start_node("--source", camera.url)
            with page_of(rig.url) as page:
                return watch(page, camera, settle_s, seconds)
        finally:
            rig.stop()


def example_turn(camera: Camera, settle_s: float, seconds: float) -> Turn:
    with running("benchmarks.glass_example", camera.url) as (_, url), page_of(url) as page:
        page.evaluate(ASK_EXAMPLE)
        return watch(page, camera, settle_s, seconds)


def watch(page: Any, camera: Camera, settle_s: float, seconds: float) -> Turn:
    """Read the codes that the browser shows for some time."""
    page.wait_for_function(PLAYS, timeout=WAIT_MS)
    page.wait_for_timeout(1000 * settle_s)
    page.evaluate(READER, [BITS + CHECK_BITS, CELL_PX, STRIP_PX])
    page.wait_for_timeout(1000 * seconds)
    seen = page.evaluate("() => window.seen")
    if len(seen) < 2:
        raise RuntimeError("the browser shows no moving picture")
    return aged(np.array(seen, np.float64), clock_offset_s(page), camera.start)


def aged(seen: NDArray[np.float64], offset_s: float, start: float) -> Turn:
    """What was seen, (N, 2) codes and milliseconds of the page's clock, as ages. `offset_s` is what is added
    to the page's clock to get the monotonic one; `start` is the camera's time of frame 0."""
    codes = seen[:, 0].astype(int)
    numbers = codes >> CHECK_BITS
    valid = (codes % 2**CHECK_BITS == [check_of(n) for n in numbers]) & (numbers < LOOP)
    at = seen[valid, 1] / 1000 + offset_s
    # The loop is longer than any age, so the number tells the frame: the newest that had been sent by then.
    passed = (at - start) * FPS
    ages = (passed - numbers[valid]) % LOOP / FPS
    return Turn(at, 1000 * ages, int(np.count_nonzero(~valid)))


def clock_offset_s(page: Any) -> float:
    """Monotonic seconds less the page's clock: from the quickest of some questions."""
    best = (float("inf"), 0.0)
    for _ in range(CLOCK_SAMPLES):
        before = time.monotonic()
        page_ms = page.evaluate("() => performance.now()")
        after = time.monotonic()
        best = min(best, (after - before, (before + after) / 2 - page_ms / 1000))
    return best[1]


@contextmanager
def page_of(url: str) -> Iterator[Any]:
    """The address in a new Chromium."""
    from playwright.sync_api import sync_playwright

    if not CHROMIUM.exists():
        raise RuntimeError(f"this needs {CHROMIUM}: apt-get install chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        try:
            page = browser.new_page(viewport=VIEWPORT)
            page.goto(url, wait_until="commit")
            yield page
        finally:
            browser.close()


# --- cost ---------------------------------------------------------------------------------------


def cpu_per_viewer(quick: bool) -> float:
    """Percent of a core that each further viewer costs the node: the slope over their number.

    Reckoned by frame and then for 25 a second, so that a machine with other work, where some frames are
    not sent, does not look cheaper.
    """
    counts = QUICK_VIEWERS if quick else VIEWERS
    seconds = QUICK_VIEWERS_S if quick else VIEWERS_S
    points = []
    with running("benchmarks.glass_viewers", "serve") as (server, url):
        for _ in range(1 if quick else 3):
            for count in counts:
                with running("benchmarks.glass_viewers", "watch", url, str(count)):
                    time.sleep(1.0)
                    before, first = cpu_s(server), frames_sent(url, count)
                    time.sleep(seconds)
                    used, sent = cpu_s(server) - before, frames_sent(url, count) - first
                if sent < FPS:
                    raise RuntimeError("the machine is too busy: less than a second's frames were sent")
                points.append((count, 100 * FPS * used / sent))
    x, y = np.array(points).T
    return round(slope_95(x, y)[0], 2)


def frames_sent(url: str, viewers: int) -> float:
    """Frames coded so far. Raises RuntimeError where not every viewer gets them."""
    with urllib.request.urlopen(url + "metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    if float(values["veilcast_live_viewers"]) != viewers:
        raise RuntimeError(f"{values['veilcast_live_viewers']} of {viewers} viewers are connected")
    return float(values["veilcast_live_frames_encoded_total"])


def cpu_s(process: subprocess.Popen[str]) -> float:
    """Processor seconds of a process so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


@contextmanager
def running(module: str, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A module of ours as a process, and its first line. It ends when its input is closed."""
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            line = process.stdout.readline().strip()
            if not line:
                raise RuntimeError(f"{module} ended before it was ready")
            yield process, line
        finally:
            process.stdin.close()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
