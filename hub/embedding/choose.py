"""Which model the hub runs: the designated one where it is installed, else the embedded one."""

from __future__ import annotations

from typing import Literal

from hub.embedding.dlib_resnet import DlibResnet
from hub.embedding.port import Embedder
from hub.embedding.vggface2 import PrecisionName, Vggface2, installed_weights
from vision.errors import ModelError
from vision.runtime import DeviceChoice, RuntimeName, chosen_device

ModelName = Literal["auto", "vggface2-resnet50", "dlib-resnet"]


def open_embedder(
    model: ModelName = "auto",
    runtime: RuntimeName = "auto",
    threads: int = 0,
    precision: PrecisionName = "auto",
    device: DeviceChoice = "cpu",
) -> Embedder:
    """Load a model. Raises ModelError where it, its precision or its device is not installed."""
    chosen = chosen_device(device)
    if model == "vggface2-resnet50" or (model == "auto" and installed_weights() is not None):
        return Vggface2(runtime, threads, precision, chosen)
    if precision not in ("auto", "fp32"):
        raise ModelError(f'dlib-resnet has no {precision} variant: set [recognition] precision = "auto"')
    return DlibResnet(threads, runtime, chosen)
