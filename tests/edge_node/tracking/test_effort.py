"""How many close looks there is time for."""

from __future__ import annotations

from edge_node.tracking.effort import LOOKS, LOOKS_BEHIND, MORE_AFTER, Effort


def looks_at(effort: Effort, *frames: int) -> int:
    return [effort.looks(seq) for seq in frames][-1]


def test_who_keeps_up_looks_as_often_as_possible() -> None:
    assert looks_at(Effort(), *range(1, 10)) == LOOKS[-1]


def test_a_skipped_frame_costs_looks() -> None:
    assert looks_at(Effort(), 1, 2, 4) == LOOKS[1]
    assert looks_at(Effort(), 1, 2, 4, 5, 7, 8, 10) == LOOKS[0]


def test_looks_come_back_after_a_row_without_a_skip() -> None:
    effort = Effort()
    assert looks_at(effort, 1, 3) == LOOKS[1]
    assert looks_at(effort, *range(4, 3 + MORE_AFTER)) == LOOKS[1]
    assert looks_at(effort, 3 + MORE_AFTER) == LOOKS[-1]


def test_who_falls_behind_in_any_case_does_not_look_away() -> None:
    assert looks_at(Effort(), *range(1, 60, 2)) == LOOKS_BEHIND
