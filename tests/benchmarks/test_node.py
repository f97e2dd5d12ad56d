"""What the node's benchmark reads from the kernel, and where it starts what. No node is started here."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from benchmarks.node import Run, Sample, _memory, by_minute, late_share, only_on, thread_seconds
from edge_node.bridge import name_thread

LIMIT_S = 5.0
"""Only a hang takes this long."""
SHOW_CORES = "import os; print(sorted(os.sched_getaffinity(0)))"


def test_what_is_started_meanwhile_is_pinned_and_the_benchmark_itself_is_not() -> None:
    before = os.sched_getaffinity(0)
    core = max(before)
    with only_on({core}):
        done = subprocess.run([sys.executable, "-S", "-c", SHOW_CORES], capture_output=True, text=True)
    assert done.stdout.strip() == str([core])
    assert os.sched_getaffinity(0) == before


def test_processor_time_is_told_by_the_names_of_threads() -> None:
    named, done = threading.Event(), threading.Event()

    def work() -> None:
        name_thread()
        named.set()
        done.wait(LIMIT_S)

    thread = threading.Thread(target=work, name="(odd) name")
    thread.start()
    assert named.wait(LIMIT_S)
    seconds = thread_seconds(os.getpid())
    done.set()
    thread.join(LIMIT_S)
    assert seconds["(odd) name"] >= 0.0
    assert len(seconds) >= 2


def test_only_frames_that_were_covered_count_as_pictures() -> None:
    covered, late = (f'veilcast_frames_released_total{{reason="{reason}"}}' for reason in ("covered", "late"))
    assert late_share({covered: 10.0}, {covered: 19.0, late: 1.0}) == 0.1
    assert late_share({}, {}) == 0.0


def test_a_run_is_told_by_its_middle_sample() -> None:
    samples = [
        Sample(float(i), 25.0, fps, 25.0, 1.0, 50.0, 80.0, 100.0, 400.0, 250.0, 150.0, 405.0)
        for i, fps in enumerate((9, 24, 25))
    ]
    assert Run(samples, {}, 0.0).middle("analysis_fps") == 24.0


def test_memory_grows_by_what_it_grows_after_the_first_minutes() -> None:
    """Fast at first, by 6 MB an hour after it, while single frames come and go."""
    samples = [
        Sample(at_s, 25.0, 25.0, 25.0, 1.0, 50.0, 80.0, 100.0, rss_mb, rss_mb - 150.0, 150.0, rss_mb + 5.0)
        for at_s in np.arange(10.0, 60 * 25.0, 10.0)
        for rss_mb in [400.0 + 20.0 * min(1.0, at_s / 240) + 6.0 * at_s / 3600 + 2.7 * (at_s % 50 == 0)]
    ]
    memory = _memory(Run(samples, {}, 0.0))
    assert memory["rss_mb_per_h"] == pytest.approx(6.0, abs=0.5)
    assert memory["rss_mb_per_h_lo"] <= memory["rss_mb_per_h"] <= memory["rss_mb_per_h_hi"]
    assert memory["warm_up_mb"] == pytest.approx(18.0, abs=3.0)
    assert memory["rss_mb"] == pytest.approx(430.0, abs=3.0)
    assert len(by_minute(samples)) == 25
