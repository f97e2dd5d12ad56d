"""Batches by size and by age; stages that overlap; turns; shedding; failures."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from hub.batcher import Batcher, Shed


class Doubling:
    """Doubles numbers, and adds 13 to nothing. Waits in a stage where the test closes its gate."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.prepared: list[int] = []
        self.threads: dict[str, set[str]] = {"prepare": set(), "infer": set(), "judge": set()}
        self.inferring = threading.Semaphore(0)
        self.judging = threading.Semaphore(0)
        self.infer_gate, self.judge_gate = threading.Event(), threading.Event()
        self.infer_gate.set()
        self.judge_gate.set()

    def prepare(self, item: int) -> int:
        self._note("prepare")
        if item == 14:
            raise RuntimeError("no picture")
        self.prepared.append(item)
        return item

    def infer(self, prepared: Sequence[int]) -> list[int]:
        self._note("infer")
        self.batches.append(list(prepared))
        self.inferring.release()
        assert self.infer_gate.wait(60)
        if 13 in prepared:
            raise RuntimeError("bad luck")
        return [] if 15 in prepared else [2 * i for i in prepared]

    def judge(self, items: Sequence[int], inferred: Sequence[int]) -> list[int]:
        self._note("judge")
        self.judging.release()
        assert self.judge_gate.wait(60)
        assert [2 * i for i in items] == list(inferred)
        return list(inferred)

    def _note(self, stage: str) -> None:
        self.threads[stage].add(threading.current_thread().name.split("_")[0])


def batcher_of(
    stages: Doubling, max_batch: int = 1, max_age_s: float = 0.0, capacity: int = 16, **more: int
) -> Batcher[int, int, int, int]:
    batcher = Batcher(stages, max_batch, max_age_s, capacity, **more)
    batcher.start()
    return batcher


async def acquired(semaphore: threading.Semaphore) -> None:
    assert await asyncio.to_thread(semaphore.acquire, True, 60)


async def until_idle() -> None:
    """Let the event loop and the threads that prepare do what they can."""
    for _ in range(20):
        await asyncio.sleep(0.005)


async def test_items_are_gathered_and_answered_in_order() -> None:
    stages = Doubling()
    batcher = batcher_of(stages, max_batch=4, max_age_s=60.0)
    answers = await asyncio.gather(*(batcher.submit(i) for i in range(8)))
    await batcher.close()
    assert answers == [2 * i for i in range(8)]
    assert stages.batches == [[0, 1, 2, 3], [4, 5, 6, 7]]


async def test_a_lonely_item_does_not_wait_for_company_for_ever() -> None:
    batcher = batcher_of(Doubling(), max_batch=100, max_age_s=0.01, capacity=100)
    assert await asyncio.wait_for(batcher.submit(21), 60) == 42
    await batcher.close()


async def test_each_stage_has_threads_of_its_own() -> None:
    stages = Doubling()
    batcher = batcher_of(stages, hands=2)
    await asyncio.gather(*(batcher.submit(i) for i in range(4)))
    called_in = await batcher.call(lambda: threading.current_thread().name.split("_")[0])
    await batcher.close()
    assert stages.threads == {"prepare": {"decode"}, "infer": {"inference"}, "judge": {"judge"}}
    assert called_in == "judge"


async def test_while_a_batch_is_computed_the_next_is_prepared_and_the_last_judged() -> None:
    stages = Doubling()
    stages.judge_gate.clear()
    batcher = batcher_of(stages)
    tasks = [asyncio.create_task(batcher.submit(i)) for i in range(3)]
    await acquired(stages.judging)  # of 0
    for _ in range(2):  # of 0 and 1
        await acquired(stages.inferring)
    await until_idle()
    assert stages.prepared == [0, 1, 2]
    stages.judge_gate.set()
    assert await asyncio.gather(*tasks) == [0, 2, 4]
    await batcher.close()


async def test_where_judging_is_slow_computing_waits_for_it() -> None:
    stages = Doubling()
    stages.judge_gate.clear()
    batcher = batcher_of(stages)
    tasks = [asyncio.create_task(batcher.submit(i)) for i in range(12)]
    await until_idle()
    assert stages.batches == [[0], [1]], "what is computed and not judged would grow without a bound"
    stages.judge_gate.set()
    assert await asyncio.gather(*tasks) == [2 * i for i in range(12)]
    await batcher.close()


async def test_a_batch_is_put_together_when_it_can_go_and_no_sooner() -> None:
    stages = Doubling()
    stages.infer_gate.clear()
    batcher = batcher_of(stages, max_batch=4)
    first = asyncio.create_task(batcher.submit(0))
    await acquired(stages.inferring)
    later = []
    for i in (1, 2, 3):
        later.append(asyncio.create_task(batcher.submit(i)))
        await until_idle()
    stages.infer_gate.set()
    await asyncio.gather(first, *later)
    await batcher.close()
    assert stages.batches == [[0], [1, 2, 3]]


