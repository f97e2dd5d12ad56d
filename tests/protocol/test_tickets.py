"""Viewer tickets: what a node takes, and every refusal."""

from __future__ import annotations

import base64

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.limits import MAX_TICKET_CHARS, MAX_TICKET_S
from protocol.tickets import Ticket, TicketError, check_ticket, public_key_from, sign_ticket

NOW = 1_800_000_000.0
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
TICKET = Ticket("door", "ann", True, NOW - 60, NOW + 300)
PURPOSE = b"veilcast viewer ticket 1\n"


def text_of(body: bytes, signature: bytes) -> str:
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (body, signature))


def refused(text: str, camera: str = "door", public: bytes = PUBLIC, now: float = NOW) -> str:
    with pytest.raises(TicketError) as caught:
        check_ticket(text, camera, public, now)
    return str(caught.value)


def test_a_ticket_opens_its_camera_while_it_lasts() -> None:
    text = sign_ticket(TICKET, KEY)
    assert len(text) < 200
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
    for now in (NOW - 60, NOW, NOW + 299.9):
        assert check_ticket(text, "door", PUBLIC, now) == TICKET


def test_golden_bytes() -> None:
    """Hubs and nodes of different age must agree."""
    body = bytes.fromhex("95a4646f6f72a3616e6ec3cb41dad27477f1000000cb41dad2748f4b000000")
    text = sign_ticket(Ticket("door", "ann", True, 1_799_999_999.0, 1_800_000_300.0), KEY)
    given_body = text.partition(".")[0]
    decoded = msgspec.msgpack.decode(base64.urlsafe_b64decode(given_body + "=="))
    assert decoded == ["door", "ann", True, 1_799_999_999.0, 1_800_000_300.0]
    assert base64.urlsafe_b64decode(given_body + "==")[:11] == body[:11]


def test_every_refusal() -> None:
    text = sign_ticket(TICKET, KEY)
    assert "expired" in refused(text, now=NOW + 300)
    assert "not valid yet" in refused(text, now=NOW - 61)
    assert "another camera" in refused(text, camera="hall")
    other = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    assert "not signed" in refused(text, public=other)
    assert "not signed" in refused(text[:-1])
    assert "no ticket" in refused("")
    assert "no ticket" in refused(text + ".x")
    assert "no ticket" in refused("a" * MAX_TICKET_CHARS + "." + "b")
    assert "no ticket" in refused(text + "\n")
    assert "no ticket" in refused("Ä.Ä")


def test_no_byte_can_be_changed() -> None:
    text = sign_ticket(TICKET, KEY)
    for at, sign in enumerate(text):
        for other in "AB_":
            if other != sign:
                refused(text[:at] + other + text[at + 1 :])


def test_a_signature_for_something_else_is_none() -> None:
    body = msgspec.msgpack.encode(TICKET)
    assert "not signed" in refused(text_of(body, KEY.sign(body)))
    assert "not signed" in refused(text_of(body, KEY.sign(b"veilcast erasure receipt 1\n" + body)))
    assert check_ticket(text_of(body, KEY.sign(PURPOSE + body)), "door", PUBLIC, NOW) == TICKET


@pytest.mark.parametrize(
    "fields",
    [
        [], ["door"], ["door", "ann", True, NOW - 60], ["door", "ann", True, NOW - 60, NOW + 300, 1],
        ["door", "ann", 1, NOW - 60, NOW + 300], ["", "ann", True, NOW - 60, NOW + 300],
        ["door", "ann", True, NOW - 60, float("inf")],
        ["door", "ann", True, NOW - 60, NOW + 2 * MAX_TICKET_S],
    ],
)  # fmt: skip
def test_a_signed_text_that_is_no_ticket_is_refused(fields: list[object]) -> None:
    body = msgspec.msgpack.encode(fields)
    refused(text_of(body, KEY.sign(PURPOSE + body)))


@pytest.mark.parametrize("life_s", [0.0, -1.0, MAX_TICKET_S + 1])
def test_none_is_signed_that_lives_too_long(life_s: float) -> None:
    with pytest.raises(ValueError, match="lives longer"):
        sign_ticket(Ticket("door", "ann", True, NOW, NOW + life_s), KEY)


def test_a_key_is_read_as_it_was_printed() -> None:
    assert public_key_from(base64.b64encode(PUBLIC).decode() + "\n") == PUBLIC
    for text in ("", "nonsense", "AAAA", base64.b64encode(PUBLIC + b"x").decode()):
        with pytest.raises(ValueError, match="not"):
            public_key_from(text)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_a_ticket_or_refused(text: str) -> None:
    refused(text)
