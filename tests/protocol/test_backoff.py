"""Pauses between attempts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.backoff import backoff_s


def test_the_ceiling_doubles_from_one_to_thirty_two_seconds() -> None:
    assert [backoff_s(n, 1.0) for n in range(7)] == [1, 2, 4, 8, 16, 32, 32]


def test_jitter_is_full() -> None:
    assert backoff_s(3, 0.0) == 0.0
    assert backoff_s(3, 0.5) == 4.0


@given(st.integers(0, 10**9), st.floats(0, 1))
def test_a_pause_is_never_longer_than_the_maximum(attempt: int, roll: float) -> None:
    assert 0.0 <= backoff_s(attempt, roll, first_s=0.5, max_s=8.0) <= 8.0


@pytest.mark.parametrize(("attempt", "roll"), [(-1, 0.5), (0, 1.5), (0, float("nan"))])
def test_a_mistake_of_the_caller_is_loud(attempt: int, roll: float) -> None:
    with pytest.raises(ValueError):
        backoff_s(attempt, roll)
