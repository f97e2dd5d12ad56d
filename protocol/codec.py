"""Messages to bytes and back. Any bytes give a message or `RemoteProtocolError`, nothing else.

Sizes are checked first, then MessagePack is unpacked under tight limits, then the plain values are
checked against the message's types. The two kinds that cameras send and get all day have a shorter way to the
same result. Called by `protocol.session`; knows nothing of conversations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import msgpack
import msgspec

from protocol import limits
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.messages import AddPerson, AnyMessage, FaceDecision, FaceQuery, ShowLikeness

TYPES: Mapping[str, type[AnyMessage]] = {
    str(kind.__struct_config__.tag): kind for kind in get_args(AnyMessage)
}
"""Message types by their name on the wire."""

_encoder = msgspec.msgpack.Encoder()
_query_decoder = msgspec.msgpack.Decoder(FaceQuery)
_decision_decoder = msgspec.msgpack.Decoder(FaceDecision)
SHORT_HEADER_BYTES = 4_096
"""A decision with the longest texts fits; what claims to be longer than it is costs no memory."""


def encode(message: AnyMessage, payloads: Sequence[bytes] = ()) -> list[bytes]:
    """The parts of a message: MessagePack header, then its binary payloads.

    Raises LocalProtocolError where the other side would refuse them.
    """
    try:
        parts = [_encoder.encode(message), *payloads]
        # What we would not accept we do not send: the structs do not check themselves when built.
        decode(parts)
    except (RemoteProtocolError, TypeError, ValueError, OverflowError) as exc:
        raise LocalProtocolError(f"{type(message).__name__} cannot be sent: {exc}") from exc
    return parts


def decode(
    parts: Sequence[bytes], max_header_bytes: int = limits.MAX_HEADER_BYTES
) -> tuple[AnyMessage, tuple[bytes, ...]]:
    """The message and payloads in the parts. Fields that are not known are ignored.

    Raises RemoteProtocolError for anything that is not exactly one message of a known type.
    """
    if not 1 <= len(parts) <= limits.MAX_PARTS:
        raise RemoteProtocolError(f"a message has 1 to {limits.MAX_PARTS} parts, not {len(parts)}")
    header, *payloads = parts
    if len(header) > max_header_bytes:
        raise RemoteProtocolError(f"header of {len(header)} bytes, allowed are {max_header_bytes}")
    if any(len(payload) > limits.MAX_CROP_BYTES for payload in payloads):
        raise RemoteProtocolError(f"a payload exceeds {limits.MAX_CROP_BYTES} bytes")
    message: AnyMessage | None = _read_at_once(header)
    if message is None:
        message = _typed(_unpack(header))
    expected = payload_count(message)
    if len(payloads) != expected:
        raise RemoteProtocolError(f"{len(payloads)} payloads where {expected} belong")
    return message, tuple(payloads)


def payload_count(message: AnyMessage) -> int:
    """How many binary parts follow the header of this message."""
    if isinstance(message, FaceQuery):
        return 1
    return len(message.photos) if isinstance(message, AddPerson | ShowLikeness) else 0


def _read_at_once(header: bytes) -> FaceQuery | FaceDecision | None:
    """The message, where it is one of two kinds and exactly as this software writes it.

    What gives the same bytes again holds no field besides its own, and of those each number is in its range:
    there is nothing that the longer way would refuse. None for all else, right or wrong.
    """
    if len(header) > SHORT_HEADER_BYTES:
        return None
    message: FaceQuery | FaceDecision
    try:
        if header[1:16] == b"\xa4type\xaaface-quer":
            message = _query_decoder.decode(header)
        elif header[1:16] == b"\xa4type\xadface-deci":
            message = _decision_decoder.decode(header)
        else:
            return None
        return message if _encoder.encode(message) == header else None
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return None  # the longer way says what is wrong


def _unpack(header: bytes) -> dict[str, Any]:
    try:
        value = msgpack.unpackb(
            header,
            raw=False,
            strict_map_key=True,
            max_str_len=4 * limits.MAX_TEXT_CHARS,
            max_bin_len=limits.MAX_VECTOR_BYTES,
            max_array_len=1_024,
            max_map_len=64,
            max_ext_len=0,
            ext_hook=_refuse_extension,
        )
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException, RecursionError) as exc:
        # ValueError covers broken UTF-8, exceeded limits and left-over bytes.
        raise RemoteProtocolError("not MessagePack within the limits") from exc
    if not isinstance(value, dict):
        raise RemoteProtocolError("the header is no map")
    _check_depth_and_floats(value)
    return value


def _refuse_extension(code: int, data: bytes) -> object:
    raise ValueError("extension types are not part of the protocol")


def _check_depth_and_floats(root: object) -> None:
    """Refuse what types alone would let through, also in fields that are ignored later."""
    level: list[Any] = [root]
    for _ in range(limits.MAX_DEPTH):
        below: list[Any] = []
        for value in level:
            # msgpack makes exactly these types; asking for them so takes half the time of isinstance.
            kind = type(value)
            if kind is float:
                if not math.isfinite(value):
                    raise RemoteProtocolError("a number is not finite")
            elif kind is dict:
                below += value.values()
            elif kind is list:
                below += value
        if not below:
            return
        level = below
    raise RemoteProtocolError(f"nested deeper than {limits.MAX_DEPTH}")


def _typed(value: dict[str, Any]) -> AnyMessage:
    name = value.get("type")
    kind = TYPES.get(name) if isinstance(name, str) else None
    if kind is None:
        # Not left to msgspec: its text would repeat the peer's bytes.
        raise RemoteProtocolError("unknown message type")
    try:
        return msgspec.convert(value, kind, strict=True)
    except (msgspec.ValidationError, OverflowError) as exc:
        reason, _, place = str(exc).partition(" - at ")
        if reason.startswith("Invalid enum value"):
            reason = "invalid value"  # msgspec's text repeats the peer's
        raise RemoteProtocolError(f"{name}: {reason} {place}".rstrip()) from exc
