"""The anonymized stream to a media server by WHIP (RFC 9725): WebRTC that we call. [I/O]

Owns the HTTP side, the session's address and the retries. The connection is a `Peer` like a browser's,
and gets the same coded frames. Runs inside the event loop. Follows no redirect, and gives its token to
nobody but the server that it is meant for.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urljoin, urlsplit

import aiohttp

from edge_node.capture.source import label_of
from edge_node.stream.publish import KEYFRAME_EVERY_S, LONGEST_PAUSE_S, STEADY_S
from edge_node.stream.rtsp_client import PublishTrouble
from edge_node.stream.webrtc import WebRtcSink
from edge_node.stream.webrtc_peer import OfferRefused, Peer
from protocol.backoff import backoff_s

log = logging.getLogger(__name__)

TIMEOUT_S = 10.0
LOOK_S = 0.25
MAX_ANSWER_BYTES = 64 * 1024
"""An answer is 2 KB."""
LOOPBACK = ("localhost", "127.0.0.1")


class WhipPublisher:
    """`run` keeps a session up until cancelled. `authorization` is the header's value, "" for none."""

    def __init__(
        self,
        url: str,
        authorization: str,
        max_bps: float,
        live: WebRtcSink,
        *,
        first_pause_s: float = 1.0,
        roll: Callable[[], float] = random.random,
    ) -> None:
        self.label = label_of(url)
        self._url = url
        self._authorization = authorization
        self._max_bps = max_bps
        self._live = live
        self._first_pause_s = first_pause_s
        self._roll = roll
        self._session_url = ""
        self._told = ""
        self._peer: Peer | None = None
        self.connects = 0

    @property
    def is_connected(self) -> bool:
        return self._peer is not None and self._peer.is_watching

    async def run(self) -> None:
        """Until cancelled; then the server is told."""
        attempt = 0
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            while True:
                began = time.monotonic()
                try:
                    await self._publish(http)
                    self._tell("the connection has ended")
                except (PublishTrouble, OfferRefused) as exc:
                    self._tell(str(exc))
                finally:
                    await self._hang_up(http)
                attempt = 1 if time.monotonic() - began >= STEADY_S else attempt + 1
                roll = 0.5 + 0.5 * self._roll()
                await asyncio.sleep(backoff_s(attempt - 1, roll, self._first_pause_s, LONGEST_PAUSE_S))

    async def _publish(self, http: aiohttp.ClientSession) -> None:
        """One session, to its end. Raises PublishTrouble and OfferRefused."""
        closed = asyncio.Event()
        host = urlsplit(self._url).hostname
        # Loopback is left out of the candidates otherwise.
        addresses = ["127.0.0.1"] if host in LOOPBACK else []
        self._peer = await self._live.invite(
            lambda offer: self._ask(http, offer), addresses, closed.set, self._max_bps
        )
        was_watching, wished_at = False, 0.0
        while not closed.is_set():
            if self._peer.is_watching and not was_watching:
                was_watching = True
                self.connects += 1
                self._told = ""
                log.info("publishing to %s", self.label)
            if time.monotonic() - wished_at >= KEYFRAME_EVERY_S:
                wished_at = time.monotonic()
                self._live.wish_keyframe(self._peer.codec)
            with suppress(TimeoutError):
                await asyncio.wait_for(closed.wait(), LOOK_S)

    async def _ask(self, http: aiohttp.ClientSession, offer: str) -> str:
        """The server's answer to our offer."""
        headers = {"Content-Type": "application/sdp", **self._access()}
        try:
            async with http.post(self._url, data=offer, headers=headers, allow_redirects=False) as answer:
                if answer.status != 201:
                    raise PublishTrouble(_refusal(answer.status))
                self._session_url = self._session_address(answer.headers.get("Location", ""))
                return (await _body(answer)).decode(errors="replace")
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            raise PublishTrouble(f"no answer ({type(exc).__name__})") from None

    def _session_address(self, location: str) -> str:
        """Where the session is ended; "" where that is another server, which must not get our token."""
        if not location:
            return ""
        address = urljoin(self._url, location)
        ours, theirs = urlsplit(self._url), urlsplit(address)
        return address if (ours.scheme, ours.netloc) == (theirs.scheme, theirs.netloc) else ""

    async def _hang_up(self, http: aiohttp.ClientSession) -> None:
        peer, self._peer = self._peer, None
        if peer is not None:
            await peer.close()
        address, self._session_url = self._session_url, ""
        if not address:
            return
        try:
            async with http.delete(address, headers=self._access(), allow_redirects=False):
                pass
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            log.debug("the session could not be ended (%s)", type(exc).__name__)

    def _access(self) -> dict[str, str]:
        return {"Authorization": self._authorization} if self._authorization else {}

    def _tell(self, trouble: str) -> None:
        if trouble != self._told:
            log.warning("%s does not take the stream: %s", self.label, trouble)
            self._told = trouble


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    """All of it. Raises PublishTrouble above MAX_ANSWER_BYTES, however it arrives in pieces."""
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) > MAX_ANSWER_BYTES:
            raise PublishTrouble("its answer is too long")
    return bytes(body)


def _refusal(status: int) -> str:
    if status in (401, 403):
        return f"it answers {status}: check publish.user and publish.secret_file"
    return f"it answers {status}"
