"""One network, five times: numpy, Keras, and the three ONNX graphs give one face the same embedding.

On real faces, with weights whose batch norms were measured on other real faces. The bars are for means.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hub.embedding.agreement import BARS, agreement, faces_in
from hub.embedding.vggface2 import import_weights
from hub.embedding.vggface2_graph import build_onnx, keras_model
from hub.embedding.vggface2_layers import MEAN_BGR
from hub.embedding.vggface2_ranges import limits
from tests.data import DATA, needs_data
from tests.hub.vggface2_reference import (
    cosines,
    forward,
    measured_weights,
    raw_weights,
    write_h5,
)
from vision.crops import FaceCrop
from vision.errors import ModelError
from vision.runtime import RuntimeName, load_network

Weights = dict[str, list[np.ndarray]]
pytestmark = [needs_data, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def faces() -> list[FaceCrop]:
    """Eight people of LFW, through detector, crop and JPEG."""
    return faces_in(DATA / "lfw" / "images", at_most=9)[:8]


@pytest.fixture(scope="module")
def pixels(faces: list[FaceCrop]) -> NDArray[np.uint8]:
    return np.stack([face.image_rgb for face in faces])


@pytest.fixture(scope="module")
def weights(pixels: NDArray[np.uint8]) -> Weights:
    """Measured on four of the faces; the comparisons are on the other four."""
    return measured_weights(pixels[:4])


@pytest.fixture(scope="module")
def expected(weights: Weights, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return forward(weights, pixels[4:])


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
@pytest.mark.parametrize(("precision", "bar"), [("fp32", 0.9999), ("fp16", 0.999), ("int8", 0.99)])
def test_the_graphs_give_what_the_description_says(
    tmp_path: Path, weights: Weights, pixels: NDArray[np.uint8], expected: NDArray[np.float32],
    runtime: RuntimeName, precision: str, bar: float,
) -> None:  # fmt: skip
    path = tmp_path / "graph.onnx"
    path.write_bytes(build_onnx(weights, precision).SerializeToString())  # type: ignore[arg-type]
    found = load_network(path, runtime, threads=1).run(pixels[4:])[0]
    assert cosines(expected, found).mean() >= bar


def test_whole_numbers_are_read_without_strides(weights: Weights) -> None:
    """OpenVINO leaves convolutions that have one in floats."""
    graph = build_onnx(weights, "int8").graph
    strides = [
        list(attribute.ints)
        for node in graph.node
        if node.op_type == "Conv" and node.input[0] != "transpose2"
        for attribute in node.attribute
        if attribute.name == "strides"
    ]
    assert len(strides) == 52
    assert strides == [[1, 1]] * 52


@pytest.mark.models
def test_the_published_definition_gives_what_the_description_says(
    weights: Weights, pixels: NDArray[np.uint8], expected: NDArray[np.float32]
) -> None:
    pytest.importorskip("keras", reason="the extra `models` is not installed")
    bgr = pixels[4:, ..., ::-1].astype(np.float32) - np.array(MEAN_BGR, np.float32)
    model = keras_model(weights)
    assert cosines(expected, np.asarray(model(bgr))).mean() >= 0.9999
    assert model.count_params() == 23_561_152
    assert model.get_layer("avg_pool").output.shape == (None, 1, 1, 2048)


@pytest.mark.models
def test_the_published_definition_with_its_top_names_8631_people() -> None:
    pytest.importorskip("keras", reason="the extra `models` is not installed")
    weights = raw_weights(with_top=True)
    shares = np.asarray(keras_model(weights)(np.zeros((1, 224, 224, 3), np.float32)))
    assert shares.shape == (1, 8631)
    assert shares.sum() == pytest.approx(1, abs=1e-4)


def test_rounding_everything_to_bfloat16_keeps_the_embedding(
    weights: Weights, pixels: NDArray[np.uint8], expected: NDArray[np.float32]
) -> None:
    # What "fp16" is on processors that compute in bfloat16.
    assert cosines(expected, forward(weights, pixels[4:], bfloat16=True)).mean() >= 0.999


def test_the_faces_are_told_apart_by_these_weights(expected: NDArray[np.float32]) -> None:
    # Otherwise agreement would mean nothing.
    pairs = [cosines(expected[i : i + 1], expected[j : j + 1])[0] for i in range(4) for j in range(i)]
    assert max(pairs) < 0.99


def test_the_batch_norms_foretell_how_large_values_get(weights: Weights, pixels: NDArray[np.uint8]) -> None:
    few, many = limits(weights, spreads=4), limits(weights, spreads=8)
    assert set(few) == set(many)
    assert len(few) == 1 + 3 * 16
    assert all(few[name] < many[name] for name in few)


def test_agreement_is_measured_on_the_installed_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: Weights, faces: list[FaceCrop]
) -> None:
    monkeypatch.setenv("VEILCAST_MODELS", str(tmp_path / "models"))
    import_weights(write_h5(tmp_path / "w.h5", weights))
    found = agreement(faces[4:], threads=1)
    assert set(found) == {"fp16", "int8"}
    assert all(found[precision] >= bar for precision, bar in BARS.items())


def test_a_folder_without_faces_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="shows a face"):
        faces_in(tmp_path)
    with pytest.raises(ModelError, match="no folder"):
        faces_in(tmp_path / "gone")
