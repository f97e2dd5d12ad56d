"""Who may do what on the hub's web pages. Pure.

A handler says who may call it: `@needs(Role.OPERATOR)`, or `@open_to_all` for what is seen before the login.
`hub.web.auth` refuses everyone else before the handler runs, and `hub.web.app` refuses to start with a route
that says nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from aiohttp import web

from protocol.keys import Peer

H = TypeVar("H", bound=Callable[..., Any])
LEAST_ROLE = "least_role"
"""Set on a handler: the `Role` that it needs, or None where everybody may call it."""


class Role(StrEnum):
    """What a user may do; each one includes those before it."""

    VIEWER = "viewer"
    """Watches the cameras that the user was given."""
    OPERATOR = "operator"
    """Watches all cameras, sees names, enrols people and ends consents."""
    ADMIN = "admin"
    """And says who the users are."""

    def includes(self, other: Role) -> bool:
        """Whoever has this role may do what needs the other."""
        order = tuple(Role)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who is signed in. `name` is that of the account, not of an enrolled person."""

    name: str
    role: Role
    cameras: frozenset[str] | None = None
    """Names of nodes; None is every camera."""
    sees_names: bool = True
    """May be shown who the people in the picture are."""

    @property
    def peer(self) -> Peer:
        """By which the audit log names this user; never the name of a key, which has no blank."""
        return Peer(f"user {self.name}", "admin")


USER = web.RequestKey("user", User)
CSRF = web.RequestKey("csrf", str)
"""What `hub.web.auth` leaves in a request for the handler: who asks, and what their forms must send along."""


def needs(role: Role) -> Callable[[H], H]:
    """Only users whose role includes this one reach the handler."""

    def mark(handler: H) -> H:
        setattr(handler, LEAST_ROLE, role)
        return handler

    return mark


def open_to_all(handler: H) -> H:
    """Everybody reaches the handler, signed in or not."""
    setattr(handler, LEAST_ROLE, None)
    return handler


def user_of(request: web.Request) -> User:
    """Who asks. Only in handlers that need a role."""
    return request[USER]


def may_watch(user: User, camera: str) -> bool:
    """The user may see this camera's picture and state."""
    return user.cameras is None or camera in user.cameras
