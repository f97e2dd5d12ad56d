"""Which model the hub runs: the designated one where it is installed, else the embedded one."""

from __future__ import annotations

from typing import Literal

from hub.embedding.dlib_resnet import DlibResnet
from hub.embedding.port import Embedder
from hub.embedding.vggface2 import Vggface2, installed_weights
from vision.runtime import RuntimeName

ModelName = Literal["auto", "vggface2-resnet50", "dlib-resnet"]


def open_embedder(model: ModelName = "auto", runtime: RuntimeName = "auto", threads: int = 0) -> Embedder:
    """Load a model. Raises ModelError where it is not installed."""
    if model == "vggface2-resnet50" or (model == "auto" and installed_weights() is not None):
        return Vggface2(runtime, threads)
    return DlibResnet(threads, runtime)
