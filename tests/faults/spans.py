"""When a fault happens: spans of time drawn from a seed. Used by all plots."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.faults.simulation import Plot
from tests.faults.world import Span

Rng = np.random.Generator
Plotter = Callable[[Plot, Rng], None]
"""Makes things go wrong in a run: its name is the scenario's."""
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
