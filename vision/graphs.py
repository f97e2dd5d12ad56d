"""Where the ONNX files of a node's networks are; each is made at first use.

What makes them is imported only then: a node whose files are there has better use for the memory of the
`onnx` package. Called by `vision.detector` and `vision.centerface`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from vision.model_store import CENTERFACE, MTCNN_WEIGHTS, built

MTCNN_FORMAT = 5
"""Part of the cached files' names: raise it when the graphs change."""
CENTERFACE_FORMAT = 2
Precision = Literal["int8", "fp32"]


def mtcnn_graph(name: str) -> Path:
    """Of "pnet", "rnet" or "onet". Raises ModelError."""

    def make() -> bytes:
        from vision.mtcnn_onnx import graph_of

        return graph_of(name)

    return built(f"mtcnn-{name}-{MTCNN_WEIGHTS[name].sha256[:12]}-v{MTCNN_FORMAT}.onnx", make)


def pnet_int8_graph() -> Path:
    """P-Net in eight bits, see `vision.pnet_int8`. Raises ModelError."""

    def make() -> bytes:
        from vision.pnet_int8 import graph

        return graph()

    return built(f"mtcnn-pnet-{MTCNN_WEIGHTS['pnet'].sha256[:12]}-int8-v{MTCNN_FORMAT}.onnx", make)


def centerface_graph(precision: Precision) -> Path:
    """Raises ModelError where the network is not installed."""

    def make() -> bytes:
        from vision.centerface_onnx import in_eight_bits, in_floats

        return in_floats() if precision == "fp32" else in_eight_bits()

    kind = "" if precision == "fp32" else f"-{precision}"
    return built(f"centerface-{CENTERFACE.sha256[:12]}{kind}-v{CENTERFACE_FORMAT}.onnx", make)
