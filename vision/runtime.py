"""The inference port: an ONNX file in, arrays in and out. No other file imports an inference library.

OpenVINO on CPUs, ONNX Runtime where asked for or where OpenVINO is not installed, and on NVIDIA's GPUs (CUDA;
the hub's models only). Which is faster was measured, see docs/adr/0002-inference-runtime.md.
"""

from __future__ import annotations

import fcntl
import functools
import importlib.util
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from vision.errors import ModelError
from vision.model_store import cache_dir

log = logging.getLogger(__name__)

_LOADING = threading.Lock()
LOADING_TAKES_S = 60.0
"""Longer than compiling any of the networks takes on a Raspberry Pi."""
LOOK_AGAIN_S = 0.05
SMALL_THREADS = 1
"""For networks of a few milliseconds: a second thread saves them nothing and costs as much again (4 looks of
CenterFace: 10.7 ms of processor time on one thread, 15.0 on two; O-Net on 8 faces 4.4 and 7.8)."""
RuntimeName = Literal["auto", "openvino", "onnxruntime"]
DeviceName = Literal["cpu", "cuda"]
DeviceChoice = Literal["auto", "cpu", "cuda"]
CUDA = "CUDAExecutionProvider"
NVIDIA_DRIVERS = (Path("/proc/driver/nvidia"), Path("/dev/nvmap"))
"""Of cards, and of a Jetson."""
CPUINFO = Path("/proc/cpuinfo")
VNNI = {"avx512_vnni", "avx_vnni"}
NO_CUDA = (
    "there is no GPU to compute on: install NVIDIA's driver, CUDA, cuDNN and onnxruntime-gpu "
    '(in place of onnxruntime), or set [recognition] device = "cpu"'
)
Array = NDArray[Any]


class Network(Protocol):
    """A compiled network with one input. Not thread-safe: one thread owns it."""

    def run(self, batch: Array) -> list[Array]:
        """All outputs for one input batch, in the order of the graph. Valid until the next call."""
        ...

    def start(self, batch: Array) -> None:
        """Begin with a batch, which must not change until `result`, on another thread where the runtime can.
        Waits for one that was begun before and never asked for."""
        ...

    def result(self) -> list[Array]:
        """Wait for the batch that was begun; as `run`."""
        ...


def load_network(
    path: Path,
    runtime: RuntimeName = "auto",
    threads: int = 0,
    shape: tuple[int, ...] | None = None,
    exact: bool = True,
    device: DeviceName = "cpu",
) -> Network:
    """Compile an ONNX file. threads: 0 leaves it to the runtime. shape: fixes a dynamic input. exact: compute
    in float32 also where the processor or GPU has a faster, coarser number (bfloat16, TF32); int8 stays int8.

    Raises ModelError where the file, the runtime or the device cannot be used.
    """
    if device == "cuda":
        if runtime == "openvino":
            raise ModelError("OpenVINO does not compute on CUDA: use the runtime onnxruntime")
        if not has_cuda():
            raise ModelError(NO_CUDA)
        return _OnnxRuntime(path, threads, [_cuda_options(exact)])
    return _on_cpu(path, runtime, threads, shape, exact, 1)[0]


def load_twins(
    path: Path, runtime: RuntimeName, threads: int, shape: tuple[int, ...], exact: bool = True
) -> tuple[Network, Network]:
    """Two networks that can compute at once, with so many threads each. With OpenVINO they have their weights
    in common. exact, and ModelError: as `load_network`.
    """
    one, other = _on_cpu(path, runtime, threads, shape, exact, count=2)
    return one, other


def _on_cpu(
    path: Path, runtime: RuntimeName, threads: int, shape: tuple[int, ...] | None, exact: bool, count: int
) -> Sequence[Network]:
    if runtime == "auto":
        runtime = "openvino" if importlib.util.find_spec("openvino") else "onnxruntime"
    if importlib.util.find_spec(runtime) is None:
        raise ModelError(f"the runtime {runtime} is not installed: pip install {runtime}")
    if runtime == "openvino":
        return _openvino(path, threads, shape, exact, count)
    return [_OnnxRuntime(path, threads, ["CPUExecutionProvider"]) for _ in range(count)]


def threads_of(threads: int) -> int:
    """So many, or, where that is 0, one for each processor that this process may use."""
    return threads or len(os.sched_getaffinity(0))


def chosen_device(choice: DeviceChoice) -> DeviceName:
    """ "auto" takes a GPU where there is one. Raises ModelError for a GPU that is asked for and not there."""
    if choice == "cuda" and not has_cuda():
        raise ModelError(NO_CUDA)
    return "cuda" if choice != "cpu" and has_cuda() else "cpu"


