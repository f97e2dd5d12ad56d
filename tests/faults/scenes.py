"""Plots of what the camera delivers and of what people do in front of it.

What a plot does to faces stays within what is promised: nobody is hidden from the detector for longer than
the node covers an unseen face, and nobody takes another's exact place within a blink.
"""

from __future__ import annotations

from tests.faults.simulation import Plot
from tests.faults.spans import FAULT_AT, Plotter, Rng, several, window
from tests.faults.world import COUPLE_S, PEOPLE, Span

# --- camera ---------------------------------------------------------------------------------


def calm(plot: Plot, rng: Rng) -> None:
    """Nothing goes wrong."""


def camera_doubles_frames(plot: Plot, rng: Rng) -> None:
    plot.camera.doubled = [window(rng, 4.0)]


def camera_reorders_frames(plot: Plot, rng: Rng) -> None:
    plot.camera.reordered = [window(rng, 4.0)]


def camera_hands_out_old_frames(plot: Plot, rng: Rng) -> None:
    """A buffer that was not taken in time comes again, while people walk."""
    plot.script.haste = 1.0
    plot.camera.stale = [(window(rng, 4.0), float(rng.uniform(0.4, 1.0)))]


def camera_freezes(plot: Plot, rng: Rng) -> None:
    plot.camera.frozen = several(rng, 4, (0.2, 0.6))


def camera_is_held_up(plot: Plot, rng: Rng) -> None:
    plot.camera.held_up = several(rng, 4, (0.1, 0.5))


def camera_is_held_up_while_faces_are_missed(plot: Plot, rng: Rng) -> None:
    """The frames come in a burst, and the first look after it sees half of the faces."""
    plot.camera.held_up = several(rng, 6, (0.3, 0.5))
    plot.sight.flicker = 0.5


def camera_is_held_up_while_people_walk(plot: Plot, rng: Rng) -> None:
    plot.camera.held_up = several(rng, 6, (0.3, 0.5))
    plot.script.haste = 1.0


def camera_is_lost_and_back(plot: Plot, rng: Rng) -> None:
    plot.camera.gone = [window(rng, 2.0)]
    plot.clears_at = plot.camera.gone[-1].until


def camera_clock_jumps(plot: Plot, rng: Rng) -> None:
    plot.camera.pts_jumps = [window(rng, 5.0)]


# --- the picture ---------------------------------------------------------------------------------


def cuts(plot: Plot, rng: Rng) -> None:
    plot.script.cuts = sorted(float(rng.uniform(a, a + 1.2)) for a in (3.0, 5.5, 8.0, 10.5, 13.0))


def cuts_while_analysis_is_slow(plot: Plot, rng: Rng) -> None:
    cuts(plot, rng)
    plot.script.moves_camera = True
    plot.analysis_s = (0.1, 0.2)


def people_come_and_go(plot: Plot, rng: Rng) -> None:
    for person in range(1, PEOPLE):
        first = float(rng.uniform(1.5, 4.0))
        spans = [Span(first, first + float(rng.uniform(1.5, 3.0)))]
        spans.append(Span(spans[0].until + float(rng.uniform(2.0, 3.0)), 99.0))
        plot.script.away[person] = [spans[0], Span(spans[1].since, spans[1].since + 1.6)]


def newcomers_are_seen_late(plot: Plot, rng: Rng) -> None:
    """People come and go, and the first looks at whoever appears miss them."""
    people_come_and_go(plot, rng)
    for person, spans in plot.script.away.items():
        plot.sight.misses[person] = [_at_first(rng, span.until) for span in spans]


def somebody_comes_into_a_calm_scene(plot: Plot, rng: Rng) -> None:
    """Two people stay and hardly move, one after another comes in for a while, and the first looks miss
    them."""
    plot.has_finder = True
    plot.duration_s = 24.0
    plot.script.still = set(range(PEOPLE))
    at = 0.0
    for person in range(2, PEOPLE):
        at += float(rng.uniform(3.4, 3.8))
        leaves_at = at + float(rng.uniform(0.6, 1.0))
        plot.script.away[person] = [Span(0.0, at), Span(leaves_at, 99.0)]
        plot.sight.misses[person] = [_at_first(rng, at)]


def _at_first(rng: Rng, since: float) -> Span:
    """One to three looks."""
    return Span(since, since + float(rng.uniform(0.02, 0.13)))


def people_cross(plot: Plot, rng: Rng) -> None:
    order = [int(p) for p in rng.permutation(PEOPLE)]
    plot.script.crossing = list(zip(order[::2], order[1::2], strict=True))


def people_cross_who_are_never_sure(plot: Plot, rng: Rng) -> None:
    """No detector is ever sure of the strangers among them."""
    people_cross(plot, rng)
    plot.sight.unsure = {person: [Span(0.0, 99.0)] for person in range(plot.consenting, PEOPLE)}


def people_cross_while_analysis_is_slow(plot: Plot, rng: Rng) -> None:
    people_cross(plot, rng)
    plot.analysis_slow = [(Span(0.0, 99.0), 0.15)]


def people_meet_in_a_row(plot: Plot, rng: Rng) -> None:
    """A stranger meets one who may be shown, who meets another one."""
    plot.consenting = 4
    plot.script.rows = [(4, 0, 1), (5, 2, 3)]
    plot.script.away = {person: [Span(0.0, 99.0)] for person in (6, 7)}


def _stand_still(plot: Plot) -> None:
    """Nobody moves, and the detector's boxes hardly do: a leap stands out."""
    plot.script.still = set(range(PEOPLE))
    plot.sight.jitter = 0.008


