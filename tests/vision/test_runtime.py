"""The inference port: what must hold for every runtime."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from vision.runtime import _take, has_vnni

FIRST_INFERENCES_MEET = """
    import faulthandler, sys, threading
    import numpy as np, onnx
    from onnx import TensorProto, helper
    from pathlib import Path
    from vision.runtime import load_network

    faulthandler.dump_traceback_later(30, exit=True)
    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value("x")], [value("y")])
    path = Path(sys.argv[1])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    networks = [load_network(path, "openvino") for _ in range(2)]
    sys.setswitchinterval(1e-6)
    start = threading.Barrier(2)

    def first(network):
        start.wait()
        network.run(np.zeros((1, 8), np.float32))

    threads = [threading.Thread(target=first, args=(n,)) for n in networks]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
"""


def test_threads_and_processes_may_all_begin_at_once(tmp_path):
    # Without the guard more than half of the attempts never end, and every tenth loses its cache file.
    pytest.importorskip("openvino")
    attempts = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(FIRST_INFERENCES_MEET), str(tmp_path / f"{n}.onnx")],
            stderr=subprocess.PIPE,
            env={**os.environ, "VEILCAST_CACHE": str(tmp_path / "cache")},
        )
        for n in range(4)
    ]
    for attempt in attempts:
        _, errors = attempt.communicate(timeout=120)
        assert attempt.returncode == 0, errors.decode()


def test_a_lock_that_another_process_never_lets_go_of_is_not_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "lock"
    with path.open("w") as held, path.open("w") as ours:
        fcntl.flock(held, fcntl.LOCK_EX)
        _take(ours, 0.0)
    assert "not waiting" in caplog.text


def test_a_lock_that_is_free_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with path.open("w") as ours, path.open("w") as other:
        _take(ours, 0.0)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("processor : 0\nflags\t\t: fpu avx2 avx512f avx512_vnni\n", True),
        ("flags\t\t: fpu avx2 avx_vnni\n", True),
        ("flags\t\t: fpu avx2 avx512f\n", False),
        ("processor\t: 0\nFeatures\t: fp asimd asimddp\n", False),
    ],
)
def test_vnni_is_told_by_the_processors_flags(tmp_path: Path, text: str, has: bool) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert has_vnni(tmp_path / "cpuinfo") is has


def test_where_nothing_is_known_of_the_processor_there_is_no_vnni(tmp_path: Path) -> None:
    assert not has_vnni(tmp_path / "missing")
