"""The node's web server: live page, stream, snapshot, state, health and metrics. [I/O]

Owns addresses, headers and who may connect: other addresses than loopback only with TLS and tickets
(`stream.guard`). Serves masked frames alone, since it has nothing else. Runs inside the event loop of
`edge_node.node`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from edge_node.bridge import LoopCaller
from edge_node.stream.errors import WebError
from edge_node.stream.guard import Guard, may_see_names
from edge_node.stream.mjpeg import MjpegSink, StreamCollector, ViewersFull, encode
from edge_node.stream.state import Health, NodeState, state_json
from edge_node.stream.webrtc import WebRtcCollector, WebRtcSink
from edge_node.stream.webrtc_whep import WhepRoutes
from protocol.hosts import host_name, is_loopback
from protocol.live_video import live_video_script

MAX_EVENT_READERS = 64
"""Open pages: each holds a connection and gets a few hundred bytes a second."""
EVENT_EVERY_S = 1.0
SLOW_VIEWER_S = 15.0
"""A browser that takes no bytes for this long is gone; it comes back on its own where it is not."""
SEND_BUFFER_BYTES = 128 * 1024
"""About one frame. What waits in the kernel for a slow viewer is old; newer frames replace it here."""
IDLE_CHECK_S = 5.0
MAX_BODY_BYTES = 1024
"""Nothing is uploaded."""
BOUNDARY = "veilcast-frame"
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Server": "veilcast",
}
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" '
    'fill="#2f6f6a"/><circle cx="16" cy="13" r="6" fill="#fff"/><path d="M5 29c1-8 6-11 11-11s10 3 11 '
    '11z" fill="#fff"/><rect x="5" y="9" width="22" height="7" rx="3.5" fill="#2f6f6a" opacity=".82"/></svg>'
)
_FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class WebPorts:
    """What the server shows. Both functions are called on the event loop and return at once."""

    state: Callable[[], NodeState]
    health: Callable[[], Health]
    mjpeg: MjpegSink
    registry: CollectorRegistry
    webrtc: WebRtcSink | None = None
    """None: the page shows MJPEG."""


class Viewer:
    """One browser's place for the newest picture; an older one that it did not take is dropped."""

    def __init__(self, on_drop: Callable[[], None]) -> None:
        self._on_drop = on_drop
        self._newest: bytes | None = None
        self._has_news = asyncio.Event()

    def offer(self, jpeg: bytes) -> None:
        if self._newest is not None:
            self._on_drop()
        self._newest = jpeg
        self._has_news.set()

    def wake(self) -> None:
        """Let `take` return now, with nothing where nothing is there."""
        self._has_news.set()

    async def take(self, timeout_s: float) -> bytes | None:
        """The newest picture, or None where none came in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._has_news.wait()
        except TimeoutError:
            return None
        self._has_news.clear()
        jpeg, self._newest = self._newest, None
        return jpeg


class _Pages:
    """The handlers of one application."""

    def __init__(self, ports: WebPorts, now: Callable[[], float]) -> None:
        self._ports = ports
        self._now = now
        self._stopping = asyncio.Event()
        self._event_readers = 0
        self._viewers: set[Viewer] = set()
        folder = Path(__file__).parent
        self._files = {
            url: ((folder / name).read_text("utf-8"), kind) for url, (name, kind) in _FILES.items()
        }
        self._files["/live_video.js"] = (live_video_script(), "text/javascript")
        self._files["/icon.svg"] = (ICON, "image/svg+xml")
        if ports.webrtc is None:  # the page need not try what is not there
            html, kind = self._files["/"]
            self._files["/"] = (html.replace('data-live="webrtc"', 'data-live="mjpeg"'), kind)

    def routes(self) -> list[web.RouteDef]:
        return [
            *(web.get(url, self._file) for url in self._files),
            web.get("/stream.mjpg", self._stream),
            web.get("/snapshot.jpg", self._snapshot),
            web.get("/state", self._state),
            web.get("/events", self._events),
            web.get("/healthz", self._healthz),
            web.get("/metrics", self._metrics),
        ]

    async def stop(self, _: web.Application) -> None:
        """Let go of streams and events, which would go on for ever."""
        self._stopping.set()
        for viewer in self._viewers:
            viewer.wake()

    async def _file(self, request: web.Request) -> web.Response:
        text, kind = self._files[request.path]
        return web.Response(text=text, content_type=kind, charset="utf-8")

    async def _snapshot(self, _: web.Request) -> web.Response:
        frame = self._ports.mjpeg.newest
        if frame is None:
            return web.Response(status=503, text="There is no picture yet.")
        jpeg = await asyncio.to_thread(encode, frame, 92)
        # The number of the frame, so that a reader can tell two pictures apart and match one.
        return web.Response(body=jpeg, content_type="image/jpeg", headers={"X-Frame-Seq": str(frame.seq)})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        mjpeg = self._ports.mjpeg
        viewer = Viewer(mjpeg.count_dropped)
        caller = LoopCaller(asyncio.get_running_loop())
        try:
            subscription = mjpeg.subscribe(lambda jpeg: caller.call(viewer.offer, jpeg))
        except ViewersFull as exc:
            return web.Response(status=503, text=f"{exc}.", headers={"Retry-After": "10"})
        self._viewers.add(viewer)
        try:
            response = web.StreamResponse()
            response.content_type = f"multipart/x-mixed-replace;boundary={BOUNDARY}"
            await response.prepare(request)
            _keep_send_buffer_small(request)
            await self._send_pictures(request, response, viewer)
            return response
        finally:
            self._viewers.discard(viewer)
            subscription.close()

    async def _send_pictures(
        self, request: web.Request, response: web.StreamResponse, viewer: Viewer
    ) -> None:
        # The boundary follows each picture at once: browsers show a part when they see its end.
        start = f"--{BOUNDARY}\r\n".encode()
        try:
            while not self._stopping.is_set() and request.transport is not None:
                jpeg = await viewer.take(IDLE_CHECK_S)
                if jpeg is None:
                    continue
                head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
                part = b"".join((start, head, jpeg, f"\r\n--{BOUNDARY}\r\n".encode()))
                start = b""
                async with asyncio.timeout(SLOW_VIEWER_S):
                    await response.write(part)
        except (ConnectionError, TimeoutError):
            if request.transport is not None:
                request.transport.abort()

    async def _state(self, request: web.Request) -> web.Response:
        return web.json_response(self._state_now(with_names=may_see_names(request)))

    def _state_now(self, *, with_names: bool) -> dict[str, object]:
        mjpeg, webrtc = self._ports.mjpeg, self._ports.webrtc
        viewers = mjpeg.viewers + (0 if webrtc is None else webrtc.viewers)
        return state_json(self._ports.state(), mjpeg.newest, viewers, self._now(), with_names=with_names)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if self._event_readers >= MAX_EVENT_READERS:
            return web.Response(status=503, text="Too many pages are open.", headers={"Retry-After": "10"})
        self._event_readers += 1
        try:
            response = web.StreamResponse()
            response.content_type = "text/event-stream"
            await response.prepare(request)
            with_names = may_see_names(request)
            while not self._stopping.is_set() and request.transport is not None:
                event = f"retry: 1000\ndata: {json.dumps(self._state_now(with_names=with_names))}\n\n"
                async with asyncio.timeout(SLOW_VIEWER_S):
                    await response.write(event.encode())
                await self._pause(EVENT_EVERY_S)
        except (ConnectionError, TimeoutError):
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._event_readers -= 1
        return response

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def _healthz(self, _: web.Request) -> web.Response:
        health = self._ports.health()
        body = {"status": "ok" if health.is_well else "unwell", "reason": health.reason}
        return web.json_response(body, status=200 if health.is_well else 503)

    async def _metrics(self, _: web.Request) -> web.Response:
        body = generate_latest(self._ports.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


def build_app(
    ports: WebPorts,
    *,
    loopback_only: bool = True,
    now: Callable[[], float] = time.monotonic,
    media_addresses: Sequence[str] = (),
    guard: Guard | None = None,
) -> web.Application:
    """The application; with a `guard` for browsers with tickets only. With `loopback_only` it answers only to
    a loopback name in the Host header, so that no other site can reach it through a name of its own (DNS
    rebinding). Live video goes over `media_addresses` of this machine, all of them if empty."""
    pages = _Pages(ports, now)
    ports.registry.register(StreamCollector(ports.mjpeg))
    middlewares: list[Any] = [_loopback_names_only] if loopback_only else []
    middlewares += guard.middlewares() if guard is not None else []
    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=middlewares)
    app.add_routes(pages.routes())
    app.on_response_prepare.append(_add_headers)
    if guard is not None:
        app.on_response_prepare.append(guard.share)
    app.on_shutdown.append(pages.stop)
    if ports.webrtc is not None:
        ports.registry.register(WebRtcCollector(ports.webrtc))
        whep = WhepRoutes(ports.webrtc, media_addresses, time.time if guard is None else guard.wall)
        app.add_routes(whep.routes())
        app.on_shutdown.append(whep.stop)
    return app


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


@web.middleware
async def _loopback_names_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    if not is_loopback(host_name(request.host)):
        return web.Response(status=403, text="This page answers to the name localhost only.")
    return await handler(request)


def media_addresses(host: str) -> list[str]:
    """Where live video is sent from when the page is served on `host`: nowhere that the page is not."""
    if host.lower() == "localhost":
        return ["127.0.0.1"]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return []
    return [] if address.is_unspecified else [str(address)]


def _is_any(host: str) -> bool:
    """Every address of the machine."""
    try:
        return not host or ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _keep_send_buffer_small(request: web.Request) -> None:
    transport = request.transport
    raw = None if transport is None else transport.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)


def tls_context(host: str, cert: str, key: str) -> ssl.SSLContext | None:
    """TLS for this address; None on loopback where no certificate is given. Raises WebError."""
    if not cert and not key:
        if is_loopback(host):
            return None
        raise WebError(
            f"the live page is not served on {host or 'all addresses'} without TLS: "
            'set web.tls_cert and web.tls_key, or use web.host = "127.0.0.1"'
        )
    if not cert or not key:
        raise WebError("TLS needs both web.tls_cert and web.tls_key")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    for path in (cert, key):
        if not Path(path).is_file():
            raise WebError(f"there is no file {path}, named by web.tls_cert or web.tls_key")
    try:
        context.load_cert_chain(cert, key, password="")
    except (ssl.SSLError, OSError) as exc:
        raise WebError(f"{cert} and {key} are no certificate and its key, in PEM without password") from exc
    return context


class WebServer:
    """Serves an application inside a running event loop. Raises WebError where it may not or cannot."""

    def __init__(
        self,
        ports: WebPorts,
        host: str,
        port: int,
        tls_cert: str = "",
        tls_key: str = "",
        guard: Guard | None = None,
    ) -> None:
        self._tls = tls_context(host, tls_cert, tls_key)
        if guard is None and not is_loopback(host):
            raise WebError(
                f"the live page is not served on {host or 'all addresses'} to whoever asks: "
                'set web.ticket_key, so that it needs a ticket of the hub, or use web.host = "127.0.0.1"'
            )
        self._guard = guard
        self._host, self._port = host, port
        self._app_ports = ports
        self._runner: web.AppRunner | None = None
        self.url = ""
        """Where the page is, once started."""
        self.public_url = ""
        """The same for other machines: with this machine's name where the page is on every address."""

    async def start(self) -> None:
        app = build_app(
            self._app_ports,
            loopback_only=is_loopback(self._host),
            media_addresses=media_addresses(self._host),
            guard=self._guard,
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host or None, self._port, ssl_context=self._tls).start()
        except (OSError, OverflowError) as exc:
            await runner.cleanup()
            reason = getattr(exc, "strerror", None) or str(exc)
            raise WebError(
                f"the live page cannot be served on {self._host}:{self._port} ({reason}): "
                "choose another web.port or web.host"
            ) from exc
        self._runner = runner
        port = runner.addresses[0][1]
        name = f"[{self._host}]" if ":" in self._host else self._host
        scheme = "https" if self._tls else "http"
        self.url = f"{scheme}://{name}:{port}/"
        self.public_url = f"{scheme}://{socket.gethostname()}:{port}/" if _is_any(self._host) else self.url

    async def stop(self) -> None:
        """Close every connection and free the address. May be called twice."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
