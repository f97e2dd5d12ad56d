"""The faults, one plot each, with times and victims drawn from a seed.

People 0 to 2 consent in most plots; person 0 is left alone wherever recovery is measured. What a plot
does to faces stays within what is promised: nobody is hidden from the detector for longer than the node
covers an unseen face, and nobody takes another's exact place within a blink.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edge_node.privacy.veil import Style
from tests.faults.simulation import Plot
from tests.faults.world import COUPLE_S, PEOPLE, Span

Rng = np.random.Generator
FAULT_AT = 5.0
"""By then the consenting people are shown."""


def window(rng: Rng, length_s: float, earliest: float = FAULT_AT, latest: float = 8.0) -> Span:
    since = float(rng.uniform(earliest, latest))
    return Span(since, since + length_s)


def several(rng: Rng, count: int, length_s: tuple[float, float], gap_s: float = 1.2) -> list[Span]:
    """Spans one after another, from FAULT_AT on."""
    spans, at = [], FAULT_AT
    for _ in range(count):
        at += float(rng.uniform(gap_s, gap_s * 1.5))
        length = float(rng.uniform(*length_s))
        spans.append(Span(at, at + length))
        at += length
    return spans


# --- camera -----------------------------------------------------------------------------------


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


# --- the picture ------------------------------------------------------------------------------


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


def a_stranger_leaps_into_place(plot: Plot, rng: Rng) -> None:
    """One who may be shown is gone, and beside where they stood there is somebody else."""
    plot.script.still = set(range(PEOPLE))
    plot.sight.jitter = 0.008
    at = FAULT_AT
    for gone, comer in ((0, 3), (1, 4), (2, 5)):
        at += float(rng.uniform(0.8, 1.6))
        beside = float(rng.uniform(0.74, 0.82)) * (1 if rng.random() < 0.5 else -1)
        plot.script.leaps.append((at, gone, comer, beside))


def somebody_joins_one_who_is_missed(plot: Plot, rng: Rng) -> None:
    """While no detector sees a face, another one is seen beside it."""
    plot.script.still = set(range(PEOPLE))
    plot.sight.jitter = 0.008
    at = FAULT_AT
    for host, comer in ((3, 4), (5, 6), (7, 1)):
        at += float(rng.uniform(1.0, 1.6))
        beside = float(rng.uniform(0.74, 0.82)) * (1 if rng.random() < 0.5 else -1)
        plot.sight.misses[host] = [Span(at, at + 0.6)]
        plot.script.joins.append((at + 0.06, host, comer, beside))


def one_who_may_be_shown_leaps_into_place(plot: Plot, rng: Rng) -> None:
    """The other way round, while the release thread stands still: by the time the frames from before
    leave, whoever stands there now has been proven."""
    plot.script.still = set(range(PEOPLE))
    plot.sight.jitter = 0.008
    plot.analysis_s = (0.1, 0.2)
    for at, gone, comer in ((6.0, 3, 0), (11.0, 4, 1)):
        beside = float(rng.uniform(0.74, 0.82)) * (1 if rng.random() < 0.5 else -1)
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


# --- detector and analysis --------------------------------------------------------------------


def detector_misses(plot: Plot, rng: Rng) -> None:
    plot.script.haste = 1.5
    for person in range(PEOPLE):
        plot.sight.misses[person] = several(rng, 5, (0.2, 0.7))


def detector_flickers(plot: Plot, rng: Rng) -> None:
    plot.sight.flicker = 0.15


def detector_is_unsure(plot: Plot, rng: Rng) -> None:
    for person in range(PEOPLE):
        plot.sight.unsure[person] = several(rng, 3, (0.3, 1.5))


def detector_raises(plot: Plot, rng: Rng) -> None:
    plot.sight.raises = several(rng, 3, (0.05, 1.5))
    plot.clears_at = plot.sight.raises[-1].until


def detector_returns_nan_boxes(plot: Plot, rng: Rng) -> None:
    plot.sight.nan_boxes = several(rng, 3, (0.05, 1.5))
    plot.clears_at = plot.sight.nan_boxes[-1].until


def detector_returns_nan_scores(plot: Plot, rng: Rng) -> None:
    plot.sight.nan_scores = several(rng, 3, (0.05, 2.5))
    plot.clears_at = plot.sight.nan_scores[-1].until


def analysis_is_slow(plot: Plot, rng: Rng) -> None:
    plot.analysis_slow = [(Span(0.0, 99.0), float(rng.uniform(0.1, 0.4)))]
    people_come_and_go(plot, rng)


def analysis_stalls(plot: Plot, rng: Rng) -> None:
    stalls = several(rng, 3, (0.02, 0.06))
    plot.analysis_slow = [(span, float(rng.uniform(0.5, 3.0))) for span in stalls]


def release_stalls(plot: Plot, rng: Rng) -> None:
    plot.release_stalled = [window(rng, float(rng.uniform(0.3, 3.0)))]
    plot.clears_at = plot.release_stalled[-1].until


# --- outputs and parts ------------------------------------------------------------------------


def a_sink_fails(plot: Plot, rng: Rng) -> None:
    plot.sink_fails = [window(rng, 4.0)]


def the_veil_fails(plot: Plot, rng: Rng) -> None:
    plot.leases_fail = several(rng, 3, (0.1, 1.0))
    plot.clears_at = plot.leases_fail[-1].until


def the_wall_clock_steps(plot: Plot, rng: Rng) -> None:
    plot.wall_steps = [(6.0, -3600.0), (9.0, 7200.0), (12.0, -3600.0)]
    plot.hub.mute = [Span(6.0, 99.0)]


# --- line and hub -----------------------------------------------------------------------------


def the_line_is_cut(plot: Plot, rng: Rng) -> None:
    plot.line.cut = [window(rng, float(rng.uniform(0.5, 8.0)))]
    plot.clears_at = plot.line.cut[-1].until
    plot.duration_s = 20.0


def the_line_is_slow(plot: Plot, rng: Rng) -> None:
    plot.line.slow = [(window(rng, 4.0), 2.5)]
    plot.clears_at = plot.line.slow[-1][0].until
    plot.hub.lease_s = [(Span(0, FAULT_AT), 4.0), (Span(FAULT_AT, 99), 8.0)]
    plot.duration_s = 20.0


def the_line_doubles_messages(plot: Plot, rng: Rng) -> None:
    plot.line.doubled = [window(rng, 6.0)]


def the_hub_is_killed(plot: Plot, rng: Rng) -> None:
    plot.hub.dead = [window(rng, float(rng.choice([0.3, 1.0, 5.0, 8.0])))]
    plot.clears_at = plot.hub.dead[-1].until
    plot.hub.lease_s = [(Span(0, 99), 10.0)]
    plot.duration_s = 20.0


def the_hub_is_stopped(plot: Plot, rng: Rng) -> None:
    plot.hub.stopped = [window(rng, float(rng.uniform(0.5, 5.0)))]
    plot.clears_at = plot.hub.stopped[-1].until
    plot.duration_s = 20.0


def the_hub_is_slow(plot: Plot, rng: Rng) -> None:
    plot.hub.slow = [(Span(FAULT_AT, 99.0), float(rng.uniform(2.1, 4.0)))]
    plot.hub.lease_s = [(Span(FAULT_AT, 99), 10.0)]


def the_hub_falls_silent(plot: Plot, rng: Rng) -> None:
    """Heartbeats go on, answers do not."""
    plot.hub.mute = [window(rng, 6.0)]
    plot.clears_at = plot.hub.mute[-1].until


def leases_without_end(plot: Plot, rng: Rng) -> None:
    """The hub allows a day, and then says no more."""
    plot.hub.lease_s = [(Span(0, 99), 86_400.0)]
    plot.hub.mute = [Span(4.0, 99.0)]
    plot.duration_s = 20.0


def leases_of_no_length(plot: Plot, rng: Rng) -> None:
    plot.hub.lease_s = [(Span(4.0, 99.0), 0.0)]


def the_hub_contradicts_itself(plot: Plot, rng: Rng) -> None:
    plot.hub.contradicts = several(rng, 2, (0.5, 2.0))
    plot.hub.replayed = [Span(FAULT_AT, 99.0)]


def answers_for_another_track(plot: Plot, rng: Rng) -> None:
    plot.hub.wrong_track = [window(rng, 6.0, 0.5, 4.0)]
    people_come_and_go(plot, rng)


def answers_nobody_asked_for(plot: Plot, rng: Rng) -> None:
    plot.hub.unasked = [window(rng, 6.0, 1.0, 4.0)]


def answers_of_long_ago(plot: Plot, rng: Rng) -> None:
    """Everything that was said is said again and again, while nothing new is."""
    plot.hub.replayed = [Span(4.0, 99.0)]
    plot.hub.mute = [Span(6.0, 99.0)]
    plot.hub.revoked = [(6.0 + float(rng.uniform(0, 2)), 1)]


def vetoes_overtake_answers(plot: Plot, rng: Rng) -> None:
    """Who was allowed a moment ago is not any more; the old answer arrives after the new one."""
    plot.hub.reordered = [Span(2.0, 99.0)]
    plot.hub.lease_s = [(Span(0, 99), 2.4)]
    plot.hub.contradicts = several(rng, 4, (0.8, 1.2), 1.5)


def revocations_overtake_answers(plot: Plot, rng: Rng) -> None:
    plot.hub.reordered = [Span(2.0, 99.0)]
    plot.hub.lease_s = [(Span(0, 99), 6.0)]
    for person in range(plot.consenting):
        for earliest in (4.0, 8.0, 12.0):
            at = float(rng.uniform(earliest, earliest + 1.5))
            plot.hub.revoked.append((at, person))
            plot.hub.granted_again.append((at + 1.2, person))


def answers_of_another_session(plot: Plot, rng: Rng) -> None:
    """A restarted hub repeats what its predecessor said, under the new session's name."""
    plot.hub.dead = several(rng, 4, (0.05, 0.1), 1.8)
    plot.hub.replayed = [Span(FAULT_AT, 99.0)]
    plot.hub.inherited = [Span(0.0, 99.0)]
    plot.hub.slow = [(Span(4.0, 99.0), 1.2)]
    plot.hub.lease_s = [(Span(4.0, 99), 2.4)]
    plot.duration_s = 18.0


