"""Computing on a GPU: what is asked of ONNX Runtime, and what is said where there is none."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vision import runtime
from vision.errors import ModelError
from vision.runtime import CUDA, chosen_device, load_network


class FakeRuntime(ModuleType):
    """ONNX Runtime as it is with and without what CUDA needs."""

    def __init__(self, is_built: bool, works: bool) -> None:
        super().__init__("onnxruntime")
        self.__spec__ = SimpleNamespace()  # type: ignore[assignment]
        self.providers: list[Any] = []
        offered = [CUDA, "CPUExecutionProvider"] if is_built else ["CPUExecutionProvider"]
        self.get_available_providers = lambda: offered

        def open_session(path: str, options: object, providers: list[Any]) -> Any:
            self.providers = providers
            # Without its libraries it only prints a warning.
            return SimpleNamespace(
                get_providers=lambda: offered if works else ["CPUExecutionProvider"],
                get_inputs=lambda: [SimpleNamespace(name="x")],
                run=lambda names, inputs: [inputs["x"] + 1],
            )

        self.SessionOptions = SimpleNamespace
        self.InferenceSession = open_session


def installed(
    monkeypatch: pytest.MonkeyPatch, folder: Path, *, is_built: bool = True, works: bool = True
) -> FakeRuntime:
    fake = FakeRuntime(is_built, works)
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    monkeypatch.setattr(runtime, "NVIDIA_DRIVERS", (folder,))
    return fake


def test_a_gpu_is_taken_where_there_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    installed(monkeypatch, tmp_path)
    assert [chosen_device(c) for c in ("auto", "cuda", "cpu")] == ["cuda", "cuda", "cpu"]


def test_without_a_driver_or_the_right_runtime_the_processor_computes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed(monkeypatch, tmp_path / "gone")
    assert chosen_device("auto") == "cpu"
    installed(monkeypatch, tmp_path, is_built=False)
    assert chosen_device("auto") == "cpu"


def test_a_gpu_that_was_asked_for_and_is_not_there_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed(monkeypatch, tmp_path, is_built=False)
    with pytest.raises(ModelError, match="onnxruntime-gpu"):
        chosen_device("cuda")
    with pytest.raises(ModelError, match="onnxruntime-gpu"):
        load_network(tmp_path / "g.onnx", device="cuda")


def test_a_gpu_that_cannot_be_used_is_not_silently_replaced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed(monkeypatch, tmp_path, works=False)
    with pytest.raises(ModelError, match="cuDNN"):
        load_network(tmp_path / "g.onnx", device="cuda")


@pytest.mark.parametrize(("exact", "tf32"), [(True, "0"), (False, "1")])
def test_an_exact_network_computes_in_floats_on_a_gpu_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, exact: bool, tf32: str
) -> None:
    fake = installed(monkeypatch, tmp_path)
    network = load_network(tmp_path / "g.onnx", exact=exact, device="cuda")
    (provider,) = fake.providers
    assert provider[0] == CUDA
    assert provider[1]["use_tf32"] == tf32
    assert network.run(np.zeros(2))[0].tolist() == [1, 1]


def test_openvino_is_not_asked_for_a_gpu(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="onnxruntime"):
        load_network(tmp_path / "g.onnx", "openvino", device="cuda")
