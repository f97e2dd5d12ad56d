"""Any bytes give a message or RemoteProtocolError; what is sent arrives as it was."""

from __future__ import annotations

from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import codec, limits
from protocol.codec import TYPES, decode, encode
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.messages import AnyMessage, FaceDecision, FaceQuery, Heartbeat, Hello, clip
from tests.protocol.examples import EXAMPLES, LANDMARKS, SESSION

HEARTBEAT = {"type": "heartbeat", "session": SESSION}
QUERY = FaceQuery(session=SESSION, seq=1, track=1, landmarks=LANDMARKS, quality=0.5)


def packed(**fields: Any) -> list[bytes]:
    return [msgpack.packb({**HEARTBEAT, **fields})]


@pytest.mark.parametrize(("message", "payloads"), EXAMPLES, ids=lambda v: type(v).__name__)
def test_a_message_survives_the_wire(message: AnyMessage, payloads: tuple[bytes, ...]) -> None:
    assert decode(encode(message, payloads)) == (message, payloads)


@given(
    st.integers(0, 2**53),
    st.integers(0, 2**53),
    st.floats(0, 1),
    st.lists(st.tuples(*[st.floats(-65536, 65536)] * 2), min_size=5, max_size=5),
    st.binary(max_size=64),
)
def test_every_query_survives_the_wire(
    seq: int, track: int, quality: float, points: list[tuple[float, float]], crop: bytes
) -> None:
    landmarks: Any = tuple(points)
    query = FaceQuery(session=SESSION, seq=seq, track=track, landmarks=landmarks, quality=quality)
    assert decode(encode(query, [crop])) == (query, (crop,))


@given(st.lists(st.binary(max_size=200), max_size=4))
def test_any_bytes_give_a_message_or_a_remote_error(parts: list[bytes]) -> None:
    try:
        message, _ = decode(parts)
    except RemoteProtocolError:
        return
    assert isinstance(message, tuple(TYPES.values()))


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=10)
    | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "session", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.data())
def test_messages_with_wrong_fields_give_a_message_or_a_remote_error(data: st.DataObject) -> None:
    message, payloads = data.draw(st.sampled_from(EXAMPLES))
    fields = msgpack.unpackb(encode(message, payloads)[0])
    for key in data.draw(st.lists(st.sampled_from([*fields, "more"]), max_size=3)):
        fields[key] = data.draw(plain)
    try:
        decoded, _ = decode([msgpack.packb(fields), *payloads])
    except RemoteProtocolError:
        return
    assert isinstance(decoded, tuple(TYPES.values()))


@given(st.data())
def test_flipped_bytes_give_a_message_or_a_remote_error(data: st.DataObject) -> None:
    message, payloads = data.draw(st.sampled_from(EXAMPLES))
    header = bytearray(encode(message, payloads)[0])
    for at in data.draw(st.lists(st.integers(0, len(header) - 1), min_size=1, max_size=4)):
        header[at] = data.draw(st.integers(0, 255))
    try:
        decode([bytes(header), *payloads])
    except RemoteProtocolError:
        return


def test_unknown_fields_are_ignored() -> None:
    assert decode(packed(later={"a": [1]})) == (Heartbeat(session=SESSION), ())


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [b""],
        [b"\xc1"],
        [msgpack.packb([1])],
        packed(type="face-quiz"),
        packed(type=3),
        packed(session=b"short"),
        packed(session="0123456789abcdef"),
        [packed()[0] + b"\x00"],
        [*packed(), b"payload that no heartbeat has"],
        [msgpack.packb({1: 2})],
        packed(x=float("nan")),
        packed(x=[float("inf")]),
        packed(x="a" * 5000),
        packed(x=[0] * 2000),
        packed(x=msgpack.ExtType(5, b"")),
        packed(x=msgpack.Timestamp(1)),
        [b"\xc7\x00\x05"],
        [b"\x91" * 3000 + b"\xc0"],
        [b"\xdd\xff\xff\xff\xff"],
        [b"\x81\xa1\xff\x01"],
        packed(x=[[[[[[[[1]]]]]]]]),
    ],
    ids=str,
)
def test_refuses(parts: list[bytes]) -> None:
    with pytest.raises(RemoteProtocolError):
        decode(parts)


