"""The designated model: weights in the published layout, written by the tests themselves."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from hub.embedding.choose import open_embedder
from hub.embedding.vggface2 import (
    CLASSES,
    MEAN_BGR,
    Vggface2,
    import_weights,
    installed_weights,
    keras_model,
    layers,
    read_weights,
)
from vision.crops import FaceCrop
from vision.errors import ModelError

Weights = dict[str, list[np.ndarray]]


def random_weights(with_top: bool = False, seed: int = 0) -> Weights:
    """He-scaled kernels and sane batch norms, so that signals keep their size through 50 layers."""
    rng = np.random.default_rng(seed)
    weights: Weights = {}
    for layer in layers(with_top):
        if layer.name.endswith("/bn"):
            (n,) = layer.shapes[0]
            damp = 0.3 if "increase" in layer.name else 1.0
            weights[layer.name] = [
                rng.uniform(0.8, 1.2, n) * damp, rng.normal(0, 0.1, n),
                rng.normal(0, 0.1, n), rng.uniform(0.5, 1.5, n),
            ]  # fmt: skip
        else:
            fan_in = int(np.prod(layer.shapes[0][:-1]))
            weights[layer.name] = [rng.normal(0, np.sqrt(2 / fan_in), s) for s in layer.shapes]
    return {n: [w.astype(np.float32) for w in ws] for n, ws in weights.items()}


def write_h5(path: Path, weights: Weights) -> Path:
    """A Keras 2 weight file as `save_weights` wrote it; weightless layers are listed too."""
    suffixes = {1: ["kernel:0"], 2: ["kernel:0", "bias:0"]}
    with h5py.File(path, "w") as file:
        names = ["input_1", *weights, "avg_pool"]
        file.attrs["layer_names"] = [n.encode() for n in names]
        for name in names:
            group = file.create_group(name)
            held = weights.get(name, [])
            parts = suffixes.get(len(held), ["gamma:0", "beta:0", "moving_mean:0", "moving_variance:0"])
            full = [f"{name}/{p}" for p in parts[: len(held)]]
            group.attrs["weight_names"] = [f.encode() for f in full]
            for part, value in zip(full, held, strict=True):
                group.create_dataset(part, data=value)
    return path


@pytest.fixture(scope="module")
def weights() -> Weights:
    return random_weights()


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VEILCAST_MODELS", str(tmp_path / "models"))
    return tmp_path


def test_every_weight_of_a_file_is_read_by_its_layers_name(tmp_path: Path, weights: Weights) -> None:
    held = read_weights(write_h5(tmp_path / "w.h5", weights))
    assert list(held) == list(weights)
    for name in weights:
        for ours, theirs in zip(held[name], weights[name], strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_the_network_has_the_published_number_of_parameters() -> None:
    count = sum(int(np.prod(s)) for layer in layers(with_top=False) for s in layer.shapes)
    assert count == 23_561_152  # ResNet-50 without top and without biases


def test_the_full_top_file_is_read_too(tmp_path: Path, weights: Weights) -> None:
    top = {"classifier": [np.zeros((2048, CLASSES), np.float32), np.zeros(CLASSES, np.float32)]}
    assert "classifier" in read_weights(write_h5(tmp_path / "w.h5", {**weights, **top}))


def test_a_missing_layer_is_named(tmp_path: Path, weights: Weights) -> None:
    fewer = {n: w for n, w in weights.items() if n != "conv3_2_3x3"}
    with pytest.raises(ModelError, match="lacks the layer conv3_2_3x3"):
        read_weights(write_h5(tmp_path / "w.h5", fewer))


def test_an_extra_layer_is_named(tmp_path: Path, weights: Weights) -> None:
    more = {**weights, "conv9_9": [np.zeros((1, 1, 2, 2), np.float32)]}
    with pytest.raises(ModelError, match="has the layer conv9_9"):
        read_weights(write_h5(tmp_path / "w.h5", more))


def test_a_misshapen_layer_is_named(tmp_path: Path, weights: Weights) -> None:
    bent = {**weights, "conv2_1_3x3": [np.zeros((3, 3, 64, 63), np.float32)]}
    with pytest.raises(ModelError, match="conv2_1_3x3 has shapes"):
        read_weights(write_h5(tmp_path / "w.h5", bent))


def test_weights_in_another_order_are_refused(tmp_path: Path, weights: Weights) -> None:
    path = write_h5(tmp_path / "w.h5", weights)
    with h5py.File(path, "r+") as file:
        attributes = file["conv3_2_3x3/bn"].attrs
        attributes["weight_names"] = attributes["weight_names"][::-1]
    with pytest.raises(ModelError, match="conv3_2_3x3/bn lists its weights as moving_variance"):
        read_weights(path)


def test_a_file_that_is_no_weight_file_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    path.write_bytes(b"not hdf5")
    with pytest.raises(ModelError, match="not a Keras weight file"):
        read_weights(path)


def test_without_weights_the_model_says_so(models: Path) -> None:
    assert installed_weights() is None
    with pytest.raises(ModelError, match="not installed"):
        Vggface2()


def test_auto_takes_the_designated_model_where_it_is_installed(models: Path, weights: Weights) -> None:
    assert open_embedder("auto").manifest.model_id.startswith("dlib-")
    import_weights(write_h5(models / "w.h5", weights))
    assert open_embedder("auto").manifest.model_id == "vggface2-resnet50"
    assert open_embedder("dlib-resnet").manifest.model_id.startswith("dlib-")


def test_an_imported_model_runs_and_an_altered_one_is_refused(models: Path, weights: Weights) -> None:
    target = import_weights(write_h5(models / "w.h5", weights))
    crop = FaceCrop(
        np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8), np.zeros((5, 2), np.float32)
    )
    embeddings = Vggface2().embed([crop, crop, crop])
    assert embeddings.shape == (3, 2048)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-4)
    data = bytearray(target.read_bytes())
    data[len(data) // 2] ^= 1
    target.write_bytes(data)
    with pytest.raises(ModelError, match="altered"):
        Vggface2()


@pytest.mark.models
@pytest.mark.timeout(300)
def test_the_graph_gives_what_the_keras_definition_gives(models: Path, weights: Weights) -> None:
    pytest.importorskip("keras")
    import_weights(write_h5(models / "w.h5", weights))
    images = np.random.default_rng(1).integers(0, 256, (2, 224, 224, 3), np.uint8)
    images[1] = np.linspace(0, 255, 224, dtype=np.uint8)[None, :, None]
    crops = [FaceCrop(image, np.zeros((5, 2), np.float32)) for image in images]
    ours = Vggface2().embed(crops)
    bgr = images[..., ::-1].astype(np.float32) - np.array(MEAN_BGR, np.float32)
    theirs = np.asarray(keras_model(weights)(bgr))
    theirs = theirs / np.linalg.norm(theirs, axis=1, keepdims=True)
    assert (ours * theirs).sum(axis=1).min() > 0.9999
