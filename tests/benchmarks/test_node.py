"""What the node's benchmark reads from the kernel, and where it starts what. No node is started here."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

from benchmarks.node import Run, Sample, late_share, only_on, thread_seconds
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
        Sample(float(i), 25.0, fps, 25.0, 1.0, 50.0, 80.0, 100.0, 400.0, 250.0, 150.0)
        for i, fps in enumerate((9, 24, 25))
    ]
    assert Run(samples, {}, 0.0).middle("analysis_fps") == 24.0
