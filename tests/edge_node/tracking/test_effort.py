"""How much there is time to look at in a frame."""

from __future__ import annotations

from edge_node.tracking.effort import LATE_S, LOOKS, LOOKS_BEHIND, MORE_AFTER, EffortControl, Glance


def looks_at(control: EffortControl, *frames: int) -> int:
    return [control.for_frame(seq, 0.0, False, lambda: False).looks for seq in frames][-1]


LETTERS = {Glance.NOW: "g", Glance.IF_LOST: "?", Glance.NOT: "-"}


def glances(
    control: EffortControl,
    *frames: int,
    age_s: float = 2 * LATE_S,
    eventful: bool = False,
    calm: bool = False,
) -> str:
    """A letter for each frame: g where it is glanced at."""
    return "".join(LETTERS[control.for_frame(seq, age_s, eventful, lambda: calm).glance] for seq in frames)


def test_who_keeps_up_looks_as_often_as_possible() -> None:
    assert looks_at(EffortControl(), *range(1, 10)) == LOOKS[-1]


def test_a_skipped_frame_costs_looks() -> None:
    assert looks_at(EffortControl(), 1, 2, 4) == LOOKS[1]
    assert looks_at(EffortControl(), 1, 2, 4, 5, 7, 8, 10) == LOOKS[0]


def test_looks_come_back_after_a_row_without_a_skip() -> None:
    control = EffortControl()
    assert looks_at(control, 1, 3) == LOOKS[1]
    assert looks_at(control, *range(4, 3 + MORE_AFTER)) == LOOKS[1]
    assert looks_at(control, 3 + MORE_AFTER) == LOOKS[-1]


def test_who_falls_behind_in_any_case_does_not_look_away() -> None:
    assert looks_at(EffortControl(), *range(1, 60, 2)) == LOOKS_BEHIND


def test_of_frames_that_waited_every_other_is_glanced_at() -> None:
    assert glances(EffortControl(), 1, 2, 3, 4, 5) == "g-g-g"


def test_who_is_in_time_glances_at_all() -> None:
    assert glances(EffortControl(), 1, 2, 3, age_s=LATE_S / 2) == "ggg"


def test_where_much_happens_all_are_glanced_at() -> None:
    assert glances(EffortControl(), 1, 2, 3, eventful=True) == "ggg"


def test_after_a_gap_a_glance_is_due() -> None:
    assert glances(EffortControl(), 1, 3, 4, 6) == "gg-g"


def test_who_falls_behind_in_any_case_does_not_stop_to_glance() -> None:
    control = EffortControl()
    looks_at(control, *range(1, 60, 2))
    assert glances(control, 60, 61, 62) == "ggg"


def test_in_a_calm_scene_every_other_frame_is_glanced_at() -> None:
    assert glances(EffortControl(), 1, 2, 3, 4, age_s=0.0, calm=True) == "g?g?"
    assert glances(EffortControl(), 1, 2, 3, age_s=0.0, calm=True, eventful=True) == "ggg"
    assert glances(EffortControl(), 1, 3, 5, 6, age_s=0.0, calm=True) == "ggg?"


def test_a_frame_that_waited_is_not_glanced_at_late() -> None:
    assert glances(EffortControl(), 1, 2, 3, calm=True) == "g-g"