def has_cuda() -> bool:
    """Whether the installed ONNX Runtime is the one for CUDA, on a machine with NVIDIA's driver."""
    if importlib.util.find_spec("onnxruntime") is None or not any(p.exists() for p in NVIDIA_DRIVERS):
        return False
    import onnxruntime as ort

    return CUDA in ort.get_available_providers()


def _cuda_options(exact: bool) -> tuple[str, dict[str, str]]:
    """Convolutions by search at the first batch of each size; TF32 only where exactness is not asked for."""
    return CUDA, {"cudnn_conv_algo_search": "EXHAUSTIVE", "use_tf32": "0" if exact else "1"}


@functools.cache
def has_vnni(cpuinfo: Path = CPUINFO) -> bool:
    """Whether the processor adds products of whole numbers in one instruction, as networks in eight bits want
    it. Known of Linux on x86 only: elsewhere False, and what depends on it computes in floats."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return False
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return not VNNI.isdisjoint(flags)


def has_native_half() -> bool:
    """Whether the runtime computes in bfloat16 or half precision on this processor."""
    if importlib.util.find_spec("openvino") is None:
        return False
    import openvino as ov

    with _alone():
        return _half_of(ov.Core()) is not None


def _half_of(core: Any) -> str | None:
    """The coarser number that the processor computes in, by OpenVINO's name for it."""
    abilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return next((hint for ability, hint in (("FP16", "f16"), ("BF16", "bf16")) if ability in abilities), None)


@contextmanager
def _alone() -> Iterator[None]:
    """Loading networks is for one thread of one process at a time.

    Processes that fill one cache at once take each other's files away. And OpenVINO fills its table of
    number types at its first use, letting go of the interpreter's lock meanwhile: two threads whose first
    inferences meet would wait for each other for ever.
    """
    cache = cache_dir() / "openvino"
    cache.mkdir(parents=True, exist_ok=True)
    with _LOADING, (cache / "lock").open("w") as lock:
        _take(lock, LOADING_TAKES_S)
        yield


def _take(lock: IO[str], patience_s: float) -> None:
    """Lock a file; go on without where another process holds it for too long: it may be stopped for good."""
    give_up_at = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= give_up_at:
                log.warning("another process has held %s for %.0f s: not waiting", lock.name, patience_s)
                return
            time.sleep(LOOK_AGAIN_S)


def _openvino(
    path: Path, threads: int, shape: tuple[int, ...] | None, exact: bool, count: int
) -> list[_OpenVino]:
    """One compiled network, with a request for each of those who use it."""
    import openvino as ov

    core = ov.Core()
    options: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        # Some processors would compute in bfloat16: thresholds are calibrated on floats.
        "INFERENCE_PRECISION_HINT": "f32" if exact else _half_of(core) or "f32",
        "CACHE_DIR": str(cache_dir() / "openvino"),
        # Pinned, the networks of one thread would all wait for the same core.
        "ENABLE_CPU_PINNING": False,
    }
    if threads:
        options["INFERENCE_NUM_THREADS"] = threads * count
    if count > 1:
        options["NUM_STREAMS"] = count
    try:
        with _alone():
            ov.Type.f32.to_dtype()
            model = core.read_model(str(path))
            if shape is not None:
                model.reshape(list(shape))
            compiled = core.compile_model(model, "CPU", options)
            return [_OpenVino(compiled.create_infer_request(), len(model.outputs)) for _ in range(count)]
    except RuntimeError as exc:
        raise ModelError(f"OpenVINO cannot load {path}: {str(exc).splitlines()[0]}") from exc


class _OpenVino:
    def __init__(self, request: Any, outputs: int) -> None:
        self._request = request
        self._outputs = outputs

    def run(self, batch: Array) -> list[Array]:
        self._request.infer([batch], share_inputs=True)
        return self._read()

    def start(self, batch: Array) -> None:
        self._request.wait()
        self._request.start_async([batch], share_inputs=True)

    def result(self) -> list[Array]:
        self._request.wait()
        return self._read()

    def _read(self) -> list[Array]:
        return [self._request.get_output_tensor(i).data for i in range(self._outputs)]


class _OnnxRuntime:
    def __init__(self, path: Path, threads: int, providers: list[Any]) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(str(path), options, providers=providers)
        except Exception as exc:  # its exception types are private
            raise ModelError(f"ONNX Runtime cannot load {path}: {exc}") from exc
        wanted = providers[0] if isinstance(providers[0], str) else providers[0][0]
        if wanted not in self._session.get_providers():
            # It only prints what it lacks, and would compute on the processor.
            raise ModelError(NO_CUDA)
        self._input = self._session.get_inputs()[0].name
        self._begun: list[Array] = []

    def run(self, batch: Array) -> list[Array]:
        outputs: list[Array] = self._session.run(None, {self._input: np.ascontiguousarray(batch)})
        return outputs

    def start(self, batch: Array) -> None:
        self._begun = self.run(batch)

    def result(self) -> list[Array]:
        return self._begun
