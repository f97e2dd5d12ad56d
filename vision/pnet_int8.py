"""MTCNN's P-Net in eight bits, as an ONNX graph that processors with VNNI compute in less than half the time.

Made from the weights of `vision.mtcnn_onnx`, called by `vision.graphs`. Two things differ from the graph in
floats: what it computes in, and its input. Whole-number convolutions need more than three channels, so it
takes blocks of 2x2 pixels as 12 channels (N, H/2, W/2, 12) uint8 (rows, then columns, then BGR). The first
convolution and the pooling after it become four convolutions of blocks, one for each place in a window of
2x2, and the largest of them. Weights have eight bits: without VNNI their products would overflow
(`vision.quantize`), and with seven P-Net misses a third of what it finds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from onnx import TensorProto, helper

from vision.model_store import MTCNN_WEIGHTS, asset_path, read_joblib_arrays
from vision.onnx_nodes import Nodes
from vision.quantize import ACTIVATION_LEVELS, Range, rounded_together

BLOCK_PX = 2
WEIGHT_LEVELS = 127
RANGES: Sequence[Range] = ((-1.4, 6.5), (-4.3, 7.0), (-3.4, 10.8))
"""Of the values after each convolution. The first two hold two thirds of what these reach: of the ranges that
were tried these leave the least error in the scores that matter (docs/adr/0033-detector-in-fewer-bits.md)."""
PIXEL = 1 / 128
"""What a step of a pixel counts: the runtime takes a scale of one for none, and then computes in floats."""
SAMPLE = (240, 320)
"""Size of the picture that the rounding of weights goes by..."""
MEAN, SPREAD, OF_ONE_COLOR = 110.0, 60.0, 0.3
"""... its gray levels, and how much each color differs from the brightness."""
Floats = NDArray[np.float32]


def graph() -> bytes:
    """The ONNX file. Raises ModelError. Its output "cells" (N, rows, columns, 5): four offsets, and the
    logarithm of the odds of a face. They are as the runtime has them: to take them apart there would take a
    tenth of the time."""
    weights = read_joblib_arrays(asset_path(MTCNN_WEIGHTS["pnet"]))
    return bytes(_model(weights).SerializeToString())


def _model(w: list[Floats]) -> onnx.ModelProto:
    # RGB to BGR; the softmax of two is the sigmoid of their difference.
    kernels = [w[0][:, :, ::-1], w[3], w[6], np.concatenate([w[9], w[11][..., 1:] - w[11][..., :1]], axis=3)]
    biases = [w[1], w[4], w[7], np.concatenate([w[10], w[12][1:] - w[12][:1]])]
    slopes = [w[2], w[5], w[8]]
    whole, scales = zip(*_rounded(kernels, biases, slopes), strict=True)
    g = _Graph()
    blocks = g.add("Transpose", ["blocks"], perm=[0, 3, 1, 2])
    blocks = g.add("DequantizeLinear", [blocks, g.constant(np.float32(PIXEL)), g.constant(np.uint8(0))])
    # conv((x - 127.5) / 128) of pixels: the shift goes into the bias.
    shift = (whole[0] * scales[0]).sum(axis=(0, 1, 2)) * np.float32(127.5 / 128)
    places = [
        g.layer(blocks, kernel, scales[0], biases[0] - shift, slopes[0], RANGES[0])
        for kernel in _kernels_of_blocks(whole[0])
    ]
    x = g.rounded(g.add("Max", [g.add("Max", places[:2]), g.add("Max", places[2:])]), RANGES[0])
    for n in (1, 2):
        x = g.layer(x, _oihw(whole[n]), scales[n], biases[n], slopes[n], RANGES[n])
    heads = g.conv(x, _oihw(whole[3]), scales[3], biases[3])
    g.add("Transpose", [heads], "cells", perm=[0, 2, 3, 1])
    return g.model()


def _rounded(
    kernels_hwio: list[Floats], biases: list[Floats], slopes: list[Floats]
) -> list[tuple[NDArray[np.int8], Floats]]:
    """Each kernel in whole numbers, and the scale of each of its outputs: rounded by how neighboring values
    go together in a picture whose spectrum is that of natural ones."""
    layers = []
    x = (_natural_picture() - np.float32(127.5)) / np.float32(128)
    for n, kernel in enumerate(kernels_hwio):
        height, width, *_, outputs = kernel.shape
        windows = sliding_window_view(x, (height, width), axis=(0, 1)).transpose(0, 1, 3, 4, 2)
        rows, columns = windows.shape[:2]
        flat = windows.reshape(rows * columns, -1)
        by_output = kernel.reshape(-1, outputs).T
        whole, scale = rounded_together(by_output, flat.T @ flat / len(flat), WEIGHT_LEVELS)
        layers.append((whole.T.reshape(kernel.shape), scale))
        if n < len(slopes):
            x = (flat @ by_output.T + biases[n]).reshape(rows, columns, outputs)
            x = np.where(x > 0, x, x * slopes[n].reshape(-1))
        if n == 0:
            x = x.reshape(rows // 2, 2, columns // 2, 2, outputs).max(axis=(1, 3))
    return layers


def _natural_picture() -> Floats:
    """(H, W, 3) gray levels: noise whose amplitude falls with its frequency. Field, "Relations between the
    statistics of natural images and the response properties of cortical cells", JOSA A 4, 1987."""
    random = np.random.default_rng(0)
    rows, columns = np.fft.fftfreq(SAMPLE[0])[:, None], np.fft.rfftfreq(SAMPLE[1])
    amplitude = 1 / np.maximum(np.hypot(rows, columns), 1 / max(SAMPLE))

    def noise() -> NDArray[np.float64]:
        real, imaginary = random.normal(size=(2, *amplitude.shape))
        return np.fft.irfft2((real + 1j * imaginary) * amplitude, s=SAMPLE)

    brightness = noise()
    picture = np.stack([brightness + OF_ONE_COLOR * noise() for _ in range(3)], axis=-1)
    picture = (picture - picture.mean()) / picture.std() * SPREAD + MEAN
    return np.asarray(np.clip(picture, 0, 255), np.float32)


