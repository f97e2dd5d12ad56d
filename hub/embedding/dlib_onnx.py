"""dlib's face network as an ONNX graph, read from dlib's own weights file without dlib.

Owns the reading of that serialization and the graph; neither cuts faces nor runs anything. Called by
`hub.embedding.dlib_resnet`. The layers stand in the file from the picture to the descriptor, so one walk
reads and builds. Format: dlib's serialize.h and dnn/{core,layers,input}.h. Strides, paddings and sizes come
from the file; what it cannot tell (the shortcuts) follows `anet_type` of dnn_face_recognition_ex.cpp.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from vision.errors import ModelError
from vision.model_store import DLIB_FACE_MODEL, asset_path, built
from vision.onnx_nodes import Nodes

FORMAT = 1
"""Part of the cached file's name: raise it when the graph changes."""
CHIP_PX = 150
MAX_FLOATS = 8_000_000
"""Elements of one tensor: the largest of this file has 590,000. Keeps a damaged file from asking for more."""
Array = NDArray[np.float32]


def graph_path() -> Path:
    """Path of the ONNX file, built at first use. Raises ModelError.

    Its input is float32 RGB 0..255 (N, 150, 150, 3), its output the descriptors (N, 128), not normalized.
    """
    weights = asset_path(DLIB_FACE_MODEL)
    return built(
        f"dlib-resnet-{DLIB_FACE_MODEL.sha256[:12]}-v{FORMAT}.onnx",
        lambda: build_graph(weights.read_bytes()).SerializeToString(),
    )


def build_graph(data: bytes) -> onnx.ModelProto:
    """The network of a weights file's bytes. Raises ModelError for any other file."""
    source = _Source(data)
    graph = _Graph(_read_input(source))
    source.expect("con_4")
    graph.conv(*_read_conv(source))
    source.layer_end()
    source.integer()  # how many pictures make a sample; stands behind the first layer only
    while True:
        kind = source.text()
        if kind == "con_4":
            graph.conv(*_read_conv(source))
        elif kind == "affine_":
            graph.affine(*_read_affine(source))
        elif kind == "relu_":
            graph.relu()
        elif kind == "max_pool_2":
            graph.max_pool(*_read_pool(source))
        elif kind == "avg_pool_2":
            graph.average_pool(*_read_pool(source))
        elif kind == "add_prev_":
            graph.add_shortcut()
        elif kind == "fc_2":
            graph.dense(_read_dense(source))
            break
        else:
            raise ModelError(f"dlib's face network holds an unknown layer {kind!r}: reinstall its package")
        source.layer_end()
    return graph.model()


class _Source:
    """A cursor over dlib's serialization."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        part = self._data[self._at : self._at + count]
        if len(part) < count:
            raise ModelError("dlib's face network ends too early: reinstall its package")
        self._at += count
        return part

    def integer(self) -> int:
        """A control byte (low four bits: length; top bit: negative), then the magnitude, low byte first."""
        control = self.take(1)[0]
        length = control & 0x0F
        if not 1 <= length <= 8 or control & 0x70:
            raise ModelError("not one of dlib's weights files: a number is malformed")
        magnitude = int.from_bytes(self.take(length), "little")
        return -magnitude if control & 0x80 else magnitude

    def integers(self, count: int) -> list[int]:
        return [self.integer() for _ in range(count)]

    def real(self) -> float:
        """mantissa * 2 ** exponent."""
        mantissa, exponent = self.integers(2)
        if abs(exponent) > 1100:
            raise ModelError("not one of dlib's weights files: a number is out of range")
        return float(mantissa * 2.0**exponent)

    def text(self) -> str:
        length = self.integer()
        if not 0 < length <= 64:
            raise ModelError("not one of dlib's weights files: a name is malformed")
        return self.take(length).decode("ascii", "replace")

    def expect(self, name: str) -> None:
        found = self.text()
        if found != name:
            raise ModelError(f"not dlib's face network: {found!r} stands where {name!r} belongs")

    def tensor(self) -> Array:
        """A flat float32 array."""
        version, *shape = self.integers(5)
        count = int(np.prod(shape, dtype=np.int64)) if min(shape) >= 0 else -1
        if version != 2 or not 0 <= count <= MAX_FLOATS:
            raise ModelError("not one of dlib's weights files: a tensor is malformed")
        return np.frombuffer(self.take(4 * count), "<f4").astype(np.float32)

    def alias(self) -> list[int]:
        """Shape of a view into the parameters."""
        _, *shape = self.integers(5)
        return shape

    def skip_versions(self, name: str) -> None:
        """The version numbers of the nested layers, up to the length of the innermost one's name."""
        while (number := self.integer()) != len(name):
            if number > 3:
                raise ModelError("not dlib's face network: its layers cannot be counted")
        if self.take(len(name)).decode("ascii", "replace") != name:
            raise ModelError(f"not dlib's face network: it lacks {name!r}")

    def layer_end(self) -> None:
        """Three flags and three empty tensors: what training left behind."""
        self.take(3)
        for _ in range(3):
            self.tensor()


def _read_input(source: _Source) -> Array:
    """The mean color (R, G, B) that is taken off the picture."""
    source.integer()  # version
    source.expect("loss_metric_2")
    for _ in range(2):  # margin and distance of the training
        source.real()
    source.skip_versions("input_rgb_image_sized")
    mean = np.array([source.real() for _ in range(3)], np.float32)
    if source.integers(2) != [CHIP_PX, CHIP_PX]:
        raise ModelError(f"dlib's face network does not take pictures of {CHIP_PX} px")
    return mean


