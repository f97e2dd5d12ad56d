"""An IP camera: an RTSP server (RFC 2326) that plays a drawn loop in H.264 over one TCP connection. [I/O]

Stands where a camera stands for the node's own RTSP client (FFmpeg's), which knows no difference. `stop` is
the plug pulled out: every connection breaks at once, and the address answers to nobody.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress
from fractions import Fraction

import av
import numpy as np
from aiortc.codecs.h264 import H264Encoder

from edge_node.stream.rtsp_client import PAYLOAD_TYPE, description, parameter_sets
from vision.detections import Image

FPS = 10
LOOP = 20
CLOCK = 90_000
SIZE = (320, 240)


def drawn(number: int) -> Image:
    """A bar that wanders over a gray room."""
    image = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
    image[:, number * 16 : number * 16 + 16] = (40, 200, 120)
    return image


def coded() -> list[av.Packet[av.VideoStream]]:
    """The loop in Annex B; it begins with a keyframe that holds the parameter sets."""
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height = SIZE
    encoder.pix_fmt, encoder.time_base, encoder.framerate = "yuv420p", Fraction(1, FPS), Fraction(FPS)
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "profile": "baseline"}
    packets = []
    for number in range(LOOP):
        frame = av.VideoFrame.from_ndarray(drawn(number), format="bgr24")
        frame.pts = number
        packets += encoder.encode(frame)
    return [*packets, *encoder.encode(None)]


class RtspCamera:
    """`start` and `stop` may be called again and again; the address stays."""

    def __init__(self, port: int) -> None:
        self.url = f"rtsp://127.0.0.1:{port}/camera"
        self.players = 0
        """How often somebody began to play."""
        self._port = port
        self._packets = coded()
        self._sockets: list[socket.socket] = []
        self._is_on = False

    def start(self) -> None:
        listener = socket.create_server(("127.0.0.1", self._port), reuse_port=False)
        self._sockets, self._is_on = [listener], True
        threading.Thread(target=self._accept, args=(listener,), name="rtsp-camera", daemon=True).start()

    def stop(self) -> None:
        self._is_on = False
        for each in self._sockets:
            with suppress(OSError):  # the other side was faster
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self, listener: socket.socket) -> None:
        while self._is_on:
            try:
                client, _ = listener.accept()
            except OSError:
                return  # stopped
            self._sockets.append(client)
            threading.Thread(target=self._serve, args=(client,), name="rtsp-client", daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        lock = threading.Lock()
        try:
            with client, client.makefile("rb") as lines:
                while (request := lines.readline().decode().split()) and self._is_on:
                    if request[0].startswith("$"):
                        return
                    headers = {}
                    while (line := lines.readline().decode().strip()) != "":
                        name, _, value = line.partition(":")
                        headers[name.lower()] = value.strip()
                    with lock:
                        client.sendall(self._answer(request[0], headers))
                    if request[0] == "PLAY":
                        self.players += 1
                        self._play(client, lock)
        except OSError:
            return  # gone, or stopped

    def _answer(self, method: str, headers: dict[str, str]) -> bytes:
        more, body = ["Session: 4711"], ""
        if method == "OPTIONS":
            more = ["Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"]
        elif method == "DESCRIBE":
            body = description(*parameter_sets(bytes(self._packets[0])))
            more = [
                "Content-Type: application/sdp",
                f"Content-Base: {self.url}/",
                f"Content-Length: {len(body)}",
            ]
        elif method == "SETUP":
            more.append("Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
        lines = ["RTSP/1.0 200 OK", f"CSeq: {headers.get('cseq', '0')}", *more]
        return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()

    def _play(self, client: socket.socket, lock: threading.Lock) -> None:
        """Send the loop until the connection breaks."""
        packer, sequence, began = H264Encoder(), 0, time.monotonic()
        n = 0
        while self._is_on:
            packet = self._packets[n % LOOP]
            payloads, _ = packer.pack(packet)
            for k, payload in enumerate(payloads, 1):
                marker = 0x80 if k == len(payloads) else 0
                stamp = n * CLOCK // FPS
                head = struct.pack("!BBHII", 0x80, PAYLOAD_TYPE | marker, sequence & 0xFFFF, stamp, 7)
                sequence += 1
                with lock:
                    client.sendall(struct.pack("!BBH", 0x24, 0, len(head) + len(payload)) + head + payload)
            n += 1
            time.sleep(max(0.0, began + n / FPS - time.monotonic()))
