"""The faults, one plot each, with times and victims drawn from a seed: the list of all, and several at once.

People 0 to 2 consent in most plots; person 0 is left alone wherever recovery is measured.
"""

from __future__ import annotations

import numpy as np

from edge_node.privacy.veil import Style
from tests.faults.breakdowns import BREAKDOWNS
from tests.faults.scenes import SCENES
from tests.faults.simulation import Plot
from tests.faults.spans import Plotter, Rng


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

SCENARIOS: dict[str, Plotter] = {f.__name__: f for f in (*SCENES, *BREAKDOWNS, everything)}


def plot_of(name: str, seed: int) -> Plot:
    """The plot of a scenario. Every third seed also has the veil-only detector; even seeds have the two
    styles with soft edges in turn, odd ones plain ellipses, which cover less and are quick to paint."""
    style = Style.VEIL if seed % 4 == 0 else Style.SOLID
    plot = Plot(has_finder=seed % 3 == 0, style=style, is_soft=seed % 2 == 0)
    SCENARIOS[name](plot, np.random.default_rng([seed, *name.encode()]))
    return plot