def _kernels_of_blocks(kernel_hwio: NDArray[np.int8]) -> NDArray[np.int8]:
    """(3, 3, 3, out) as four kernels (out, 12, 2, 2), for the window that begins at each pixel of a block."""
    kernels = np.zeros((4, kernel_hwio.shape[3], 12, 2, 2), np.int8)
    for place, down, right in np.ndindex(4, 3, 3):
        y, x = place // 2 + down, place % 2 + right
        channel = (y % 2 * 2 + x % 2) * 3
        kernels[place, :, channel : channel + 3, y // 2, x // 2] = kernel_hwio[down, right].T
    return kernels


def _oihw(kernel_hwio: NDArray[np.int8]) -> NDArray[np.int8]:
    return np.ascontiguousarray(kernel_hwio.transpose(3, 2, 0, 1))


class _Graph(Nodes):
    """Convolutions of whole numbers."""

    def conv(self, value: str, whole_oihw: NDArray[np.int8], scale: Floats, bias: Floats) -> str:
        names = [self.constant(v) for v in (whole_oihw, scale, np.zeros(len(scale), np.int8))]
        kernel = self.add("DequantizeLinear", names, axis=0)
        return self.add("Conv", [value, kernel, self.constant(bias.astype(np.float32))])

    def layer(
        self,
        value: str,
        whole_oihw: NDArray[np.int8],
        scale: Floats,
        bias: Floats,
        slope: Floats,
        seen: Range,
    ) -> str:  # what a layer is made of
        shaped = self.constant(slope.reshape(-1, 1, 1).astype(np.float32))
        x = self.conv(value, whole_oihw, scale, bias)
        return self.rounded(self.add("PRelu", [x, shaped]), seen)

    def rounded(self, value: str, seen: Range) -> str:
        """Values as bytes within their range."""
        low, high = seen
        scale = (high - low) / ACTIVATION_LEVELS
        names = [self.constant(np.float32(scale)), self.constant(np.uint8(round(-low / scale)))]
        return self.add("DequantizeLinear", [self.add("QuantizeLinear", [value, *names]), *names])

    def model(self) -> onnx.ModelProto:
        shape = ["n", "rows of blocks", "columns of blocks", 3 * BLOCK_PX**2]
        taken = helper.make_tensor_value_info("blocks", TensorProto.UINT8, shape)
        given = helper.make_tensor_value_info("cells", TensorProto.FLOAT, ["n", "rows", "columns", 5])
        return self.checked("pnet-int8", [taken], [given])
