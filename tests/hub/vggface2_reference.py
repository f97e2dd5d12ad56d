"""The VGGFace2 ResNet-50 once more, slow and obvious in numpy, and weights that behave like trained ones.

Written from the published description and sharing nothing with the product but the layer list. Real weights
may not be passed on, so tests make their own: He-scaled kernels, and batch norms whose statistics are those
of the faces they are measured on, with scales and shifts of the kind that training leaves.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from hub.embedding.vggface2_layers import layers

Weights = dict[str, list[np.ndarray]]
MEAN_RGB = np.array([131.0912, 103.8827, 91.4953], np.float32)
STAGES = {2: (3, 64), 3: (4, 128), 4: (6, 256), 5: (3, 512)}


def raw_weights(with_top: bool = False, seed: int = 0) -> Weights:
    """Kernels that keep a signal's size, batch norms that are not measured yet."""
    rng = np.random.default_rng(seed)
    weights: Weights = {}
    for layer in layers(with_top):
        if layer.name.endswith("/bn"):
            (n,) = layer.shapes[0]
            # The last norm of a block is small, so that blocks add to what they are given.
            scale = 0.4 if "increase" in layer.name else 1.0
            gamma, beta = rng.gamma(8, scale / 8, n), rng.normal(-0.1 * scale, 0.2 * scale, n)
            weights[layer.name] = [gamma, beta, rng.normal(0, 0.1, n), rng.uniform(0.5, 1.5, n)]
        else:
            fan_in = int(np.prod(layer.shapes[0][:-1]))
            weights[layer.name] = [rng.normal(0, np.sqrt(2 / fan_in), s) for s in layer.shapes]
    return {n: [w.astype(np.float32) for w in ws] for n, ws in weights.items()}


def measured_weights(faces_rgb: NDArray[np.uint8], seed: int = 0) -> Weights:
    """Weights whose batch norms hold the statistics of these faces (N, 224, 224, 3)."""
    weights = raw_weights(seed=seed)
    forward(weights, faces_rgb, measure=True)
    return weights


def forward(
    weights: Weights, faces_rgb: NDArray[np.uint8], measure: bool = False, bfloat16: bool = False
) -> NDArray[np.float32]:
    """(N, 2048). measure: write the batch norms' statistics on the way. bfloat16: round all there is."""

    def rounded(x: np.ndarray) -> np.ndarray:
        if not bfloat16:
            return x
        bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).view(np.float32)

    def conv(x: np.ndarray, name: str, stride: int = 1) -> np.ndarray:
        x = _convolved(x, rounded(weights[name][0]), stride)
        gamma, beta, mean, variance = weights[f"{name}/bn"]
        if measure:
            mean[:], variance[:] = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
        return rounded((x - mean) / np.sqrt(variance + 0.001) * gamma + beta)

    x = faces_rgb.astype(np.float32) - MEAN_RGB
    x = np.maximum(conv(rounded(x[..., ::-1]), "conv1/7x7_s2", 2), 0)
    x = np.max([x[:, i : i + 109 : 2, j : j + 109 : 2] for i in range(3) for j in range(3)], axis=0)
    for stage, (count, _) in STAGES.items():
        for block in range(1, count + 1):
            name, stride = f"conv{stage}_{block}", 2 if block == 1 and stage > 2 else 1
            y = np.maximum(conv(x, f"{name}_1x1_reduce", stride), 0)
            y = np.maximum(conv(y, f"{name}_3x3"), 0)
            y = conv(y, f"{name}_1x1_increase")
            x = rounded(np.maximum(y + (conv(x, f"{name}_1x1_proj", stride) if block == 1 else x), 0))
    return np.asarray(x.mean(axis=(1, 2)), np.float32)


def _convolved(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """(N, H, W, C) by (k, k, C, D), padded to keep the size before the stride; odd rests behind."""
    size = kernel.shape[0]
    side = -(-x.shape[1] // stride)
    total = max((side - 1) * stride + size - x.shape[1], 0)
    pads = (total // 2, total - total // 2)
    x = np.pad(x, ((0, 0), pads, pads, (0, 0)))
    reach = (side - 1) * stride + 1
    out = np.zeros((len(x) * side * side, kernel.shape[3]), np.float32)
    for i in range(size):
        for j in range(size):
            out += x[:, i : i + reach : stride, j : j + reach : stride].reshape(len(out), -1) @ kernel[i, j]
    return out.reshape(len(x), side, side, -1)


def write_h5(path: Path, weights: Weights) -> Path:
    """A Keras 2 weight file as `save_weights` wrote it; weightless layers are listed too."""
    suffixes = {1: ["kernel:0"], 2: ["kernel:0", "bias:0"]}
    with h5py.File(path, "w") as file:
        names = ["input_1", *weights, "avg_pool"]
        file.attrs["layer_names"] = [n.encode() for n in names]
        file.attrs["backend"] = b"tensorflow"
        file.attrs["keras_version"] = b"2.0.8"
        for name in names:
            group = file.create_group(name)
            held = weights.get(name, [])
            parts = suffixes.get(len(held), ["gamma:0", "beta:0", "moving_mean:0", "moving_variance:0"])
            full = [f"{name}/{p}" for p in parts[: len(held)]]
            group.attrs["weight_names"] = [f.encode() for f in full]
            for part, value in zip(full, held, strict=True):
                group.create_dataset(part, data=value)
    return path


def cosines(a: np.ndarray, b: np.ndarray) -> NDArray[np.float64]:
    """(N,) cosine of each row of a with the same row of b."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return np.asarray((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1))
