"""Gathers single questions into batches for the one inference thread.

A batch leaves when it is full or its oldest item has waited long enough; what does not fit is shed,
oldest first. Async on the outside, one named thread inside. Used by `hub.service`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Shed(Exception):  # noqa: N818 - an event, not a mistake
    """The item was dropped: newer ones had filled the queue, or the batcher was closed."""


@dataclass(slots=True)
class _Waiting(Generic[T, R]):
    item: T
    since: float
    answer: asyncio.Future[R]


class Batcher(Generic[T, R]):
    """`submit` from the event loop; `run` is called with a list and returns one result an item."""

    def __init__(
        self, run: Callable[[Sequence[T]], Sequence[R]], max_batch: int, max_age_s: float, capacity: int
    ) -> None:
        if max_batch < 1 or capacity < max_batch:
            raise ValueError("a batcher needs 1 <= max_batch <= capacity")
        self._run = run
        self._max_batch = max_batch
        self._max_age_s = max_age_s
        self._capacity = capacity
        self._queue: deque[_Waiting[T, R]] = deque()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inference")
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False
        self.shed = 0
        self.batches = 0

    def start(self) -> None:
        """Begin to work; called on the event loop."""
        self._task = asyncio.create_task(self._work(), name="batcher")

    async def submit(self, item: T) -> R:
        """The result for one item. Raises Shed, or what `run` raised for its batch."""
        if self._is_closed:
            raise Shed("the hub is closing")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[R] = loop.create_future()
        while len(self._queue) >= self._capacity:
            self._drop(self._queue.popleft())
        self._queue.append(_Waiting(item, loop.time(), answer))
        self._arrived.set()
        return await answer

    async def call(self, function: Callable[[], R]) -> R:
        """Run something else in the inference thread, between two batches."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    async def close(self) -> None:
        """Shed what waits and end the thread after the batch under way."""
        self._is_closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        while self._queue:
            self._drop(self._queue.popleft())
        await asyncio.to_thread(self._thread.shutdown)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._arrived.clear()
            if not self._queue:
                await self._arrived.wait()
                continue
            wait_s = self._queue[0].since + self._max_age_s - loop.time()
            if len(self._queue) < self._max_batch and wait_s > 0:
                try:
                    await asyncio.wait_for(self._arrived.wait(), wait_s)
                except TimeoutError:
                    pass  # the oldest has waited long enough: go with what is there
                else:
                    continue
            batch = [self._queue.popleft() for _ in range(min(self._max_batch, len(self._queue)))]
            # Whoever asked may have gone meanwhile.
            batch = [w for w in batch if not w.answer.done()]
            if batch:
                await self._answer(batch)

    async def _answer(self, batch: list[_Waiting[T, R]]) -> None:
        self.batches += 1
        try:
            results = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._run, [w.item for w in batch]
            )
            if len(results) != len(batch):
                raise ValueError(f"{len(results)} results for {len(batch)} items")
        except Exception as exc:  # noqa: BLE001 - handed to those who asked; the next batch may do
            for waiting in batch:
                if not waiting.answer.done():
                    waiting.answer.set_exception(exc)
            return
        except asyncio.CancelledError:
            for waiting in batch:
                self._drop(waiting)
            raise
        for waiting, result in zip(batch, results, strict=True):
            if not waiting.answer.done():
                waiting.answer.set_result(result)

    def _drop(self, waiting: _Waiting[T, R]) -> None:
        self.shed += 1
        if not waiting.answer.done():
            waiting.answer.set_exception(Shed("newer questions went first"))
