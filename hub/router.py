"""[I/O] The hub's ROUTER socket: how it is set up, and single messages from and to it.

Knows nothing of sessions and of what is said. Used by `hub.server`.
"""

from __future__ import annotations

from collections.abc import Sequence

import zmq

from protocol import limits
from protocol.keys import KeyPair

HIGH_WATER_MARK = 64
"""Messages waiting per peer and direction: with MAXMSGSIZE at most 16 MB, in practice 1 MB."""
HANDSHAKE_MS = 5_000
"""A connection that has not proven its key by then is closed."""
ZAP_DOMAIN = "veilcast"


def received(socket: zmq.Socket[bytes]) -> tuple[bytes, bytes, list[bytes]]:
    """A message: its connection, the sender's public key in Z85, its parts. Raises zmq.Again where none is.

    CURVE has proven the key, ZAP attached it to every message; it is empty where no authenticator has seen
    the connection. Part by part: what `recv_multipart` does takes twice the time.
    """
    route = socket.recv(zmq.NOBLOCK)
    frame = socket.recv(zmq.NOBLOCK, copy=False)
    try:
        key = str(frame.get("User-Id")).encode()
    except zmq.ZMQError:
        key = b""
    parts = [frame.bytes]
    while frame.more:
        frame = socket.recv(zmq.NOBLOCK, copy=False)
        parts.append(frame.bytes)
    return route, key, parts


def send(socket: zmq.Socket[bytes], route: bytes, parts: Sequence[bytes]) -> None:
    """Send a message. Raises ZMQError where its connection is gone or full; nothing of it has been sent then,
    as ROUTER decides that by the first part. Part by part, as with receiving.
    """
    socket.send(route, zmq.NOBLOCK | zmq.SNDMORE)
    for part in parts[:-1]:
        socket.send(part, zmq.NOBLOCK | zmq.SNDMORE)
    socket.send(parts[-1], zmq.NOBLOCK)


def configure(socket: zmq.Socket[bytes], keys: KeyPair) -> None:
    """Before it is bound: CURVE with these keys, what it holds, and nobody in without an authenticator."""
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.MAXMSGSIZE, max(limits.MAX_REQUEST_HEADER_BYTES, limits.MAX_CROP_BYTES))
    socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MARK)
    socket.setsockopt(zmq.RCVHWM, HIGH_WATER_MARK)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
    socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
    # With a domain, and that enforced, no connection is let in where no authenticator answers.
    socket.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN.encode())
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.public)
    socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)
