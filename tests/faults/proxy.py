"""A TCP proxy that breaks a link in the ways that links break, switched while connections run.

Owns one listening port and copies bytes to and from one target. Knows nothing of what the bytes mean.
`tests.faults.real` puts it between a node and its hub; its own thread and event loop keep it going
while the caller waits or works.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

CHUNK_BYTES = 16_384
"""Read at once: larger than most messages, so that a duplicated chunk repeats whole ones."""
MAX_IN_FLIGHT = 256
"""Chunks on their way on one side of a connection; then the sender is not read any more."""
STEP_S = 0.05
"""Of a throttled link: how soon a change of its rate is noticed."""
START_S = 5.0


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to every connection, both ways. All off: a plain link."""

    delay_s: float = 0.0
    """Each chunk arrives this much later, in order."""
    is_cut: bool = False
    """Connections are reset, and new ones are refused."""
    bytes_per_s: float = 0.0
    """Each way of each connection passes this many at most; 0 is no limit."""
    duplicates: float = 0.0
    """Share of chunks that are sent twice."""
    corrupts: float = 0.0
    """Share of chunks in which one byte is changed."""
    is_black_hole: bool = False
    """Connections are accepted and stay; what is sent disappears."""

    def __post_init__(self) -> None:
        if self.delay_s < 0 or self.bytes_per_s < 0:
            raise ValueError("a delay and a rate are not negative")
        if not 0 <= self.duplicates <= 1 or not 0 <= self.corrupts <= 1:
            raise ValueError("shares lie in 0..1")


NO_FAULT = Fault()


class FaultProxy:
    """Listens on a loopback port and passes bytes to `target` (host, port). A context manager.

    `switch` may be called from any thread at any time; it returns when the new fault is in force.
    """

    def __init__(self, target: tuple[str, int], seed: int = 1) -> None:
        self.port = 0
        """Where it listens, once started; stays the same over cuts."""
        self.accepted = 0
        """Connections, over its whole life."""
        self.swallowed = 0
        """Bytes that disappeared in a black hole."""
        self.target = target
        """Where the next connection leads."""
        self._dice = random.Random(seed)
        self._fault = NO_FAULT
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._switched: asyncio.Future[None] = self._loop.create_future()
        """Done at the next switch."""
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        self._wait(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._wait(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_S)
        self._loop.close()

    @property
    def address(self) -> str:
        """As ZeroMQ writes it."""
        return f"tcp://127.0.0.1:{self.port}"

    def switch(self, fault: Fault = NO_FAULT) -> None:
        """From now on this happens; without an argument the link is whole again."""
        self._wait(self._switch(fault))

    def _wait(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(START_S)

    # --- in the proxy's own loop --------------------------------------------------------------

    async def _switch(self, fault: Fault) -> None:
        self._fault = fault
        self._switched.set_result(None)
        self._switched = self._loop.create_future()
        if fault.is_cut:
            await self._stop_listening()
            self._reset_all()
        elif self._server is None:
            await self._listen()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop_listening(self) -> None:
        if self._server is not None:
            # Closed at once; waiting for its connections would wait for those that are reset next.
            self._server.close()
            self._server = None

    def _reset_all(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _end(self) -> None:
        await self._stop_listening()
        self._reset_all()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            await self._join(reader, writer)
        except (OSError, asyncio.CancelledError):
            # The target refuses, or the proxy ends: the caller sees its connection go, as it should.
            writer.transport.abort()
        finally:
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self.target)
        self._writers.add(far_writer)
        try:
            ways = [self._copy(reader, far_writer), self._copy(far_reader, writer)]
            tasks = [asyncio.ensure_future(way) for way in ways]
            # One side is gone: so is the connection, like a cable.
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            self._writers.discard(far_writer)
            far_writer.transport.abort()
            writer.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One way of one connection. A delayed chunk does not hold up the reading of the next."""
        pipe: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(MAX_IN_FLIGHT)
        delivery = asyncio.ensure_future(self._deliver(pipe, writer))
        try:
            with contextlib.suppress(ConnectionError):
                while not delivery.done() and (chunk := await reader.read(CHUNK_BYTES)):
                    if self._fault.is_black_hole:
                        self.swallowed += len(chunk)
                    else:
                        await pipe.put((self._loop.time(), chunk))
        finally:
            delivery.cancel()
            await asyncio.gather(delivery, return_exceptions=True)

    async def _deliver(self, pipe: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        while True:
            came_at, chunk = await pipe.get()
            # A delay that ends meanwhile ends for what is on its way, too.
            while (left_s := came_at + self._fault.delay_s - self._loop.time()) > 0:
                await asyncio.wait([self._switched], timeout=left_s)
            for piece in self._broken(chunk):
                await self._send(piece, writer)

    def _broken(self, chunk: bytes) -> list[bytes]:
        """The chunk as it arrives."""
        fault = self._fault
        if fault.is_black_hole:
            return []
        if self._dice.random() < fault.corrupts:
            at = self._dice.randrange(len(chunk))
            chunk = chunk[:at] + bytes([chunk[at] ^ (1 + self._dice.randrange(255))]) + chunk[at + 1 :]
        return [chunk, chunk] if self._dice.random() < fault.duplicates else [chunk]

    async def _send(self, piece: bytes, writer: asyncio.StreamWriter) -> None:
        """At the rate that is allowed; a rate that changes meanwhile holds from the next slice."""
        while piece:
            rate = self._fault.bytes_per_s
            size = len(piece) if not rate else max(1, min(len(piece), round(rate * STEP_S)))
            if rate:
                await asyncio.sleep(size / rate)
            if self._fault.is_black_hole:
                return
            writer.write(piece[:size])
            await writer.drain()
            piece = piece[size:]