def _beside(rng: Rng) -> float:
    """Widths to the left or right: farther than anybody moves, near enough to be taken for the same face."""
    return float(rng.uniform(0.74, 0.82)) * (1 if rng.random() < 0.5 else -1)


def a_stranger_leaps_into_place(plot: Plot, rng: Rng) -> None:
    """One who may be shown is gone, and beside where they stood there is somebody else."""
    _stand_still(plot)
    at = FAULT_AT
    for gone, comer in ((0, 3), (1, 4), (2, 5)):
        at += float(rng.uniform(0.8, 1.6))
        beside = _beside(rng)
        plot.script.leaps.append((at, gone, comer, beside))


def somebody_joins_one_who_is_missed(plot: Plot, rng: Rng) -> None:
    """While no detector sees a face, another one is seen beside it."""
    _stand_still(plot)
    at = FAULT_AT
    for host, comer in ((3, 4), (5, 6), (7, 1)):
        at += float(rng.uniform(1.0, 1.6))
        beside = _beside(rng)
        plot.sight.misses[host] = [Span(at, at + 0.6)]
        plot.script.joins.append((at + 0.06, host, comer, beside))


def one_who_may_be_shown_leaps_into_place(plot: Plot, rng: Rng) -> None:
    """The other way round, while the release thread stands still: by the time the frames from before
    leave, whoever stands there now has been proven."""
    _stand_still(plot)
    plot.analysis_s = (0.1, 0.2)
    for at, gone, comer in ((6.0, 3, 0), (11.0, 4, 1)):
        beside = _beside(rng)
        leaps_at = at + float(rng.uniform(0.0, 0.5))
        plot.script.leaps.append((leaps_at, gone, comer, beside))
        plot.release_stalled.append(Span(leaps_at - 0.3, leaps_at + 0.9))


def two_swap_while_hidden(plot: Plot, rng: Rng) -> None:
    """Unseen for a while, two people take each other's exact place. The hub takes its time."""
    plot.hub.slow = [(Span(3.0, 99.0), 1.0)]
    at = FAULT_AT
    for a, b in ((0, 3), (1, 4), (2, 5)):
        at += 1.0
        hidden = Span(at, at + float(rng.uniform(0.6, 0.68)))
        for person in (a, b):
            plot.sight.misses.setdefault(person, []).append(hidden)
        plot.script.swaps.append(((hidden.since + hidden.until) / 2, a, b))


def two_swap_in_a_blink(plot: Plot, rng: Rng) -> None:
    """They take each other's exact place, unseen for less than arouses suspicion: only their looks change.
    The hub takes its time, so whoever has the other's lease would be seen for long."""
    plot.hub.slow = [(Span(3.0, 99.0), 1.0)]
    for number, (a, b) in enumerate(((0, 3), (1, 4), (2, 5))):
        at = FAULT_AT + 2.5 * number + float(rng.uniform(0.0, 1.0))
        for person in (a, b):
            plot.sight.misses[person] = [Span(at - 0.12, at + 0.12)]
        plot.script.swaps.append((at, a, b))


def two_swap_while_frames_wait(plot: Plot, rng: Rng) -> None:
    """The release thread stands still meanwhile: when the frames from before leave, whoever stands there
    now has been proven."""
    plot.analysis_s = (0.1, 0.2)
    for number, (a, b) in enumerate(((0, 3), (1, 4), (2, 5))):
        at = FAULT_AT + 3.0 * number + float(rng.uniform(0.0, 0.8))
        plot.release_stalled.append(Span(at - 0.3, at + 1.2))
        plot.script.swaps.append((at, a, b))


def two_swap_while_they_touch(plot: Plot, rng: Rng) -> None:
    """Where two overlap they take each other's place, unseen for less than arouses suspicion, and part.
    The hub takes its time, so whoever has the other's lease would be seen for long."""
    plot.script.couples = [(0, 3), (1, 4), (2, 5)]
    plot.script.away = {person: [Span(0.0, 99.0)] for person in (6, 7)}
    plot.hub.lease_s = [(Span(0.0, 99.0), 6.0)]
    plot.hub.slow = [(Span(3.0, 99.0), 1.0)]
    for number, (a, b) in enumerate(plot.script.couples):
        at = (1.5 + number) * COUPLE_S + float(rng.uniform(-0.1, 0.1))
        for person in (a, b):
            plot.sight.misses[person] = [Span(at - 0.15, at + 0.15)]
        plot.script.swaps.append((at, a, b))


def people_hurry_while_analysis_is_slow(plot: Plot, rng: Rng) -> None:
    plot.script.haste = 1.6
    plot.analysis_slow = [(Span(0.0, 99.0), 0.35)]


SCENES: tuple[Plotter, ...] = (
    calm, camera_doubles_frames, camera_reorders_frames, camera_hands_out_old_frames, camera_freezes,
    camera_is_held_up, camera_is_held_up_while_faces_are_missed, camera_is_held_up_while_people_walk,
    camera_is_lost_and_back, camera_clock_jumps, cuts, cuts_while_analysis_is_slow, people_come_and_go,
    newcomers_are_seen_late, somebody_comes_into_a_calm_scene,
    people_cross, people_cross_who_are_never_sure, people_cross_while_analysis_is_slow,
    people_meet_in_a_row, somebody_joins_one_who_is_missed, a_stranger_leaps_into_place,
    one_who_may_be_shown_leaps_into_place, two_swap_while_hidden, two_swap_in_a_blink,
    two_swap_while_frames_wait, two_swap_while_they_touch, people_hurry_while_analysis_is_slow,
)  # fmt: skip
