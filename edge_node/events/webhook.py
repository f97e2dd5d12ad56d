"""Notices to an address of the operator's, by HTTP POST, signed. [I/O]

Owns the HTTP session, the signature and the retries. Follows no redirect, and says in a log line what is
wrong once, without the address's path and query (they often are the secret).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import random
import time
from collections.abc import Callable

import aiohttp

from edge_node.capture.source import label_of
from edge_node.events.notices import Notice
from edge_node.events.outbox import Outbox
from protocol.backoff import backoff_s

log = logging.getLogger(__name__)

TIMEOUT_S = 10.0
LONGEST_PAUSE_S = 60.0
MAX_ATTEMPTS = 12
"""About eight minutes on average. Then the notice goes: the ones behind it are newer."""
AGAIN = (408, 425, 429)
"""Answers in 400..499 after which the same request may succeed later."""


def signature(secret: bytes, at: int, body: bytes) -> str:
    """`t=<seconds since 1970>,v1=<hex>`: HMAC-SHA256 of "<t>." and the body, as many services do it."""
    digest = hmac.new(secret, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


class Webhook:
    """Sends what lies in `outbox`, one after another. `secret` b"": unsigned."""

    def __init__(
        self,
        url: str,
        secret: bytes,
        with_names: bool,
        outbox: Outbox,
        *,
        first_pause_s: float = 1.0,
        roll: Callable[[], float] = random.random,
    ) -> None:
        self._url = url
        self._secret = secret
        self._with_names = with_names
        self.outbox = outbox
        self._first_pause_s = first_pause_s
        self._roll = roll
        self._told = ""
        scheme, _, rest = label_of(url).partition("://")
        self.label = f"{scheme}://{rest.partition('/')[0]}"

    async def run(self) -> None:
        """Until cancelled."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                notice = await self.outbox.first()
                await self._deliver(session, notice)

    async def _deliver(self, session: aiohttp.ClientSession, notice: Notice) -> None:
        for attempt in range(MAX_ATTEMPTS):
            trouble, is_final = await self._post(session, notice)
            if not trouble:
                self.outbox.done(notice)
                if self._told:
                    log.info("notices reach %s again", self.label)
                self._told = ""
                return
            if trouble != self._told:
                log.warning("notices do not reach %s: %s", self.label, trouble)
                self._told = trouble
            if is_final:
                break
            roll = 0.5 + 0.5 * self._roll()
            await asyncio.sleep(backoff_s(attempt, roll, self._first_pause_s, LONGEST_PAUSE_S))
        self.outbox.give_up(notice)

    async def _post(self, session: aiohttp.ClientSession, notice: Notice) -> tuple[str, bool]:
        """What went wrong ("" nothing), and whether it would again."""
        body = notice.as_json(self._with_names)
        headers = {"Content-Type": "application/json", "X-Veilcast-Id": notice.id}
        if self._secret:
            headers["X-Veilcast-Signature"] = signature(self._secret, int(time.time()), body)
        try:
            async with session.post(self._url, data=body, headers=headers, allow_redirects=False) as answer:
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            # The text of these errors may hold the address; the kind says enough.
            return f"no answer ({type(exc).__name__})", False
        if 200 <= status < 300:
            return "", False
        return f"it answers {status}", 300 <= status < 500 and status not in AGAIN
