"""MTCNN's three networks as ONNX graphs, made from the weights that the `mtcnn` package carries.

Zhang, Zhang, Li, Qiao, "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional
Networks", IEEE SPL 2016. Layers and their order follow the package, so that its weights give its boxes.
The graphs take float32 BGR pixels in 0..255 (N, H, W, 3): the package's channel order and its
(x - 127.5) / 128 are folded into the first convolution. Called by `vision.graphs`; the files live in the
cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from vision.model_store import MTCNN_WEIGHTS, asset_path, read_joblib_arrays
from vision.onnx_nodes import Nodes

Array = NDArray[np.float32]


def graph_of(name: str) -> bytes:
    """The ONNX file of "pnet", "rnet" or "onet". Raises ModelError."""
    builder = {"pnet": _pnet, "rnet": _rnet, "onet": _onet}[name]
    weights = read_joblib_arrays(asset_path(MTCNN_WEIGHTS[name]))
    return bytes(builder(weights).SerializeToString())


class _Graph(Nodes):
    """Appends nodes to a chain that starts at the picture."""

    def __init__(self, name: str, side: int | None) -> None:
        super().__init__()
        self._name = name
        self._outputs: list[Any] = []
        shape = ["n", side or "h", side or "w", 3]
        self._input = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)
        self.at = self.add("Transpose", ["pixels"], perm=[0, 3, 1, 2])

    def first_conv(self, kernel: Array, bias: Array) -> None:
        """The convolution of normalized RGB, rewritten for plain BGR pixels.

        conv((x - 127.5) / 128) = conv'(x) with kernel / 128 and bias - sum(kernel) * 127.5 / 128.
        """
        shift = kernel.sum(axis=(0, 1, 2)) * np.float32(127.5 / 128)
        self.conv(kernel[:, :, ::-1] / np.float32(128), bias - shift)

    def conv(self, kernel_hwio: Array, bias: Array, output: bool = False) -> str:
        kernel = self.constant(kernel_hwio.transpose(3, 2, 0, 1))
        value = self.add("Conv", [self.at, kernel, self.constant(bias)])
        if not output:
            self.at = value
        return value

    def dense(self, weights: Array, bias: Array, output: bool = False) -> str:
        value = self.add("Gemm", [self.at, self.constant(weights), self.constant(bias)])
        if not output:
            self.at = value
        return value

    def prelu(self, slope: Array) -> None:
        flat = slope.reshape(-1)
        shaped = flat.reshape(-1, 1, 1) if slope.ndim == 3 else flat
        self.at = self.add("PRelu", [self.at, self.constant(shaped)])

    def pool(self, size: int, same: bool) -> None:
        self.at = self.add(
            "MaxPool", [self.at], kernel_shape=[size, size], strides=[2, 2],
            auto_pad="SAME_UPPER" if same else "VALID",
        )  # fmt: skip

    def flatten(self) -> None:
        """(N, C, H, W) to rows in the order width, height, channel: the package's Permute."""
        self.at = self.add("Transpose", [self.at], perm=[0, 3, 2, 1])
        self.at = self.add("Flatten", [self.at])

    def output(self, name: str, value: str, shape: list[str | int], softmax_axis: int | None = None) -> None:
        if softmax_axis is not None:
            value = self.add("Softmax", [value], axis=softmax_axis)
        self.add("Identity", [value], name)
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def model(self) -> onnx.ModelProto:
        return self.checked(self._name, [self._input], self._outputs)


def _pnet(w: list[Array]) -> onnx.ModelProto:
    g = _Graph("pnet", None)
    g.first_conv(w[0], w[1])
    g.prelu(w[2])
    g.pool(2, same=True)
    g.conv(w[3], w[4])
    g.prelu(w[5])
    g.conv(w[6], w[7])
    g.prelu(w[8])
    box, face = g.conv(w[9], w[10], output=True), g.conv(w[11], w[12], output=True)
    g.output("offsets", box, ["n", 4, "rows", "columns"])
    g.output("faces", face, ["n", 2, "rows", "columns"], softmax_axis=1)
    return g.model()


def _rnet(w: list[Array]) -> onnx.ModelProto:
    g = _Graph("rnet", 24)
    g.first_conv(w[0], w[1])
    g.prelu(w[2])
    g.pool(3, same=True)
    g.conv(w[3], w[4])
    g.prelu(w[5])
    g.pool(3, same=False)
    g.conv(w[6], w[7])
    g.prelu(w[8])
    g.flatten()
    g.dense(w[9], w[10])
    g.prelu(w[11])
    box, face = g.dense(w[12], w[13], output=True), g.dense(w[14], w[15], output=True)
    g.output("offsets", box, ["n", 4])
    g.output("faces", face, ["n", 2], softmax_axis=1)
    return g.model()


def _onet(w: list[Array]) -> onnx.ModelProto:
    g = _Graph("onet", 48)
    g.first_conv(w[0], w[1])
    g.prelu(w[2])
    g.pool(3, same=True)
    g.conv(w[3], w[4])
    g.prelu(w[5])
    g.pool(3, same=False)
    g.conv(w[6], w[7])
    g.prelu(w[8])
    g.pool(2, same=True)
    g.conv(w[9], w[10])
    g.prelu(w[11])
    g.flatten()
    g.dense(w[12], w[13])
    g.prelu(w[14])
    box = g.dense(w[15], w[16], output=True)
    points = g.dense(w[17], w[18], output=True)
    face = g.dense(w[19], w[20], output=True)
    g.output("offsets", box, ["n", 4])
    g.output("landmarks", points, ["n", 10])
    g.output("faces", face, ["n", 2], softmax_axis=1)
    return g.model()