def test_sizes_are_refused_before_anything_is_unpacked() -> None:
    with pytest.raises(RemoteProtocolError, match="header of"):
        decode([b"\xc1" * (limits.MAX_HEADER_BYTES + 1)])
    with pytest.raises(RemoteProtocolError, match="header of 11 bytes, allowed are 10"):
        decode([b"\xc1" * 11], max_header_bytes=10)
    with pytest.raises(RemoteProtocolError, match="parts"):
        decode([b"\xc1"] * (limits.MAX_PARTS + 1))
    with pytest.raises(RemoteProtocolError, match="payload exceeds"):
        decode([b"\xc1", b"x" * (limits.MAX_CROP_BYTES + 1)])


def test_an_error_repeats_nothing_that_the_peer_wrote() -> None:
    secret = "Grace\nHopper"
    hello = {"type": "hello", "session": SESSION, "role": secret, "name": "x", "versions": [1]}
    for fields in (hello, {**HEARTBEAT, "type": secret}, {"type": "hello", secret: 1}):
        with pytest.raises(RemoteProtocolError) as caught:
            decode([msgpack.packb(fields)])
        assert secret not in str(caught.value)


@pytest.mark.parametrize(
    ("message", "payloads"),
    [
        (Heartbeat(session=b"short"), []),
        (QUERY, []),
        (QUERY, [b"one", b"two"]),
        (FaceQuery(session=SESSION, seq=-1, track=1, landmarks=LANDMARKS, quality=0.5), [b""]),
        (
            FaceQuery(session=SESSION, seq=1, track=1, landmarks=LANDMARKS, quality=float("nan")),
            [b""],
        ),
        (FaceQuery(session=SESSION, seq=2**70, track=1, landmarks=LANDMARKS, quality=0.5), [b""]),
        (Hello(session=SESSION, role="node", name="\ud800", versions=(1,)), []),
        (Hello(session=SESSION, role="node", name="n" * 200, versions=(1,)), []),
    ],
)
def test_what_the_other_side_would_refuse_is_not_sent(message: AnyMessage, payloads: list[bytes]) -> None:
    with pytest.raises(LocalProtocolError, match="cannot be sent"):
        encode(message, payloads)


def test_texts_are_clipped_to_what_travels() -> None:
    assert clip("short") == "short"
    assert len(clip("x" * 1000)) == limits.MAX_TEXT_CHARS


OFTEN = [(m, p) for m, p in EXAMPLES if isinstance(m, FaceQuery | FaceDecision)]


@given(st.data())
def test_the_short_way_accepts_nothing_that_the_long_way_refuses_or_reads_otherwise(
    data: st.DataObject,
) -> None:
    message, payloads = data.draw(st.sampled_from(OFTEN))
    header = encode(message, payloads)[0]
    fields = msgpack.unpackb(header)
    for key in data.draw(st.lists(st.sampled_from([*fields, "more"]), max_size=2)):
        fields[key] = data.draw(plain)
    changed = bytearray(msgpack.packb(fields))
    for at in data.draw(st.lists(st.integers(0, len(changed) - 1), max_size=2)):
        changed[at] = data.draw(st.integers(0, 255))
    found = codec._read_at_once(bytes(changed))
    if found is not None:
        assert found == codec._typed(codec._unpack(bytes(changed)))


@pytest.mark.parametrize(("message", "payloads"), OFTEN, ids=lambda v: type(v).__name__)
def test_the_short_way_is_taken_for_what_is_exactly_ours_alone(
    message: AnyMessage, payloads: tuple[bytes, ...]
) -> None:
    header = encode(message, payloads)[0]
    assert codec._read_at_once(header) == message
    more = msgpack.packb({**msgpack.unpackb(header), "more": float("nan")})
    assert codec._read_at_once(more) is None
    with pytest.raises(RemoteProtocolError, match="not finite"):
        decode([more, *payloads])


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -0.1])
def test_no_number_out_of_its_range_takes_the_short_way(number: float) -> None:
    query = FaceQuery(session=SESSION, seq=1, track=1, landmarks=LANDMARKS, quality=number)
    assert codec._read_at_once(msgspec.msgpack.encode(query)) is None
