"""What the hub's web pages may call. The hub fills it in; handlers reach it by `request.app[CONTEXT]`.

Owns nothing. Every function is called in the hub's event loop and returns at once, unless it is awaited.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiohttp import web

from hub.audit.desk import AuditDesk
from hub.web.access import User
from hub.web.accounts import Accounts
from hub.web.ports import PagePorts
from protocol.keys import Peer


def _nowhere() -> Sequence[str]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WebContext:
    """The hub, as far as pages are concerned."""

    audit: AuditDesk
    accounts: Accounts
    wall: Callable[[], float]
    """UTC epoch seconds."""
    let_in: Callable[[], frozenset[Peer]]
    """Whose keys may connect: the nodes among them are the cameras."""
    issue_ticket: Callable[[User, str], str]
    """A short ticket with which this user's browser may watch a camera at its node (protocol.tickets).
    Raises PermissionError where the user may not watch it."""
    pages: PagePorts | None = None
    """None where only users are served: then there are no pages about cameras and people."""
    is_tls: bool = True
    names: frozenset[str] = frozenset()
    """Host names that this site answers to, beside addresses and localhost; "*.lan" for all of that kind."""
    stream_origins: Callable[[], Sequence[str]] = _nowhere
    """Where the nodes serve their pictures ("https://door.lan:8080"): pages may load from there."""


CONTEXT = web.AppKey("context", WebContext)
