"""The two halves of the cost of a viewer, for `benchmarks.glass`: a node's sending part, and viewers.

`serve` is the node's web server and WebRTC sink, fed with 720p at 25 a second and nothing else, so that its
processor time is that of sending. `watch URL N` is N viewers in one process that take packets, answer as
a browser does, and decode nothing. Both print a line when they are ready and end when their input does.
"""

from __future__ import annotations

import asyncio
import sys
import time

import aiohttp
import aiortc.rtcrtpreceiver
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from prometheus_client import CollectorRegistry

from edge_node.bridge import LoopCaller
from edge_node.capture.portraits import demo_portraits
from edge_node.capture.scene import Scenario
from edge_node.capture.synthetic import SceneRenderer
from edge_node.frames import MaskedFrame, ReleaseReason
from edge_node.stream.mjpeg import MjpegSink
from edge_node.stream.state import Health, LinkState, NodeState
from edge_node.stream.web import WebPorts, WebServer
from edge_node.stream.webrtc import WebRtcSink

FPS = 25
FRAMES = 50
CONNECT_S = 60.0


class NoDecoder:
    """Takes the place of aiortc's: decoding twenty streams would leave nothing to measure."""

    def decode(self, encoded_frame: object) -> list[object]:
        return []


async def serve() -> None:
    live, mjpeg = WebRtcSink(LoopCaller(asyncio.get_running_loop())), MjpegSink()
    link = LinkState("live", "drawn", 0.0)
    state = NodeState("glass", link, link, (0.0, 0.0, 0.0), 0.0)
    ports = WebPorts(lambda: state, lambda: Health(True, "well"), mjpeg, CollectorRegistry(), live)
    server = WebServer(ports, "127.0.0.1", 0)
    renderer = SceneRenderer(Scenario(people=2), demo_portraits())
    half = [np.ascontiguousarray(renderer.render(n)[0]) for n in range(FRAMES)]
    images = [*half, *half[-2:0:-1]]
    await server.start()
    print(server.url, flush=True)
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    start, n = time.monotonic(), 0
    while not ended.done():
        await asyncio.sleep(max(0.0, start + n / FPS - time.monotonic()))
        now = time.monotonic()
        live.push(MaskedFrame(n, now, n / FPS, images[n % len(images)], ReleaseReason.COVERED))
        n += 1
    live.close()
    mjpeg.close()
    await server.stop()


async def watch(url: str, count: int) -> None:
    vars(aiortc.rtcrtpreceiver)["get_decoder"] = lambda codec: NoDecoder()
    peers = []
    async with aiohttp.ClientSession() as client:
        for _ in range(count):
            peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
            peer.addTransceiver("video", direction="recvonly")
            await peer.setLocalDescription(await peer.createOffer())
            kind = {"Content-Type": "application/sdp"}
            async with client.post(url + "whep", data=peer.localDescription.sdp, headers=kind) as response:
                assert response.status == 201, await response.text()
                await peer.setRemoteDescription(RTCSessionDescription(await response.text(), "answer"))
            peers.append(peer)
        async with asyncio.timeout(CONNECT_S):
            while not all(peer.connectionState == "connected" for peer in peers):  # noqa: ASYNC110 - several
                await asyncio.sleep(0.1)
        print("watching", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        await asyncio.gather(*(peer.close() for peer in peers))


if __name__ == "__main__":
    asyncio.run(serve() if sys.argv[1] == "serve" else watch(sys.argv[2], int(sys.argv[3])))
