"""A time limit for calls that have none: drivers and libraries that may hang. [I/O]

Such a call cannot be ended, only left behind: it goes on, on a thread of its own, and nothing waits for it
any more. Used by the cameras of `capture`, which count as lost then.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


class LimitedCaller:
    """Runs one call at a time on its own thread, and waits `limit_s` for each. Used by one thread."""

    def __init__(self, name: str, limit_s: float) -> None:
        self._limit_s = limit_s
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._late: Future[object] | None = None
        # A daemon: a call that hangs must not keep the program from ending.
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def call(self, what: Callable[[], T]) -> T:
        """What the call returns or raises. TimeoutError where it takes longer, and at once while an earlier
        one still hangs."""
        if self._late is not None and not self._late.done():
            raise TimeoutError
        future: Future[T] = Future()
        self._work.put(lambda: _fulfil(future, what))
        try:
            return future.result(self._limit_s)
        except TimeoutError:
            if not future.done():
                self._late = future  # type: ignore[assignment]
            raise

    def close(self) -> None:
        """Let the thread end, once what hangs has returned."""
        self._work.put(None)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()


def _fulfil(future: Future[T], what: Callable[[], T]) -> None:
    try:
        future.set_result(what())
    except BaseException as exc:  # noqa: BLE001 - it is raised where the call was made
        future.set_exception(exc)
