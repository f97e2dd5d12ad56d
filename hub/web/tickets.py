"""Tickets for the browsers of users: signed by the hub, checked by the node (protocol.tickets).

Given out for cameras that the user may watch alone. Called by the pages, through `WebContext.issue_ticket`.
"""

from __future__ import annotations

from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.web.access import User, may_watch
from protocol.tickets import Ticket, sign_ticket

EARLIER_S = 60.0
"""Valid from so long ago: the clock of a node may be that much behind."""


class TicketOffice:
    """Signs with the hub's key. `wall` gives UTC epoch seconds; a ticket ends `life_s` from now."""

    def __init__(self, key: Ed25519PrivateKey, life_s: float, wall: Callable[[], float]) -> None:
        self._key = key
        self._life_s = life_s
        self._wall = wall

    def issue(self, user: User, camera: str) -> str:
        """Raises PermissionError where the user may not watch the camera."""
        if not may_watch(user, camera):
            raise PermissionError(f"{user.name} may not watch {camera}")
        now = self._wall()
        ticket = Ticket(camera, user.name, user.sees_names, max(0.0, now - EARLIER_S), now + self._life_s)
        return sign_ticket(ticket, self._key)
