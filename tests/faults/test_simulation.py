"""Every fault, in virtual time: a hundred thousand face-frames, and none that nobody allowed."""

from __future__ import annotations

import pytest

from tests.faults.campaign import live_through
from tests.faults.scenarios import SCENARIOS, plot_of
from tests.faults.simulation import Outcome, run

pytestmark = pytest.mark.timeout(600)
SEED = 1
FACE_FRAMES = 100_000


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    return {o.scenario: o for o in live_through((name, SEED) for name in SCENARIOS)}


def test_no_face_leaks_under_any_fault(outcomes: dict[str, Outcome]) -> None:
    leaks = {name: o.tally.leaks[:3] for name, o in outcomes.items() if o.tally.leaks}
    faults = {name: o.tally.faults[:3] for name, o in outcomes.items() if o.tally.faults}
    assert not leaks
    assert not faults


def test_there_were_enough_faces_in_every_scenario(outcomes: dict[str, Outcome]) -> None:
    assert set(outcomes) == set(SCENARIOS)
    assert sum(o.tally.face_frames for o in outcomes.values()) >= FACE_FRAMES
    assert min(o.tally.face_frames for o in outcomes.values()) >= 1000


def test_those_who_agreed_were_shown(outcomes: dict[str, Outcome]) -> None:
    assert all(o.tally.shown > 0 for o in outcomes.values())
    assert sum(o.tally.shown for o in outcomes.values()) >= FACE_FRAMES / 10
    whole = sum(o.tally.frames - o.tally.fully_veiled for o in outcomes.values())
    assert whole >= 0.5 * sum(o.tally.frames for o in outcomes.values())


def test_few_faces_are_left_out_of_the_count(outcomes: dict[str, Outcome]) -> None:
    uncounted = sum(o.tally.uncounted for o in outcomes.values())
    assert uncounted < 0.05 * sum(o.tally.face_frames for o in outcomes.values())


def test_faces_were_veiled_before_anybody_had_seen_them(outcomes: dict[str, Outcome]) -> None:
    assert outcomes["newcomers_are_seen_late"].tally.backwards >= 10


def test_frames_left_after_the_shorter_look_back(outcomes: dict[str, Outcome]) -> None:
    tally = outcomes["somebody_comes_into_a_calm_scene"].tally
    assert tally.calm >= 0.5 * tally.frames
    assert tally.backwards >= 5


def test_the_people_who_agreed_are_shown_again_after_every_fault(outcomes: dict[str, Outcome]) -> None:
    assert all(o.has_recovered for o in outcomes.values())
    assert sum(o.recovered_in is not None for o in outcomes.values()) >= 10


def test_a_run_depends_on_nothing_but_its_scenario_and_seed() -> None:
    plots = [plot_of("the_hub_is_killed", 3) for _ in range(2)]
    for plot in plots:
        plot.duration_s = 6.0
    first, second = (run("the_hub_is_killed", plot, 3) for plot in plots)
    assert first == second
