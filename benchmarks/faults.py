"""Does a face slip through when things break? Leaks under fault, recovery, and whether guards are missed.

Three parts: a node in virtual time lives through every scenario of `tests.faults.scenarios`; the node
with one guard removed must be noticed (`tests.faults.mutants`); real processes under real faults
(`tests.faults.real`, not in the quick version). What each part injects stands in docs/faults.md.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tests.faults.campaign import WORKERS, live_through
from tests.faults.hunt import caught
from tests.faults.mutants import MUTANTS, Mutant
from tests.faults.real import RealOutcome, run_all
from tests.faults.scenarios import SCENARIOS
from tests.faults.simulation import Outcome

FACE_FRAMES = 3_000_000
PROGRESS_EVERY_S = 10.0
QUICK_SCENARIOS = tuple(SCENARIOS)[::3]
QUICK_MUTANTS = 6
NEVER_S = float("inf")


@dataclass(slots=True)
class Total:
    """The sum over runs of the simulation."""

    runs: int = 0
    face_frames: int = 0
    shown: int = 0
    uncounted: int = 0
    recovery_s: float = 0.0
    slowest: str = ""
    leaks: list[str] = field(default_factory=list)
    """One line each: enough to live through it again."""
    harness_faults: list[str] = field(default_factory=list)
    face_frames_by_scenario: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        tally, label = outcome.tally, f"{outcome.scenario}, seed {outcome.seed}"
        self.runs += 1
        self.face_frames += tally.face_frames
        self.shown += tally.shown
        self.uncounted += tally.uncounted
        self.face_frames_by_scenario[outcome.scenario] += tally.face_frames
        self.leaks += [f"{label}: frame {leak.seq}, {leak.kind}" for leak in tally.leaks]
        self.harness_faults += [f"{label}: {fault}" for fault in tally.faults]
        took_s = NEVER_S if not outcome.has_recovered else outcome.recovered_in or 0.0
        if took_s > self.recovery_s:
            self.recovery_s, self.slowest = took_s, label


def measure(quick: bool = False) -> dict[str, Any]:
    """Live through everything, then hunt the mutants."""
    total = _simulate(QUICK_SCENARIOS, 1, 0) if quick else _simulate(tuple(SCENARIOS), 2, FACE_FRAMES)
    verdicts = _hunt(MUTANTS[:: len(MUTANTS) // QUICK_MUTANTS] if quick else MUTANTS)
    real = [] if quick else run_all(lambda line: print(f"  {line}", file=sys.stderr))
    recovery_s = max([total.recovery_s, *(_recovery(r) for r in real)])
    return {
        "face_frames": total.face_frames + sum(r.face_frames for r in real),
        "leaks": len(total.leaks) + sum(r.leaks for r in real),
        "recovery_s_max": round(recovery_s, 2) if recovery_s < NEVER_S else None,
        "mutants": len(verdicts),
        "mutants_caught": sum(v is not None for v in verdicts.values()),
        "mutants_not_caught": [name for name, verdict in verdicts.items() if verdict is None],
        "simulated": {
            "face_frames": total.face_frames,
            "runs": total.runs,
            "scenarios": len(total.face_frames_by_scenario),
            "shown_face_frames": total.shown,
            "uncounted_face_frames": total.uncounted,
            "leaks": total.leaks,
            "harness_faults": total.harness_faults,
            "recovery_s_max": round(total.recovery_s, 2) if total.recovery_s < NEVER_S else None,
            "slowest_recovery": total.slowest,
        },
        "real": {
            r.name: {"face_frames": r.face_frames, "leaks": r.leaks, "recovered_in_s": r.recovered_in_s}
            for r in real
        },
    }


def _recovery(outcome: RealOutcome) -> float:
    """0 where there is nothing to recover from."""
    return outcome.recovered_in_s or 0.0


def _simulate(scenarios: tuple[str, ...], seeds_at_once: int, face_frames: int) -> Total:
    """So many seeds of every scenario, and again until there are enough face-frames."""
    total, seed, began = Total(), 1, time.monotonic()
    while total.runs == 0 or total.face_frames < face_frames:
        seeds = range(seed, seed + seeds_at_once)
        _add_all(total, live_through((name, s) for s in seeds for name in scenarios), face_frames, began)
        seed = seeds.stop
    return total


def _add_all(total: Total, outcomes: Iterable[Outcome], wanted: int, began: float) -> None:
    told_at = time.monotonic()
    for outcome in outcomes:
        total.add(outcome)
        for leak in outcome.tally.leaks[:3]:
            print(f"  LEAK {outcome.scenario}, seed {outcome.seed}: {leak}", file=sys.stderr)
        now = time.monotonic()
        if now - told_at >= PROGRESS_EVERY_S:
            told_at = now
            rate = total.face_frames / (now - began)
            print(
                f"  {total.face_frames:,} of {max(wanted, total.face_frames):,} face-frames, {rate:,.0f}/s, "
                f"{len(total.leaks)} leaks, {total.runs} runs",
                file=sys.stderr,
            )


def _hunt(mutants: Iterable[Mutant]) -> dict[str, str | None]:
    """What gave each mutant away; each in a process of its own, as many at once as there are cores."""
    verdicts: dict[str, str | None] = {}
    chosen = list(mutants)
    with ThreadPoolExecutor(WORKERS) as pool:
        for mutant, verdict in zip(chosen, pool.map(caught, chosen), strict=True):
            verdicts[mutant.name] = verdict
            print(f"  without a guard, {mutant.name}: {verdict or 'NOT CAUGHT'}", file=sys.stderr)
    return verdicts
