"""Turns of the sources, and what is given up."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.fair_queue import FairQueue


def filled(*items: str) -> FairQueue[str]:
    """The source of an item is its first letter."""
    queue: FairQueue[str] = FairQueue()
    for item in items:
        queue.push(item[0], item)
    return queue


def drained(queue: FairQueue[str]) -> list[str]:
    return [queue.pop() for _ in range(len(queue))]


def test_one_source_is_served_in_its_order() -> None:
    assert drained(filled("a1", "a2", "a3")) == ["a1", "a2", "a3"]


def test_sources_take_turns_however_much_one_of_them_asks() -> None:
    assert drained(filled("a1", "a2", "a3", "b1", "c1", "b2")) == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_what_is_given_up_is_the_oldest_of_whoever_has_most() -> None:
    queue = filled("b1", "a1", "a2", "a3", "b2")
    assert [queue.shed(), queue.shed()] == ["a1", "b1"]
    assert drained(queue) == ["b2", "a2", "a3"]


def test_among_equals_the_oldest_goes_first() -> None:
    queue = filled("a1", "b1", "c1")
    assert [queue.shed(), queue.shed(), queue.shed()] == ["a1", "b1", "c1"]


def test_nothing_can_be_taken_from_an_empty_queue() -> None:
    queue = filled("a1")
    queue.pop()
    with pytest.raises(IndexError):
        queue.pop()
    with pytest.raises(IndexError):
        queue.shed()


@given(st.lists(st.sampled_from(["push a", "push b", "push c", "pop", "shed"]), max_size=60))
def test_it_does_what_the_obvious_queue_does(steps: list[str]) -> None:
    queue: FairQueue[int] = FairQueue()
    plain: dict[str, deque[int]] = {}
    for number, step in enumerate(steps):
        if step.startswith("push"):
            queue.push(step[-1], number)
            plain.setdefault(step[-1], deque()).append(number)
        elif not plain:
            continue
        elif step == "pop":
            source = next(iter(plain))
            expected, rest = plain[source].popleft(), plain.pop(source)
            if rest:
                plain[source] = rest
            assert queue.pop() == expected
        else:
            item = queue.shed()
            longest = max(map(len, plain.values()))
            source = next(s for s, held in plain.items() if held[0] == item)
            assert len(plain[source]) == longest
            plain[source].popleft()
            if not plain[source]:
                del plain[source]
        assert len(queue) == sum(map(len, plain.values()))
