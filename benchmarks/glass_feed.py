"""A camera for `benchmarks.glass`: 720p at 25 a second by HTTP MJPEG, a code of its number in every frame.

Run as a process of its own, `python -m benchmarks.glass_feed`: it prints its address, then serves until it
is ended. Frame n leaves at `start + n / FPS` on the monotonic clock, to everybody who is connected; `start`
is printed as well, so no message is needed to know when a frame was "seen by the camera".
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from aiohttp import web

from benchmarks.scenes import portraits
from edge_node.capture.scene import Scenario
from edge_node.capture.synthetic import SceneRenderer
from vision.detections import Image

FPS = 25
LOOP = 250
"""Frames are drawn once and sent over and over: a picture's age is known up to ten seconds."""
SCENE = Scenario(people=5, face_px=130.0, crossing_every_s=12.0, turning_deg=25.0)
BITS, CHECK_BITS = 8, 4
CELL_PX, STRIP_PX = 64, 32
"""The code's cells, in a strip at the lower edge: large enough for any codec."""


def check_of(number: int) -> int:
    """Four bits that tell a code from chance."""
    return (number * 7 + 3) % 16


def stamp(image: Image, number: int) -> None:
    """Draw the code of `number` into the picture: 8 bits and 4 to check, most significant first."""
    code = number << CHECK_BITS | check_of(number)
    count = BITS + CHECK_BITS
    for n in range(count):
        is_set = code >> (count - 1 - n) & 1
        image[-STRIP_PX:, n * CELL_PX : (n + 1) * CELL_PX] = 235 if is_set else 16
    image[-STRIP_PX:, count * CELL_PX :] = 16


def jpegs() -> list[bytes]:
    """The frames of the loop, there and back, so that nobody jumps where it starts over."""
    with tempfile.TemporaryDirectory() as name:
        renderer = SceneRenderer(SCENE, portraits(SCENE.people, Path(name)))
        half = [renderer.render(n)[0] for n in range(LOOP // 2 + 1)]
    coded = []
    for number, image in enumerate([*half, *half[-2:0:-1]]):
        drawn = np.ascontiguousarray(image)
        stamp(drawn, number)
        ok, jpeg = cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, 88])
        assert ok
        coded.append(jpeg.tobytes())
    return coded


class Feed:
    """The camera."""

    def __init__(self, frames: list[bytes], start: float) -> None:
        self._frames = frames
        self._start = start

    async def serve(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "multipart/x-mixed-replace;boundary=frame"})
        await response.prepare(request)
        n = int((time.monotonic() - self._start) * FPS) + 1
        await response.write(b"--frame\r\n")
        try:
            while True:
                await asyncio.sleep(max(0.0, self._start + n / FPS - time.monotonic()))
                jpeg = self._frames[n % len(self._frames)]
                head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
                await response.write(head + jpeg + b"\r\n--frame\r\n")
                n += 1
        except ConnectionError:
            return response  # the viewer has gone


async def main() -> None:
    feed = Feed(jpegs(), start := time.monotonic())
    app = web.Application()
    app.router.add_get("/feed.mjpg", feed.serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/feed.mjpg {start}", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