def consents_are_withdrawn(plot: Plot, rng: Rng) -> None:
    for person in range(plot.consenting):
        at = float(rng.uniform(4, 12))
        plot.hub.revoked.append((at, person))
        plot.hub.granted_again.append((at + float(rng.uniform(0.2, 3.0)), person))
    plot.hub.revoked.append((float(rng.uniform(4, 12)), None))


# --- everything at once -----------------------------------------------------------------------


def everything(plot: Plot, rng: Rng) -> None:
    """Four faults at random, on top of each other."""
    names = [n for n in SCENARIOS if n not in ("everything", *ALONE)]
    for name in rng.choice(names, 4, replace=False):
        SCENARIOS[str(name)](plot, rng)
    if plot.script.crossing:
        plot.script.away.clear()  # one who vanishes is not to stand where another appears
    plot.clears_at = None


ALONE = (
    "a_stranger_leaps_into_place", "one_who_may_be_shown_leaps_into_place", "two_swap_while_hidden",
    "two_swap_in_a_blink", "two_swap_while_frames_wait", "two_swap_while_they_touch",
    "somebody_joins_one_who_is_missed", "people_meet_in_a_row", "camera_freezes",
    "camera_hands_out_old_frames",
)  # fmt: skip
"""Together with slow or frozen analysis, or with a camera whose clock jumps, these would ask for what nobody
can see."""

