"""Eight-bit graphs: near the floats, within the ranges, loud where a range is missing."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from vision.centerface import CenterFace, CenterFaceSettings
from vision.centerface_onnx import ranges, with_open_inputs
from vision.quantize import WEIGHT_LEVELS, activations, prepared, quantized, rounded_together

SHAPE = (1, 3, 8, 8)


def small_model() -> onnx.ModelProto:
    """Two convolutions with a ReLU between, in the opset of CenterFace's file."""
    random = np.random.default_rng(5)
    first = random.normal(size=(4, 3, 3, 3)).astype(np.float32)
    second = random.normal(size=(2, 4, 1, 1)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 2, 8, 8))],
        [numpy_helper.from_array(first, "w1"), numpy_helper.from_array(second, "w2")],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)


def run(model: onnx.ModelProto, x: NDArray[np.float32]) -> NDArray[np.float32]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    result: NDArray[np.float32] = session.run(None, {"x": x})[0]
    return result


def test_eight_bits_stay_near_the_floats() -> None:
    x = np.random.default_rng(6).uniform(-1, 1, SHAPE).astype(np.float32)
    exact = run(prepared(small_model()), x)
    b = {"x": (-1.0, 1.0), "b": (0.0, 12.0)}
    rounded = run(quantized(prepared(small_model()), b), x)
    assert 0 < np.abs(rounded - exact).max() < 0.05 * np.abs(exact).max()


def test_values_beyond_their_range_are_held_at_its_end() -> None:
    x = np.full(SHAPE, 50.0, np.float32)
    b = {"x": (-1.0, 1.0), "b": (0.0, 100.0)}
    held = run(quantized(prepared(small_model()), b), x)
    same = run(quantized(prepared(small_model()), b), np.ones(SHAPE, np.float32))
    np.testing.assert_allclose(held, same, atol=0.5)


def test_weights_use_seven_bits_so_that_pairs_of_products_fit_16() -> None:
    model = quantized(prepared(small_model()), {"x": (-1.0, 1.0), "b": (0.0, 12.0)})
    whole = [numpy_helper.to_array(w) for w in model.graph.initializer if w.name.endswith("w1/whole")]
    assert whole[0].dtype == np.int8
    assert np.abs(whole[0]).max() == WEIGHT_LEVELS


def test_what_is_kept_stays_in_floats() -> None:
    x = np.random.default_rng(6).uniform(-1, 1, SHAPE).astype(np.float32)
    model = quantized(prepared(small_model()), {}, kept={"a", "y"})
    np.testing.assert_allclose(run(model, x), run(prepared(small_model()), x), rtol=1e-5)


def test_a_missing_range_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="no range for b"):
        quantized(prepared(small_model()), {"x": (-1.0, 1.0)})


def test_weights_rounded_together_make_up_for_each_other() -> None:
    random = np.random.default_rng(7)
    # Inputs as neighboring pixels are: mostly alike.
    inputs = random.normal(size=(5000, 1)) + 0.2 * random.normal(size=(5000, 30))
    weights = random.normal(size=(8, 30))
    whole, scale = rounded_together(weights, inputs.T @ inputs / len(inputs), 127)
    assert np.abs(whole).max() <= 127
    alone = np.rint(weights / scale[:, None])
    errors = [float(np.std(inputs @ (weights - w * scale[:, None]).T)) for w in (whole, alone)]
    assert errors[0] < 0.6 * errors[1]


def test_every_value_of_centerface_has_a_range() -> None:
    assert set(ranges()) == set(activations(with_open_inputs()))


def test_both_precisions_find_the_same_faces() -> None:
    from edge_node.capture.portraits import demo_portraits
    from edge_node.capture.scene import Scenario
    from edge_node.capture.synthetic import SceneRenderer

    image, truth = SceneRenderer(Scenario(people=2), demo_portraits()).render(60)
    assert truth, "the scene shows someone at this frame"
    floats, whole = (CenterFace(CenterFaceSettings(precision=p)).glance(image) for p in ("fp32", "int8"))
    sure = floats.scores > 0.4
    assert sure.any()
    for box, score in zip(floats.boxes_xyxy[sure], floats.scores[sure], strict=True):
        at = np.abs(whole.boxes_xyxy - box).max(axis=1).argmin()
        assert np.abs(whole.boxes_xyxy[at] - box).max() < 0.15 * (box[2] - box[0])
        assert abs(whole.scores[at] - score) < 0.15
