"""Gathers single questions into batches, and takes them through three stages that overlap.

`prepare` (decoding) is spread over a few threads, `infer` (the network) runs whole batches in a thread for
each lane, `judge` owns what must have one owner and runs in a thread of its own. A batch is put together
only when a lane is free: from what is prepared by then, the sources by turns. It leaves when it is full or
its oldest item has waited long enough; beyond the capacity the oldest item of whoever has most waiting is
shed. On the event loop, what comes of an item is told to whoever put it in, a batch at a time: a future or a
task for each item would cost more than all else here. Used by `hub.questions`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from hub.fair_queue import FairQueue

T = TypeVar("T")
P = TypeVar("P")
Q = TypeVar("Q")
R = TypeVar("R")
S = TypeVar("S")
T_contra = TypeVar("T_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)


class Shed(Exception):  # noqa: N818 - an event, not a mistake
    """The item was dropped: newer ones had filled the queue, or the batcher was closed."""


class Stages(Protocol[T_contra, P, Q, R_co]):
    """What is done with the items. Blocking."""

    def prepare(self, item: T_contra) -> P:
        """For one item; called in several threads."""
        ...

    def infer(self, prepared: Sequence[P]) -> Sequence[Q]:
        """For a batch, one result an item; called in as many threads as there are lanes."""
        ...

    def judge(self, items: Sequence[T_contra], inferred: Sequence[Q]) -> Sequence[R_co]:
        """For a batch, one result an item; called in one thread, which also runs `Batcher.call`."""
        ...


@dataclass(eq=False, slots=True)
class Waiting(Generic[T, R]):
    """An item on its way, until `told` is called: once, with the result or with what went wrong."""

    item: T
    since: float
    told: Callable[[R | Exception], None]
    prepared: Any = None
    is_done: bool = False

    def give_up(self) -> None:
        """Whoever asked has gone: nothing is told, and what has not begun is not done."""
        self.is_done = True

    def tell(self, result: R | Exception) -> None:
        """End it, unless it has ended."""
        if not self.is_done:
            self.is_done = True
            self.told(result)


class Batcher(Generic[T, P, Q, R]):
    """`put` and `submit` from the event loop, from `start` to `close`. What `told` raises is a mistake."""

    def __init__(
        self,
        stages: Stages[T, P, Q, R],
        max_batch: int,
        max_age_s: float,
        capacity: int,
        lanes: int = 1,
        hands: int = 1,
    ) -> None:
        """hands: threads that prepare. capacity: items that wait for a lane, prepared or not."""
        if max_batch < 1 or capacity < max_batch:
            raise ValueError("a batcher needs 1 <= max_batch <= capacity")
        if lanes < 1 or hands < 1:
            raise ValueError("a batcher needs a lane and a hand")
        self._stages = stages
        self._max_batch = max_batch
        self._max_age_s = max_age_s
        self._capacity = capacity
        self._ahead = max_batch * lanes
        self._chunk = -(-max_batch // hands)
        self._queue: FairQueue[Waiting[T, R]] = FairQueue()
        self._preparing = 0
        self._ready: deque[Waiting[T, R]] = deque()
        self._free_lanes, self._free_hands = lanes, hands
        # One is judged while the lanes work; if judging is what takes longest, the lanes wait for it.
        self._free_batches = lanes + 1
        self._hands = ThreadPoolExecutor(hands, thread_name_prefix="decode")
        self._lanes = ThreadPoolExecutor(lanes, thread_name_prefix="inference")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="judge")
        self._under_way: dict[asyncio.Task[None], list[Waiting[T, R]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._soon: asyncio.Handle | None = None
        self._is_open = self._is_closed = False
        self.shed = 0
        self.batches = 0

    @property
    def waiting(self) -> int:
        """Items that are in no batch yet."""
        return len(self._queue) + self._preparing + len(self._ready)

    def start(self) -> None:
        """Begin to work; called on the event loop."""
        self._is_open = True
        self._pump()

    def put(self, item: T, source: Hashable, told: Callable[[R | Exception], None]) -> Waiting[T, R]:
        """Take in one item. `told` is called later, with its result, Shed, or what a stage raised for it or
        its batch; with Shed perhaps before this returns."""
        loop = asyncio.get_running_loop()
        waiting: Waiting[T, R] = Waiting(item, loop.time(), told)
        if self._is_closed:
            waiting.tell(Shed("the hub is closing"))
            return waiting
        self._queue.push(source, waiting)
        while self.waiting > self._capacity:
            # Never what is prepared: that leaves with the next batch, and was paid for.
            self._drop(self._queue.shed())
        if self._soon is None:  # what arrives together is begun together
            self._soon = loop.call_soon(self._pump)
        return waiting

    async def submit(self, item: T, source: Hashable = None) -> R:
        """The result for one item. Raises what `put` would tell instead of it."""
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()

        def told(result: R | Exception) -> None:
            if answer.done():  # cancelled, with `give_up` still to come
                return
            if isinstance(result, Exception):
                answer.set_exception(result)
            else:
                answer.set_result(result)

        waiting = self.put(item, source, told)
        try:
            return await answer
        finally:
            waiting.give_up()

    async def call(self, function: Callable[[], S]) -> S:
        """Run something else in the thread of `judge`, between two batches."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    async def close(self) -> None:
        """Shed what waits and end the threads after what they have begun."""
        self._is_closed, self._is_open = True, False
        if self._timer is not None:
            self._timer.cancel()
        under_way = dict(self._under_way)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        left = [waiting for batch in under_way.values() for waiting in batch]
        left += [self._queue.pop() for _ in range(len(self._queue))]
        for waiting in (*left, *self._ready):
            self._drop(waiting)
        self._ready.clear()
        for threads in (self._hands, self._lanes, self._thread):
            await asyncio.to_thread(threads.shutdown)

    def _pump(self) -> None:
        """Begin whatever can begin now; called whenever something has changed."""
        self._soon = None
        if self._is_open:
            self._begin_preparing()
            self._begin_batches()

    def _begin_preparing(self) -> None:
        while self._queue and self._free_hands:
            room = self._ahead - self._preparing - len(self._ready)
            chunk: list[Waiting[T, R]] = []
            while self._queue and len(chunk) < min(room, self._chunk):
                waiting = self._queue.pop()
                if not waiting.is_done:  # whoever asked may have gone meanwhile
                    chunk.append(waiting)
            if not chunk:
                return
            self._free_hands -= 1
            self._preparing += len(chunk)
            self._begin(self._prepare(chunk), chunk)

    def _begin_batches(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._ready and self._free_lanes and self._free_batches:
            wait_s = self._ready[0].since + self._max_age_s - now
            if len(self._ready) < self._max_batch and wait_s > 0:
                self._wake_in(wait_s)
                return
            count = min(self._max_batch, len(self._ready))
            batch = [self._ready.popleft() for _ in range(count)]
            batch = [w for w in batch if not w.is_done]
            if batch:
                self._free_lanes -= 1
                self._free_batches -= 1
                self.batches += 1
                self._begin(self._answer(batch), batch)
        # Batches make room for more to be prepared.
        self._begin_preparing()

    def _begin(self, work: Coroutine[Any, Any, None], items: list[Waiting[T, R]]) -> None:
        task = asyncio.create_task(work)
        self._under_way[task] = items
        task.add_done_callback(lambda done: self._under_way.pop(done, None))

    def _wake_in(self, wait_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._pump)

    async def _prepare(self, chunk: list[Waiting[T, R]]) -> None:
        loop = asyncio.get_running_loop()
        work = partial(_each, self._stages.prepare, [w.item for w in chunk])
        try:
            results = await loop.run_in_executor(self._hands, work)
        finally:
            self._free_hands += 1
            self._preparing -= len(chunk)
        for waiting, result in zip(chunk, results, strict=True):
            if isinstance(result, _Failed):
                _fail([waiting], result.reason)
            else:
                waiting.prepared = result
                self._ready.append(waiting)
        self._pump()

    async def _answer(self, batch: list[Waiting[T, R]]) -> None:
        try:
            results = await self._through(batch)
        except Exception as exc:  # noqa: BLE001 - handed to those who asked; the next batch may do
            _fail(batch, exc)
            return
        finally:
            self._free_batches += 1
            self._pump()
        for waiting, result in zip(batch, results, strict=True):
            waiting.tell(result)

    async def _through(self, batch: list[Waiting[T, R]]) -> Sequence[R]:
        loop = asyncio.get_running_loop()
        try:
            prepared = [w.prepared for w in batch]
            inferred = await loop.run_in_executor(self._lanes, self._stages.infer, prepared)
        finally:
            # The lane takes the next batch while this one is judged.
            self._free_lanes += 1
            self._pump()
        _check(batch, inferred)
        items = [w.item for w in batch]
        results = await loop.run_in_executor(self._thread, self._stages.judge, items, inferred)
        _check(batch, results)
        return results

    def _drop(self, waiting: Waiting[T, R]) -> None:
        if not waiting.is_done:
            self.shed += 1
            waiting.tell(Shed("newer questions went first"))


@dataclass(frozen=True, slots=True)
class _Failed:
    reason: Exception


def _each(function: Callable[[T], P], items: Sequence[T]) -> list[P | _Failed]:
    """One failure must not cost the others their answer."""
    results: list[P | _Failed] = []
    for item in items:
        try:
            results.append(function(item))
        except Exception as exc:  # noqa: BLE001 - handed to whoever asked
            results.append(_Failed(exc))
    return results


def _check(batch: Sequence[object], results: Sequence[object]) -> None:
    if len(results) != len(batch):
        raise ValueError(f"{len(results)} results for {len(batch)} items")


def _fail(batch: Sequence[Waiting[T, R]], exc: Exception) -> None:
    for waiting in batch:
        waiting.tell(exc)