SCENARIOS: dict[str, Callable[[Plot, Rng], None]] = {
    f.__name__: f
    for f in (
        calm, camera_doubles_frames, camera_reorders_frames, camera_hands_out_old_frames, camera_freezes,
        camera_is_held_up,
        camera_is_held_up_while_faces_are_missed, camera_is_held_up_while_people_walk,
        camera_is_lost_and_back, camera_clock_jumps, cuts, cuts_while_analysis_is_slow, people_come_and_go,
        people_cross, people_cross_who_are_never_sure, people_cross_while_analysis_is_slow,
        people_meet_in_a_row, somebody_joins_one_who_is_missed,
        a_stranger_leaps_into_place, one_who_may_be_shown_leaps_into_place, two_swap_while_hidden,
        two_swap_in_a_blink, two_swap_while_frames_wait, two_swap_while_they_touch,
        people_hurry_while_analysis_is_slow,
        detector_misses, detector_flickers, detector_is_unsure, detector_raises,
        detector_returns_nan_boxes, detector_returns_nan_scores, analysis_is_slow, analysis_stalls,
        release_stalls, a_sink_fails, the_veil_fails, the_wall_clock_steps, the_line_is_cut,
        the_line_is_slow, the_line_doubles_messages, the_hub_is_killed, the_hub_is_stopped,
        the_hub_is_slow, the_hub_falls_silent, leases_without_end, leases_of_no_length,
        the_hub_contradicts_itself, answers_for_another_track, answers_nobody_asked_for,
        answers_of_long_ago, vetoes_overtake_answers, revocations_overtake_answers,
        answers_of_another_session,
        consents_are_withdrawn, everything,
    )
}  # fmt: skip


def plot_of(name: str, seed: int) -> Plot:
    """The plot of a scenario. Every third seed also has the veil-only detector; even seeds have the two
    styles with soft edges in turn, odd ones plain ellipses, which cover less and are quick to paint."""
    style = Style.VEIL if seed % 4 == 0 else Style.SOLID
    plot = Plot(has_finder=seed % 3 == 0, style=style, is_soft=seed % 2 == 0)
    SCENARIOS[name](plot, np.random.default_rng([seed, *name.encode()]))
    return plot
