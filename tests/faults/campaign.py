"""Many runs of the simulation on all cores, for the test and the benchmark.

Owns processes and nothing else: what a run is stands in `tests.faults.simulation`.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed

import cv2

from tests.faults.scenarios import plot_of
from tests.faults.simulation import Outcome, run

WORKERS = 2


def live_through(runs: Iterable[tuple[str, int]]) -> Iterator[Outcome]:
    """The outcome of each (scenario, seed), in the order in which they end."""
    spawn = multiprocessing.get_context("spawn")  # a fork would inherit OpenCV's threads, half alive
    with ProcessPoolExecutor(WORKERS, mp_context=spawn, initializer=_prepare) as pool:
        for future in as_completed([pool.submit(_run, name, seed) for name, seed in runs]):
            yield future.result()


def _prepare() -> None:
    cv2.setNumThreads(1)


def _run(name: str, seed: int) -> Outcome:
    return run(name, plot_of(name, seed), seed)
