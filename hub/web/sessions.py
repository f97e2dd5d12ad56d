"""What a browser holds of its session: the names and flags of its cookies, and the token against forgery.

Pure. The session itself is kept by `hub.web.users`, as a digest of the cookie's 256 random bits.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass

from aiohttp import web

DEVICE_S = 180 * 86_400
"""How long a browser is remembered to have signed in."""
MAX_COOKIE_CHARS = 128
"""Ours have 43."""


@dataclass(frozen=True, slots=True)
class Cookies:
    """The two cookies, as this site writes them."""

    is_tls: bool
    """With the prefix `__Host-` a browser takes them only over TLS, for this host and the whole site."""

    def session(self, request: web.BaseRequest) -> str | None:
        return self._read(request, "session")

    def device(self, request: web.BaseRequest) -> str | None:
        return self._read(request, "device")

    def write(self, response: web.StreamResponse, session: str, device: str) -> None:
        self._set(response, "session", session, None)
        self._set(response, "device", device, DEVICE_S)

    def clear(self, response: web.StreamResponse) -> None:
        """Only the session: the browser stays one that is known."""
        self._set(response, "session", "", 0)

    def _read(self, request: web.BaseRequest, name: str) -> str | None:
        value = request.cookies.get(self._name(name), "")
        return value if 0 < len(value) <= MAX_COOKIE_CHARS else None

    def _name(self, name: str) -> str:
        return f"__Host-veilcast-{name}" if self.is_tls else f"veilcast-{name}"

    def _set(self, response: web.StreamResponse, name: str, value: str, max_age: int | None) -> None:
        response.set_cookie(
            self._name(name), value, path="/", max_age=max_age,
            secure=self.is_tls, httponly=True, samesite="Strict",
        )  # fmt: skip


def csrf_token(session: str) -> str:
    """What every unsafe request of a session repeats; tells nothing about the session's id."""
    mac = hmac.digest(session.encode(), b"veilcast csrf token 1", hashlib.sha256)
    return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


def is_csrf_token(session: str, token: str) -> bool:
    """In constant time."""
    return hmac.compare_digest(csrf_token(session).encode(), token.encode("utf-8", "replace"))
