"""An ONNX graph with its convolutions in eight bits, from the ranges that its values were seen in.

Owns the arithmetic of quantization; knows no network. `benchmarks.quantize` measures ranges on pictures,
`vision.centerface` builds its graph from those at first use. Weights: symmetric, one scale a channel, seven
bits (processors without VNNI add pairs of products in 16 bits, and eight would overflow them). Activations:
eight bits, one scale a value. Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, section 2.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, version_converter

OPSET = 13
"""The first one with a scale for each channel."""
WEIGHT_LEVELS = 63
"""Weights are whole numbers from -63 to 63."""
ACTIVATION_LEVELS = 255
DAMPING = 0.01
"""Of the moments' mean diagonal, added to it: inputs that always go together have no inverse."""
QUANTIZED = ("Conv",)
Range = tuple[float, float]


def prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph in an opset that can be quantized, its weights no longer listed as inputs."""
    model = version_converter.convert_version(model, OPSET)
    weights = {w.name for w in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in weights]
    del model.graph.input[:], model.graph.value_info[:]
    model.graph.input.extend(inputs)
    return model


def activations(model: onnx.ModelProto) -> list[str]:
    """The values of a prepared graph that must have a range: what convolutions read."""
    names = [node.input[0] for node in model.graph.node if node.op_type in QUANTIZED]
    return list(dict.fromkeys(names))


def quantized(
    model: onnx.ModelProto, ranges: Mapping[str, Range], kept: Set[str] = frozenset()
) -> onnx.ModelProto:
    """The prepared graph with convolutions in whole numbers, but for those whose output is in `kept`.

    Raises ValueError where a range is missing.
    """
    graph = model.graph
    weights = {w.name: numpy_helper.to_array(w) for w in graph.initializer}
    extra: dict[str, NDArray[np.generic]] = {}
    rounded: dict[str, str] = {}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type in QUANTIZED and node.output[0] not in kept:
            source, weight = node.input[0], node.input[1]
            if source not in rounded:
                if source not in ranges:
                    raise ValueError(f"no range for {source}")
                nodes += _rounding(source, ranges[source], extra)
                rounded[source] = f"{source}/rounded"
            nodes.append(_whole_weights(weight, weights[weight], extra))
            node = _with_inputs(node, [rounded[source], f"{weight}/rounded", *node.input[2:]])
        nodes.append(node)
    replaced = {n.input[0].removesuffix("/whole") for n in nodes if n.name.endswith("/weights")}
    kept_weights = [w for w in graph.initializer if w.name not in replaced]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend([*kept_weights, *(numpy_helper.from_array(v, k) for k, v in extra.items())])
    onnx.checker.check_model(model)
    return model


def rounded_together(
    weights: NDArray[np.floating[Any]], moments: NDArray[np.floating[Any]], levels: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Weights (out, in) as whole numbers from -levels to levels, and the scale of each row.

    Each weight is rounded so that it makes up for the error of those before it, given how the inputs go
    together: moments (in, in) are the means of their products. Frantar et al., "GPTQ: Accurate Post-Training
    Quantization for Generative Pre-trained Transformers", ICLR 2023.
    """
    scale = np.maximum(np.abs(weights).max(axis=1), 1e-8) / levels
    damping = DAMPING * float(np.mean(np.diag(moments)))
    order = np.argsort(-np.diag(moments), kind="stable")
    inverse = np.linalg.inv(moments[np.ix_(order, order)] + damping * np.eye(len(order)))
    feedback = np.linalg.cholesky(inverse).T
    left = weights[:, order].astype(np.float64)
    whole = np.zeros(weights.shape, np.int8)
    for n, place in enumerate(order):
        whole[:, place] = np.clip(np.rint(left[:, n] / scale), -levels, levels)
        error = (left[:, n] - whole[:, place] * scale) / feedback[n, n]
        left[:, n + 1 :] -= error[:, None] * feedback[n, n + 1 :]
    return whole, scale.astype(np.float32)


def _rounding(name: str, seen: Range, extra: dict[str, NDArray[np.generic]]) -> list[onnx.NodeProto]:
    low, high = min(seen[0], 0.0), max(seen[1], 0.0)
    scale = np.float32(max(high - low, 1e-6) / ACTIVATION_LEVELS)
    extra[f"{name}/scale"] = np.array(scale, np.float32)
    extra[f"{name}/zero"] = np.array(np.clip(round(-low / float(scale)), 0, ACTIVATION_LEVELS), np.uint8)
    constants = [f"{name}/scale", f"{name}/zero"]
    return [
        helper.make_node("QuantizeLinear", [name, *constants], [f"{name}/whole"], f"{name}/quantize"),
        helper.make_node("DequantizeLinear", [f"{name}/whole", *constants], [f"{name}/rounded"]),
    ]


def _whole_weights(
    name: str, weights: NDArray[np.float32], extra: dict[str, NDArray[np.generic]]
) -> onnx.NodeProto:
    """Weights (out, in, h, w) as whole numbers, one scale for each output channel."""
    top = np.abs(weights).reshape(len(weights), -1).max(axis=1)
    scale = (np.maximum(top, 1e-8) / WEIGHT_LEVELS).astype(np.float32)
    extra[f"{name}/whole"] = np.rint(weights / scale[:, None, None, None]).astype(np.int8)
    extra[f"{name}/scale"] = scale
    extra[f"{name}/zero"] = np.zeros(len(weights), np.int8)
    inputs = [f"{name}/whole", f"{name}/scale", f"{name}/zero"]
    return helper.make_node("DequantizeLinear", inputs, [f"{name}/rounded"], f"{name}/weights", axis=0)


def _with_inputs(node: onnx.NodeProto, inputs: list[str]) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    del copy.input[:]
    copy.input.extend(inputs)
    return copy
