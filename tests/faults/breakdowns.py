"""Plots of parts that fail: detector, analysis, release, outputs, clocks, the line and the hub."""

from __future__ import annotations

from tests.faults.scenes import people_come_and_go
from tests.faults.simulation import Plot
from tests.faults.spans import FAULT_AT, Plotter, Rng, several, window
from tests.faults.world import PEOPLE, Span

# --- detector and analysis ---------------------------------------------------------------------------------


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


# --- outputs and parts ---------------------------------------------------------------------------------


def a_sink_fails(plot: Plot, rng: Rng) -> None:
    plot.sink_fails = [window(rng, 4.0)]


def the_veil_fails(plot: Plot, rng: Rng) -> None:
    plot.leases_fail = several(rng, 3, (0.1, 1.0))
    plot.clears_at = plot.leases_fail[-1].until


def the_wall_clock_steps(plot: Plot, rng: Rng) -> None:
    plot.wall_steps = [(6.0, -3600.0), (9.0, 7200.0), (12.0, -3600.0)]
    plot.hub.mute = [Span(6.0, 99.0)]


# --- line and hub ---------------------------------------------------------------------------------


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


BREAKDOWNS: tuple[Plotter, ...] = (
    detector_misses, detector_flickers, detector_is_unsure, detector_raises, detector_returns_nan_boxes,
    detector_returns_nan_scores, analysis_is_slow, analysis_stalls, release_stalls, a_sink_fails,
    the_veil_fails, the_wall_clock_steps, the_line_is_cut, the_line_is_slow, the_line_doubles_messages,
    the_hub_is_killed, the_hub_is_stopped, the_hub_is_slow, the_hub_falls_silent, leases_without_end,
    leases_of_no_length, the_hub_contradicts_itself, answers_for_another_track, answers_nobody_asked_for,
    answers_of_long_ago, vetoes_overtake_answers, revocations_overtake_answers, answers_of_another_session,
    consents_are_withdrawn,
)  # fmt: skip
