"""What the published VGGFace2 ResNet-50 is made of: layer names, shapes, strides and constants.

Facts of the keras-vggface package (its `RESNET50`), and nothing else: weights are read by
`vggface2_weights`, the network is built by `vggface2_graph`. Strides stand on the first 1x1 convolution of a
stage and on its shortcut; 1x1 convolutions and the pooling are not padded, 7x7 and 3x3 are padded to keep
the size; batch norms have Keras's default epsilon; the last feature map is averaged over 7x7.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MODEL_ID = "vggface2-resnet50"
DIMENSION = 2048
CLASSES = 8631
ENTRANCE = "conv1/7x7_s2"
CLASSIFIER = "classifier"
"""The layer that only the full-top file has."""
MEAN_BGR = (91.4953, 103.8827, 131.0912)
"""The training set's mean, subtracted from BGR pixels (`preprocess_input`, version 2)."""
BN_EPSILON = 1e-3
"""Keras's default, with which the weights were made."""
Array = NDArray[np.float32]
Weights = Mapping[str, Sequence[Array]]
"""Layer name to its weights, in the order of `Layer.shapes`."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer that has weights: its published name, and the kind and shape of each weight, in order."""

    name: str
    kinds: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Block:
    """One residual block; `projects` where the shortcut has a convolution of its own."""

    prefix: str
    channels_in: int
    channels: int
    stride: int
    projects: bool

    @property
    def reduce(self) -> str:
        return f"{self.prefix}_1x1_reduce"

    @property
    def middle(self) -> str:
        return f"{self.prefix}_3x3"

    @property
    def increase(self) -> str:
        return f"{self.prefix}_1x1_increase"

    @property
    def proj(self) -> str:
        return f"{self.prefix}_1x1_proj"


def blocks() -> Iterator[Block]:
    """The 16 residual blocks in order."""
    channels_in = 64
    for stage, (channels, count) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), start=2):
        for index in range(1, count + 1):
            stride = 2 if index == 1 and stage > 2 else 1
            yield Block(f"conv{stage}_{index}", channels_in, channels, stride, index == 1)
            channels_in = 4 * channels


def layers(with_top: bool) -> list[Layer]:
    """Every layer with weights, in order."""
    found: list[Layer] = []

    def conv(name: str, size: int, channels_in: int, channels_out: int) -> None:
        found.append(Layer(name, ("kernel",), ((size, size, channels_in, channels_out),)))
        norms = ("gamma", "beta", "moving_mean", "moving_variance")
        found.append(Layer(f"{name}/bn", norms, ((channels_out,),) * 4))

    conv(ENTRANCE, 7, 3, 64)
    for b in blocks():
        conv(b.reduce, 1, b.channels_in, b.channels)
        conv(b.middle, 3, b.channels, b.channels)
        conv(b.increase, 1, b.channels, 4 * b.channels)
        if b.projects:
            conv(b.proj, 1, b.channels_in, 4 * b.channels)
    if with_top:
        found.append(Layer(CLASSIFIER, ("kernel", "bias"), ((DIMENSION, CLASSES), (CLASSES,))))
    return found


def folded(weights: Weights, name: str) -> tuple[Array, Array]:
    """A convolution with its batch norm: kernel (out, in, h, w) and bias (out,), float32.

    Computed in float64: the variance of a channel that hardly ever fires can be tiny.
    """
    (kernel,) = weights[name]
    gamma, beta, mean, variance = (w.astype(np.float64) for w in weights[f"{name}/bn"])
    factor = gamma / np.sqrt(variance + BN_EPSILON)
    scaled = (kernel.astype(np.float64) * factor).transpose(3, 2, 0, 1)
    return np.ascontiguousarray(scaled, np.float32), np.asarray(beta - mean * factor, np.float32)