async def test_several_lanes_compute_at_once() -> None:
    stages = Doubling()
    stages.infer_gate.clear()
    batcher = batcher_of(stages, lanes=3)
    tasks = [asyncio.create_task(batcher.submit(i)) for i in range(5)]
    for _ in range(3):
        await acquired(stages.inferring)
    await until_idle()
    assert len(stages.batches) == 3
    stages.infer_gate.set()
    assert await asyncio.gather(*tasks) == [0, 2, 4, 6, 8]
    await batcher.close()


async def test_a_source_that_asks_much_does_not_hold_up_the_others() -> None:
    stages = Doubling()
    stages.infer_gate.clear()
    batcher = batcher_of(stages, capacity=32)
    tasks = [asyncio.create_task(batcher.submit(i, "greedy")) for i in range(9)]
    await acquired(stages.inferring)
    await until_idle()  # 0 is computed, 1 is prepared
    tasks.append(asyncio.create_task(batcher.submit(100, "modest")))
    await until_idle()
    stages.infer_gate.set()
    await asyncio.gather(*tasks)
    await batcher.close()
    order = [item for batch in stages.batches for item in batch]
    assert order.index(100) <= 3


async def test_when_full_the_oldest_that_waits_is_shed() -> None:
    stages = Doubling()
    stages.infer_gate.clear()
    batcher = batcher_of(stages, capacity=3)
    tasks = []
    for i in range(6):
        tasks.append(asyncio.create_task(batcher.submit(i)))
        await until_idle()
    stages.infer_gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    await batcher.close()
    assert results[:2] == [0, 2], "one was under way, one prepared"
    assert [isinstance(r, Shed) for r in results[2:]] == [True, True, False, False]
    assert batcher.shed == 2


async def test_whoever_has_gone_is_not_computed() -> None:
    stages = Doubling()
    stages.infer_gate.clear()
    batcher = batcher_of(stages)
    tasks = [asyncio.create_task(batcher.submit(i)) for i in range(4)]
    await acquired(stages.inferring)
    await until_idle()
    tasks[1].cancel()  # prepared
    tasks[2].cancel()  # waiting
    stages.infer_gate.set()
    assert await asyncio.gather(tasks[0], tasks[3]) == [0, 6]
    await batcher.close()
    assert stages.batches == [[0], [3]]


async def test_a_batch_that_fails_fails_alone() -> None:
    batcher = batcher_of(Doubling())
    with pytest.raises(RuntimeError, match="bad luck"):
        await batcher.submit(13)
    assert await batcher.submit(1) == 2
    await batcher.close()


async def test_an_item_that_cannot_be_prepared_fails_alone() -> None:
    batcher = batcher_of(Doubling(), max_batch=3, max_age_s=0.01)
    results = await asyncio.gather(*(batcher.submit(i) for i in (1, 14, 2)), return_exceptions=True)
    await batcher.close()
    assert results[::2] == [2, 4]
    assert isinstance(results[1], RuntimeError)


async def test_a_wrong_number_of_results_fails_those_who_asked_and_nobody_else() -> None:
    batcher = batcher_of(Doubling())
    with pytest.raises(ValueError, match="0 results for 1 items"):
        await asyncio.wait_for(batcher.submit(15), 60)
    assert await asyncio.wait_for(batcher.submit(1), 60) == 2
    await batcher.close()


async def test_after_closing_everything_is_shed_at_once() -> None:
    batcher = batcher_of(Doubling())
    await batcher.close()
    with pytest.raises(Shed):
        await asyncio.wait_for(batcher.submit(1), 60)


async def test_closing_sheds_what_waits_in_every_stage() -> None:
    stages = Doubling()
    stages.infer_gate.clear()
    batcher = batcher_of(stages)
    tasks = [asyncio.create_task(batcher.submit(i)) for i in range(4)]
    await acquired(stages.inferring)
    closing = asyncio.create_task(batcher.close())
    await until_idle()
    stages.infer_gate.set()
    await closing
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)
    assert all(isinstance(r, Shed) for r in results)


async def test_closing_at_once_sheds_what_was_just_begun() -> None:
    batcher = batcher_of(Doubling(), max_batch=8, max_age_s=60.0)
    task = asyncio.create_task(batcher.submit(1))
    await asyncio.sleep(0)
    await batcher.close()
    with pytest.raises(Shed):
        await asyncio.wait_for(task, 60)
