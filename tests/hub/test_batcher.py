"""Batches by size and by age; shedding; failures."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from hub.batcher import Batcher, Shed


def doubled(items: Sequence[int]) -> list[int]:
    return [2 * i for i in items]


async def test_items_are_gathered_and_answered_in_order() -> None:
    batches: list[list[int]] = []

    def run(items: Sequence[int]) -> list[int]:
        batches.append(list(items))
        return doubled(items)

    batcher = Batcher(run, max_batch=4, max_age_s=0.05, capacity=16)
    batcher.start()
    answers = await asyncio.gather(*(batcher.submit(i) for i in range(8)))
    await batcher.close()
    assert answers == [2 * i for i in range(8)]
    assert batches == [[0, 1, 2, 3], [4, 5, 6, 7]]


async def test_a_lonely_item_does_not_wait_for_company_for_ever() -> None:
    batcher = Batcher(doubled, max_batch=100, max_age_s=0.01, capacity=100)
    batcher.start()
    assert await asyncio.wait_for(batcher.submit(21), 5) == 42
    await batcher.close()


async def test_when_full_the_oldest_is_shed() -> None:
    gate = threading.Event()

    def run(items: Sequence[int]) -> list[int]:
        gate.wait(5)
        return doubled(items)

    batcher = Batcher(run, max_batch=1, max_age_s=0.0, capacity=2)
    batcher.start()
    tasks = []
    for i in range(5):
        tasks.append(asyncio.create_task(batcher.submit(i)))
        await asyncio.sleep(0.01)
    gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    await batcher.close()
    assert results[0] == 0, "it was under way already"
    assert [isinstance(r, Shed) for r in results[1:]] == [True, True, False, False]
    assert batcher.shed == 2


async def test_a_batch_that_fails_fails_alone() -> None:
    def run(items: Sequence[int]) -> list[int]:
        if 13 in items:
            raise RuntimeError("bad luck")
        return doubled(items)

    batcher = Batcher(run, max_batch=1, max_age_s=0.0, capacity=4)
    batcher.start()
    with pytest.raises(RuntimeError, match="bad luck"):
        await batcher.submit(13)
    assert await batcher.submit(1) == 2
    await batcher.close()


async def test_a_wrong_number_of_results_fails_those_who_asked_and_nobody_else() -> None:
    def run(items: Sequence[int]) -> list[int]:
        return [] if 13 in items else doubled(items)

    batcher = Batcher(run, max_batch=1, max_age_s=0.0, capacity=4)
    batcher.start()
    with pytest.raises(ValueError, match="0 results for 1 items"):
        await asyncio.wait_for(batcher.submit(13), 5)
    assert await asyncio.wait_for(batcher.submit(1), 5) == 2
    await batcher.close()


async def test_after_closing_everything_is_shed_at_once() -> None:
    batcher = Batcher(doubled, max_batch=1, max_age_s=0.0, capacity=1)
    batcher.start()
    await batcher.close()
    with pytest.raises(Shed):
        await asyncio.wait_for(batcher.submit(1), 5)


async def test_closing_sheds_what_waits() -> None:
    batcher = Batcher(doubled, max_batch=8, max_age_s=60.0, capacity=8)
    batcher.start()
    task = asyncio.create_task(batcher.submit(1))
    await asyncio.sleep(0.01)
    await batcher.close()
    with pytest.raises(Shed):
        await task