def _read_conv(source: _Source) -> tuple[Array, Array, list[int], list[int]]:
    """(kernel (O, I, H, W), bias (O,), strides, paddings) of a convolution."""
    parameters = source.tensor()
    filters, height, width, *steps = source.integers(7)
    shape, _ = source.alias(), source.alias()
    for _ in range(4):  # learning rates and decays
        source.real()
    count = int(np.prod(shape, dtype=np.int64))
    if [shape[0], *shape[2:]] != [filters, height, width] or count + filters != parameters.size:
        raise ModelError("dlib's face network: a convolution does not fit its parameters")
    return parameters[:count].reshape(shape), parameters[count:], steps[:2], steps[2:]


def _read_affine(source: _Source) -> tuple[Array, Array]:
    """(scale (C,), shift (C,)): a batch normalization after training."""
    parameters = source.tensor()
    scale, _ = source.alias(), source.alias()
    source.integer()  # convolution mode
    if parameters.size != 2 * scale[1]:
        raise ModelError("dlib's face network: an affine layer does not fit its parameters")
    return parameters[: scale[1]], parameters[scale[1] :]


def _read_pool(source: _Source) -> tuple[list[int], list[int], list[int]]:
    """(window, strides, paddings); a window of 0 is the whole picture."""
    numbers = source.integers(6)
    return numbers[:2], numbers[2:4], numbers[4:]


def _read_dense(source: _Source) -> Array:
    """Weights (inputs, outputs) of a layer without bias."""
    outputs, inputs = source.integers(2)
    parameters = source.tensor()
    if parameters.size != inputs * outputs:
        raise ModelError("dlib's face network: its last layer does not fit its parameters")
    return parameters.reshape(inputs, outputs)


class _Graph(Nodes):
    """A chain with shortcuts. Follows each value's shape, since shortcuts fit only after padding."""

    def __init__(self, mean_rgb: Array) -> None:
        super().__init__()
        self._at, self._channels, self._side = "pixels", 3, CHIP_PX
        self._shortcut = (self._at, self._channels, self._side)
        self._pending: tuple[Array, Array, list[int], list[int]] | None = None
        self._node("Transpose", [self._at], perm=[0, 3, 1, 2])
        self._node("Sub", [self._at, self.constant(mean_rgb.reshape(1, 3, 1, 1))])
        self._node("Mul", [self._at, self.constant(np.array(1 / 256, np.float32))])

    def _node(self, kind: str, inputs: list[str], **attributes: Any) -> None:
        self._at = self.add(kind, inputs, **attributes)

    def conv(self, kernel: Array, bias: Array, strides: list[int], padding: list[int]) -> None:
        """Written with the affine layer that always follows."""
        self._pending = (kernel, bias, strides, padding)

    def affine(self, scale: Array, shift: Array) -> None:
        """scale * conv(x) + shift is a convolution."""
        if self._pending is None:
            raise ModelError("dlib's face network: an affine layer without its convolution")
        kernel, bias, strides, padding = self._pending
        self._pending = None
        weights = [self.constant(kernel * scale[:, None, None, None]), self.constant(bias * scale + shift)]
        self._node("Conv", [self._at, *weights], strides=strides, pads=padding * 2)
        self._channels = kernel.shape[0]
        self._side = (self._side + 2 * padding[0] - kernel.shape[2]) // strides[0] + 1

    def relu(self) -> None:
        """Where a shortcut has just been added, the value behind is where the next one begins."""
        begins = self.nodes[-1].op_type == "Add"
        self._node("Relu", [self._at])
        if begins:
            self._shortcut = (self._at, self._channels, self._side)

    def max_pool(self, window: list[int], strides: list[int], padding: list[int]) -> None:
        self._node("MaxPool", [self._at], kernel_shape=window, strides=strides, pads=padding * 2)
        self._side = (self._side + 2 * padding[0] - window[0]) // strides[0] + 1
        self._shortcut = (self._at, self._channels, self._side)

    def average_pool(self, window: list[int], strides: list[int], padding: list[int]) -> None:
        """Inside the network it halves the shortcut; with a window of 0 it ends the chain."""
        if window == [0, 0]:
            self._node("GlobalAveragePool", [self._at])
            return
        chain = self._at
        name, channels, side = self._shortcut
        self._node("AveragePool", [name], kernel_shape=window, strides=strides, pads=padding * 2)
        self._shortcut = (self._at, channels, (side + 2 * padding[0] - window[0]) // strides[0] + 1)
        self._at = chain

    def add_shortcut(self) -> None:
        """dlib adds values of unequal sizes as if zeros followed the smaller one."""
        name, channels, side = self._shortcut
        all_channels, full_side = max(channels, self._channels), max(side, self._side)
        block = self._padded(self._at, all_channels - self._channels, full_side - self._side)
        other = self._padded(name, all_channels - channels, full_side - side)
        self._node("Add", [block, other])
        self._channels, self._side = all_channels, full_side

    def _padded(self, value: str, channels: int, side: int) -> str:
        if channels or side:
            pads = np.array([0, 0, 0, 0, 0, channels, side, side], np.int64)
            self._node("Pad", [value, self.constant(pads)])
            return self._at
        return value

    def dense(self, weights: Array) -> None:
        self._node("Flatten", [self._at])
        self._node("MatMul", [self._at, self.constant(weights)])

    def model(self) -> onnx.ModelProto:
        pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", CHIP_PX, CHIP_PX, 3])
        output = helper.make_tensor_value_info(self._at, TensorProto.FLOAT, ["n", "d"])
        return self.checked("dlib-resnet", [pixels], [output])
