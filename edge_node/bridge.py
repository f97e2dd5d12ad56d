"""Between threads, and between threads and the event loop. No other file knows both.

`LatestSlot` hands the newest frame to whoever is free (conflate: older ones are overwritten).
`Mailbox` hands over every item in order (bounded: the oldest is dropped and counted).
`Worker` is a thread with a name, a stop event and a join with a time limit.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)

SHORT_TURN_S = 0.0005
"""With it a frame of eight small faces was analyzed in 35 to 37 ms where it took 38 to 42."""
MAX_COMM = 15
"""Bytes that Linux keeps of a thread's name."""


def take_short_turns() -> None:
    """Have the threads of this process hand the interpreter over sooner than after the usual 5 ms. An
    analysis asks for it back some hundred times, after each call of a library, while another thread paints
    the frame before it."""
    sys.setswitchinterval(SHORT_TURN_S)


def name_thread() -> None:
    """Give the calling thread its Python name in the system, too: `top -H` then tells who works. Threads that
    a library starts from it (inference, codecs) are called alike. Elsewhere than on Linux nothing happens."""
    if threading.current_thread() is threading.main_thread():
        return  # its name is the process's
    with suppress(OSError):  # a convenience: no reason not to stream
        comm = Path(f"/proc/self/task/{threading.get_native_id()}/comm")
        comm.write_text(threading.current_thread().name[:MAX_COMM])


class LatestSlot(Generic[T]):
    """One item; putting a new one replaces it."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._item: T | None = None
        self.overwritten = 0

    def put(self, item: T) -> None:
        with self._condition:
            if self._item is not None:
                self.overwritten += 1
            self._item = item
            self._condition.notify()

    def take(self, timeout_s: float) -> T | None:
        """The newest item, or None where none came in time."""
        with self._condition:
            if self._item is None:
                self._condition.wait(timeout_s)
            item, self._item = self._item, None
            return item

    @property
    def is_empty(self) -> bool:
        return self._item is None


class Mailbox(Generic[T]):
    """Items of several threads for one; `take_all` waits until a time or until there is one."""

    def __init__(self, capacity: int) -> None:
        self._condition = threading.Condition()
        self._items: deque[T] = deque()
        self._capacity = capacity
        self.dropped = 0

    def put(self, item: T) -> None:
        with self._condition:
            if len(self._items) >= self._capacity:
                self._items.popleft()
                self.dropped += 1
            self._items.append(item)
            self._condition.notify()

    def take_all(self, until: float) -> list[T]:
        """Everything that is there; waits for something until the monotonic time `until`."""
        with self._condition:
            if not self._items:
                self._condition.wait(max(0.0, until - time.monotonic()))
            items = list(self._items)
            self._items.clear()
            return items


class Worker:
    """A named thread that calls `step` until stopped. A step that raises is reported, not fatal:
    the stream must go on (veiled), so the next step is tried after a short pause."""

    def __init__(
        self, name: str, step: Callable[[], None], on_fault: Callable[[BaseException], None]
    ) -> None:
        self._step = step
        self._on_fault = on_fault
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 3.0) -> None:
        """Ask the thread to end and wait for it; a thread that does not is named in the log."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                log.warning("thread %s did not stop within %.0f s", self._thread.name, timeout_s)

    def _run(self) -> None:
        name_thread()
        while not self._stopping.is_set():
            try:
                self._step()
            except Exception as exc:  # noqa: BLE001 - reported; the picture stays veiled meanwhile
                self._on_fault(exc)
                self._stopping.wait(0.05)


class LoopCaller:
    """Lets threads run a function on the event loop. Calls after the loop has closed are dropped:
    the node is going down and nobody is left to hear them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def call(self, function: Callable[..., object], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            if not self._loop.is_closed():
                raise
