"""aiortc as its webcam example uses it: what `benchmarks.glass` compares the node with. No veil.

`python -m benchmarks.glass_example URL` plays the address by `MediaPlayer` on a peer connection for each
offer, and leaves everything else at aiortc's defaults, except what a webcam would not suffer from: the
player is opened when the connection stands, and FFmpeg takes no long look at the stream. Frames that
came in between would wait, and aiortc stay that much behind for ever. No STUN server is asked: a machine
without internet would wait for it. Prints its address; ends when its input does.
"""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaPlayer

PROMPT = {"fflags": "nobuffer", "probesize": "200000", "analyzeduration": "0"}
PAGE = "<!doctype html><title>example</title><video id=video autoplay muted playsinline></video>"


class PlayedWhenWanted(MediaStreamTrack):
    """`MediaPlayer`'s video, opened when the first frame is asked for."""

    kind = "video"

    def __init__(self, source: str) -> None:
        super().__init__()
        self._source = source
        self._video: MediaStreamTrack | None = None

    async def recv(self) -> object:
        if self._video is None:
            player = await asyncio.to_thread(MediaPlayer, self._source, options=PROMPT)
            self._video = player.video
        return await self._video.recv()

    def stop(self) -> None:
        super().stop()
        if self._video is not None:
            self._video.stop()


class Example:
    """The server side."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._peers: set[RTCPeerConnection] = set()

    async def page(self, _: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def offer(self, request: web.Request) -> web.Response:
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._peers.add(peer)
        peer.addTrack(PlayedWhenWanted(self._source))
        await peer.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        return web.Response(text=peer.localDescription.sdp, content_type="application/sdp")

    async def close(self, _: web.Application) -> None:
        await asyncio.gather(*(peer.close() for peer in self._peers))


async def main() -> None:
    example = Example(sys.argv[1])
    app = web.Application()
    app.router.add_get("/", example.page)
    app.router.add_post("/offer", example.offer)
    app.on_shutdown.append(example.close)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
