"""CenterFace's network as ONNX graphs that take pictures as they are: made from the published file.

In floats as published, and in eight bits. Called by `vision.graphs`; the files live in the cache.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from vision.model_store import CENTERFACE, asset_path
from vision.quantize import Range, prepared, quantized

RANGES = "centerface_ranges.json"


def in_floats() -> bytes:
    """As published."""
    return bytes(_taking_pictures(onnx.load(str(asset_path(CENTERFACE)))).SerializeToString())


def in_eight_bits() -> bytes:
    """Two thirds of the time: the ranges were measured by `benchmarks.quantize`, docs/adr/0009."""
    model = with_open_inputs()
    return bytes(quantized(model, ranges()).SerializeToString())


def with_open_inputs() -> onnx.ModelProto:
    """The network as `vision.quantize` takes it."""
    return _taking_pictures(prepared(onnx.load(str(asset_path(CENTERFACE)))))


def ranges() -> Mapping[str, Range]:
    """The range of each value that a convolution reads, by its name in the graph."""
    text = resources.files("vision").joinpath(RANGES).read_text()
    return {name: (low, high) for name, (low, high) in json.loads(text).items()}


def _taking_pictures(model: onnx.ModelProto) -> onnx.ModelProto:
    """The network for any number of pictures (n, h, w, 3) uint8 BGR of any size.

    The published file fixes ten of 32x32, in floats, RGB, a plane for each color: to bring a picture into
    that form by `cv2.dnn.blobFromImage` takes up to 3 ms more than to reduce it.
    """
    graph = model.graph
    published = graph.input[0].name
    for output in graph.output:
        for axis, name in zip(output.type.tensor_type.shape.dim, "ncij", strict=True):
            if name != "c":
                axis.dim_param = name
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", "h", "w", 3])
    planes = helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2])
    floats = helper.make_node("Cast", ["planes"], [published], to=TensorProto.FLOAT)
    inputs = [i for i in graph.input if i.name != published]
    nodes = list(graph.node)
    del graph.input[:], graph.node[:], graph.value_info[:]
    graph.input.extend([pixels, *inputs])
    graph.node.extend([planes, floats, *nodes])
    colors = [node.input[1] for node in nodes if published in node.input]
    for weights in graph.initializer:
        if weights.name in colors:  # (out, RGB, h, w) to (out, BGR, h, w)
            swapped = np.ascontiguousarray(numpy_helper.to_array(weights)[:, ::-1])
            weights.CopyFrom(numpy_helper.from_array(swapped, weights.name))
    return model
