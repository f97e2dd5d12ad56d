"""A socket with a key and no manners: says to a hub whatever the test wants, and hears the answers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import zmq
import zmq.asyncio

from protocol.codec import decode, encode
from protocol.keys import KeyPair, Peer
from protocol.messages import AnyMessage, FaceQuery, Heartbeat, Hello
from tests.protocol.examples import LANDMARKS

WAIT_S = 15.0


class RawClient:
    """See the module."""

    def __init__(self, address: str, keys: KeyPair | None, hub_key: bytes) -> None:
        self._context = zmq.asyncio.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        if keys is not None:
            self.socket.curve_serverkey = hub_key
            self.socket.curve_publickey = keys.public
            self.socket.curve_secretkey = keys.secret
        self.socket.connect(address)
        self.session = os.urandom(16)

    def close(self) -> None:
        self.socket.close()
        self._context.term()

    async def say(self, message: AnyMessage, payloads: Sequence[bytes] = ()) -> None:
        await self.socket.send_multipart(encode(message, payloads))

    async def hear(self) -> AnyMessage:
        """The next message that is no heartbeat."""
        while True:
            parts = await asyncio.wait_for(self.socket.recv_multipart(), WAIT_S)
            message, _ = decode(parts)
            if not isinstance(message, Heartbeat):
                return message

    async def hear_nothing(self, for_s: float) -> None:
        """Let time pass for the other side."""
        await asyncio.sleep(for_s)

    async def greet(self, peer: Peer) -> AnyMessage:
        hello = Hello(session=self.session, role=peer.role, name=peer.name, versions=(1,))
        await self.say(hello)
        return await self.hear()

    def query(self, seq: int, track: int = 2) -> FaceQuery:
        return FaceQuery(session=self.session, seq=seq, track=track, landmarks=LANDMARKS, quality=0.5)


@asynccontextmanager
async def connected(address: str, keys: KeyPair | None, hub_key: bytes) -> AsyncIterator[RawClient]:
    client = RawClient(address, keys, hub_key)
    try:
        yield client
    finally:
        client.close()
