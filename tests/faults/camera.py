"""A network camera that can die and come back: the clip as Motion JPEG over http.

Owns its port and its threads. Called by `tests.faults.real`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2

from tests.faults.footage import FPS, LENGTH, Footage

BOUNDARY = b"picture"
QUALITY = 95


class MjpegCamera:
    """Serves the clip from its start to everyone who asks, at its rate, while it lives."""

    def __init__(self, footage: Footage, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/video.mjpg"
        self._footage = footage
        self._port = port
        self._drawing = threading.Lock()
        self._dead = threading.Event()
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        """Answer from now on."""
        dead = self._dead = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY.decode()}")
                self.end_headers()
                with contextlib.suppress(ConnectionError):
                    camera.send(self.wfile.write, dead)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
                """Nothing: the test speaks for itself."""

        camera = self
        server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), name="camera", daemon=True).start()
        self._server = server

    def stop(self) -> None:
        """Break off every stream and refuse connections. May be called twice."""
        self._dead.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def send(self, write: Callable[[bytes], object], dead: threading.Event) -> None:
        """One viewer's stream, until the camera dies."""
        begun = time.monotonic()
        n = 0
        while not dead.wait(max(0.0, begun + n / FPS - time.monotonic())):
            with self._drawing:
                image, _ = self._footage.frame(n % LENGTH)
            ok, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            assert ok
            head = b"--%s\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % (BOUNDARY, len(jpeg))
            write(head + jpeg.tobytes() + b"\r\n")
            n += 1
