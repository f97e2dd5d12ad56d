"""The VGGFace2 ResNet-50 as a network: an ONNX graph of three precisions, and the Keras definition.

`build_onnx` makes what the hub runs; it needs neither Keras nor TensorFlow. `keras_model` is the published
definition in Keras 3, which the graphs are proven against. Called by the import command and by tests.

* fp32: batch norms folded into the convolutions, nothing else changed.
* fp16: the same with every constant and value in half precision.
* int8: weights of 7 bits and a sign per output channel, values of 8 bits per tensor (QDQ form: both runtimes
  make integer convolutions of it where they can). The first convolution and the sums stay in floating
  point. Seven bits, because processors without VNNI add two products in 16 bits and would saturate. What is
  read with a stride is thinned out while in whole numbers: OpenVINO does so itself, but in floats, and then
  leaves those convolutions in floats too (a quarter of the time).
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from hub.embedding.vggface2_layers import (
    BN_EPSILON,
    CLASSES,
    CLASSIFIER,
    ENTRANCE,
    MEAN_BGR,
    MODEL_ID,
    Weights,
    blocks,
    folded,
    layers,
)
from hub.embedding.vggface2_ranges import limits
from vision.crops import CROP_PX
from vision.onnx_nodes import Nodes

Precision = Literal["fp32", "fp16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
WEIGHT_STEPS = 63
VALUE_STEPS = 255


def build_onnx(weights: Weights, precision: Precision = "fp32") -> onnx.ModelProto:
    """The network as ONNX: (N, 224, 224, 3) uint8 RGB -> (N, 2048) float32."""
    graph = _Graph(weights, precision)
    # The mean cannot be folded into the first convolution: its padding stands for the mean.
    x = graph.entrance()
    strides = [b.stride for b in blocks()]
    for b, next_stride in zip(blocks(), [*strides[1:], 1], strict=True):
        y = graph.relu(graph.conv(x, b.reduce, b.stride), b.reduce)
        y = graph.relu(graph.conv(y, b.middle), b.middle)
        y = graph.conv(y, b.increase)
        shortcut = graph.conv(x, b.proj, b.stride) if b.projects else x
        is_last = b.prefix == "conv5_3"
        x = graph.relu(graph.add("Add", [y, shortcut]), None if is_last else b.prefix, next_stride)
    return graph.model(x)


class _Graph(Nodes):
    """The network in one precision."""

    def __init__(self, weights: Weights, precision: Precision) -> None:
        super().__init__()
        self._weights = weights
        self._float = np.float16 if precision == "fp16" else np.float32
        self._limits = limits(weights) if precision == "int8" else {}

    def entrance(self) -> str:
        """From pixels to the first feature map, (N, 64, 55, 55)."""
        kind = TensorProto.FLOAT16 if self._float is np.float16 else TensorProto.FLOAT
        x = self.add("Cast", ["rgb"], to=kind)
        x = self.add("Sub", [x, self.constant(np.array(MEAN_BGR[::-1], self._float))])
        x = self.add("Transpose", [x], perm=[0, 3, 1, 2])
        kernel, bias = folded(self._weights, ENTRANCE)
        # The weights expect blue first, the crop has red first.
        parameters = [self.constant(v.astype(self._float)) for v in (kernel[:, ::-1], bias)]
        x = self.add("Conv", [x, *parameters], strides=[2, 2], auto_pad="SAME_UPPER")
        x = self.add("MaxPool", [self.add("Relu", [x])], kernel_shape=[3, 3], strides=[2, 2])
        return self._stepped(x, ENTRANCE)

    def conv(self, x: str, name: str, stride: int = 1) -> str:
        kernel, bias = folded(self._weights, name)
        if self._limits:
            parameters = [self._stepped_kernel(kernel), self.constant(bias)]
        else:
            parameters = [self.constant(v.astype(self._float)) for v in (kernel, bias)]
        if self._limits:
            stride = 1  # what it reads has been thinned out already, see `_stepped`
        pad = kernel.shape[2] // 2
        return self.add("Conv", [x, *parameters], strides=[stride, stride], pads=[pad] * 4)

    def relu(self, x: str, name: str | None, next_stride: int = 1) -> str:
        """name: whose limit holds from here on; None keeps floating point. next_stride: of what reads it."""
        x = self.add("Relu", [x])
        return x if name is None else self._stepped(x, name, next_stride)

    def model(self, x: str) -> onnx.ModelProto:
        x = self.add("Flatten", [self.add("GlobalAveragePool", [x])])
        self.add("Cast", [x], "embedding", to=TensorProto.FLOAT)
        pixels = helper.make_tensor_value_info("rgb", TensorProto.UINT8, ["n", CROP_PX, CROP_PX, 3])
        embedding = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 2048])
        return self.checked(MODEL_ID, [pixels], [embedding])

    def _stepped(self, x: str, name: str, next_stride: int = 1) -> str:
        """A value of 0..limit in 255 steps, every `next_stride`-th of it in either direction; unchanged
        where nothing is quantized."""
        if not self._limits:
            return x
        scale = self.constant(np.array(self._limits[name] / VALUE_STEPS, np.float32))
        zero = self.constant(np.array(0, np.uint8))
        steps = self.add("QuantizeLinear", [x, scale, zero])
        if next_stride > 1:
            steps = self.add("MaxPool", [steps], kernel_shape=[1, 1], strides=[next_stride] * 2)
        return self.add("DequantizeLinear", [steps, scale, zero])

    def _stepped_kernel(self, kernel: NDArray[np.float32]) -> str:
        """Weights in 127 steps about zero, each output channel with its own."""
        scale = np.maximum(np.abs(kernel).max(axis=(1, 2, 3)), 1e-12) / WEIGHT_STEPS
        steps = np.rint(kernel / scale[:, None, None, None]).astype(np.int8)
        names = [self.constant(v) for v in (steps, scale.astype(np.float32), np.zeros(len(scale), np.int8))]
        return self.add("DequantizeLinear", names, axis=0)


def keras_model(weights: Weights) -> Any:
    """The published definition in Keras 3: (N, 224, 224, 3) BGR float32 less MEAN_BGR -> (N, 2048), or, where
    the weights hold the classifier, (N, 8631) shares. Needs the extra `models`.

    Keras 3 allows no "/" in layer names; ">", which TensorFlow takes in compiled graphs, stands for it.
    """
    import keras
    from keras import layers as kl

    def named(name: str) -> str:
        return name.replace("/", ">")

    def conv(x: Any, name: str, size: int, channels: int, stride: int = 1) -> Any:
        padding = "valid" if size == 1 else "same"
        x = kl.Conv2D(
            channels, size, strides=stride, padding=padding, use_bias=False, name=named(name)
        )(x)  # fmt: skip
        return kl.BatchNormalization(epsilon=BN_EPSILON, name=named(f"{name}/bn"))(x)

    entrance = kl.Input((CROP_PX, CROP_PX, 3))
    x = kl.Activation("relu")(conv(entrance, ENTRANCE, 7, 64, 2))
    x = kl.MaxPooling2D((3, 3), strides=(2, 2))(x)
    for b in blocks():
        y = kl.Activation("relu")(conv(x, b.reduce, 1, b.channels, b.stride))
        y = kl.Activation("relu")(conv(y, b.middle, 3, b.channels))
        y = conv(y, b.increase, 1, 4 * b.channels)
        shortcut = conv(x, b.proj, 1, 4 * b.channels, b.stride) if b.projects else x
        x = kl.Activation("relu")(kl.add([y, shortcut]))
    x = kl.Flatten()(kl.AveragePooling2D((7, 7), name="avg_pool")(x))
    with_top = CLASSIFIER in weights
    if with_top:
        x = kl.Dense(CLASSES, activation="softmax", name=CLASSIFIER)(x)
    model = keras.Model(entrance, x, name="vggface_resnet50")
    for layer in layers(with_top):
        model.get_layer(named(layer.name)).set_weights(list(weights[layer.name]))
    return model
