"""Threads carry their names into the system; the process keeps its own."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from edge_node.bridge import Worker, name_thread

LIMIT_S = 5.0
"""Only a hang takes this long."""
COMM = "/proc/self/task/{}/comm"

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="threads have names on Linux only"
)


def system_name() -> str:
    return Path(COMM.format(threading.get_native_id())).read_text().strip()


def test_a_worker_is_called_by_its_name_and_so_are_the_threads_it_starts() -> None:
    names: list[str] = []
    done = threading.Event()

    def step() -> None:
        names.append(system_name())
        helper = threading.Thread(target=lambda: names.append(system_name()))
        helper.start()
        helper.join(LIMIT_S)
        done.set()

    worker = Worker("a-name-that-is-too-long", step, lambda exc: None)
    worker.start()
    assert done.wait(LIMIT_S)
    worker.stop()
    assert names[:2] == ["a-name-that-is-", "a-name-that-is-"]


def test_the_main_thread_keeps_the_name_of_the_process() -> None:
    before = system_name()
    name_thread()
    assert system_name() == before
