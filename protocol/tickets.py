"""Viewer tickets: the hub signs who may watch which camera until when, and a node checks that alone.

A ticket is `BODY.SIGNATURE`, both in base64 for addresses without padding: a MessagePack array of the fields
of `Ticket`, and an Ed25519 signature over a fixed purpose and those bytes. Pure. Signed by `hub.web.tickets`,
checked by `edge_node.stream.guard`. Times are UTC epoch seconds: both clocks must be right to a minute.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Meta, Struct

from protocol.errors import RemoteProtocolError
from protocol.limits import MAX_EPOCH_S, MAX_NAME_CHARS, MAX_TICKET_CHARS, MAX_TICKET_S

_PURPOSE = b"veilcast viewer ticket 1\n"
"""Signed in front of the body: a signature for something else is none for this."""
_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARS)]
EpochSeconds = Annotated[float, Meta(ge=0.0, le=MAX_EPOCH_S)]


class TicketError(RemoteProtocolError):
    """This ticket opens nothing; the text says why and repeats nothing of it."""


class Ticket(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Leave to watch one camera."""

    camera: Name
    """The node's name."""
    user: Name
    """Of the account; for counting, never for a log."""
    may_see_names: bool
    not_before: EpochSeconds
    expires: EpochSeconds


def sign_ticket(ticket: Ticket, key: Ed25519PrivateKey) -> str:
    """The ticket as text that fits into an address. Raises ValueError where it would live too long."""
    if not 0.0 < ticket.expires - ticket.not_before <= MAX_TICKET_S:
        raise ValueError("a ticket lives longer than 0 and at most MAX_TICKET_S seconds")
    body = msgspec.msgpack.encode(ticket)
    return f"{_text(body)}.{_text(key.sign(_PURPOSE + body))}"


def check_ticket(text: str, camera: str, public: bytes, now: float) -> Ticket:
    """The ticket, if the hub with this public key (32 bytes) signed it for this camera and this time.

    Raises TicketError.
    """
    if len(text) > MAX_TICKET_CHARS or not _SHAPE.fullmatch(text):
        raise TicketError("This is no ticket.")
    body, _, signature = text.partition(".")
    try:
        data = _bytes(body)
        Ed25519PublicKey.from_public_bytes(public).verify(_bytes(signature), _PURPOSE + data)
        ticket = msgspec.msgpack.decode(data, type=Ticket)
    except (binascii.Error, InvalidSignature) as exc:
        raise TicketError("This ticket was not signed by this node's hub.") from exc
    except msgspec.MsgspecError as exc:
        raise TicketError("This is no ticket.") from exc
    if ticket.camera != camera:
        raise TicketError("This ticket is for another camera.")
    if ticket.expires - ticket.not_before > MAX_TICKET_S:
        raise TicketError("This ticket lives too long.")
    if now < ticket.not_before:
        raise TicketError("This ticket is not valid yet; are the clocks of hub and node right?")
    if now >= ticket.expires:
        raise TicketError("This ticket has expired.")
    return ticket


def public_key_from(text: str) -> bytes:
    """The 32 bytes of a public key as `veilcast-hub receipt key` prints it. Raises ValueError."""
    try:
        public = base64.b64decode(text.strip(), validate=True)
    except binascii.Error as exc:
        raise ValueError("not base64") from exc
    if len(public) != 32:
        raise ValueError("not 32 bytes")
    return public


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    """Raises binascii.Error, also for a second spelling of the same bytes."""
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if _text(data) != text:
        raise binascii.Error("not canonical")
    return data
