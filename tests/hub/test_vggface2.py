"""The designated model: weights in the published layout, written by the tests themselves."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import msgspec
import numpy as np
import pytest

from hub.embedding.choose import open_embedder
from hub.embedding.vggface2 import (
    Record,
    Vggface2,
    graph_file,
    import_weights,
    installed_weights,
    read_record,
    record_file,
)
from hub.embedding.vggface2_layers import CLASSES, layers
from hub.embedding.vggface2_weights import MAX_FILE_BYTES, read_weights
from tests.hub.vggface2_reference import raw_weights, write_h5
from vision.crops import FaceCrop
from vision.errors import ModelError

Weights = dict[str, list[np.ndarray]]


@pytest.fixture(scope="module")
def weights() -> Weights:
    return raw_weights()


@pytest.fixture(scope="module")
def published(weights: Weights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file like the one without top."""
    return write_h5(tmp_path_factory.mktemp("published") / "w.h5", weights)


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VEILCAST_MODELS", str(tmp_path / "models"))
    return tmp_path


def changed(published: Path, tmp_path: Path, change: Callable[[Any], None]) -> Path:
    """A copy of the file with something else in it."""
    path = tmp_path / "changed.h5"
    shutil.copy(published, path)
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def layer_names(file: Any) -> list[bytes]:
    return [n if isinstance(n, bytes) else n.encode() for n in file.attrs["layer_names"]]


def list_layer(file: Any, name: str) -> None:
    file.attrs["layer_names"] = [*layer_names(file), name.encode()]


def add_layer(file: Any, name: str, **parts: np.ndarray) -> None:
    list_layer(file, name)
    group = file.create_group(name)
    group.attrs["weight_names"] = [f"{name}/{part}:0".encode() for part in parts]
    for part, value in parts.items():
        group.create_dataset(f"{name}/{part}:0", data=value)


def replace_weight(file: Any, layer: str, part: str, value: np.ndarray) -> None:
    del file[layer][layer][part]
    file[layer][layer].create_dataset(part, data=value)


# --- reading the published file -----------------------------------------------------------------


def test_every_weight_of_a_file_is_read_by_its_layers_name(published: Path, weights: Weights) -> None:
    held = read_weights(published)
    assert list(held) == list(weights)
    for name in weights:
        for ours, theirs in zip(held[name], weights[name], strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_the_network_has_the_published_layers() -> None:
    listed = layers(with_top=True)
    assert sum(int(np.prod(s)) for layer in listed[:-1] for s in layer.shapes) == 23_561_152
    names = [layer.name for layer in listed]
    assert names[:4] == ["conv1/7x7_s2", "conv1/7x7_s2/bn", "conv2_1_1x1_reduce", "conv2_1_1x1_reduce/bn"]
    assert names[-1] == "classifier"
    assert len([n for n in names if n.endswith("_proj")]) == 4
    assert len(names) == 2 * 53 + 1


def test_weights_are_found_whatever_the_order_of_the_layers(published: Path, tmp_path: Path) -> None:
    def reverse(file: Any) -> None:
        file.attrs["layer_names"] = file.attrs["layer_names"][::-1]

    held = read_weights(changed(published, tmp_path, reverse))
    assert list(held) == [layer.name for layer in layers(with_top=False)]


def test_the_full_top_file_is_read_too(published: Path, tmp_path: Path) -> None:
    top = {"kernel": np.zeros((2048, CLASSES), np.float32), "bias": np.zeros(CLASSES, np.float32)}
    held = read_weights(changed(published, tmp_path, lambda f: add_layer(f, "classifier", **top)))
    assert held["classifier"][0].shape == (2048, CLASSES)


def test_a_whole_saved_model_is_read_too(published: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    with h5py.File(published) as source, h5py.File(path, "w") as target:
        group = target.create_group("model_weights")
        for name in source:
            source.copy(name, group)
        group.attrs["layer_names"] = source.attrs["layer_names"]
    assert len(read_weights(path)) == 106


def test_a_missing_layer_is_named(published: Path, tmp_path: Path) -> None:
    def drop(file: Any) -> None:
        file.attrs["layer_names"] = [n for n in layer_names(file) if n != b"conv3_2_3x3"]

    with pytest.raises(ModelError, match="lacks the layer conv3_2_3x3"):
        read_weights(changed(published, tmp_path, drop))


def test_an_extra_layer_is_named(published: Path, tmp_path: Path) -> None:
    extra = {"kernel": np.zeros((1, 1, 2, 2), np.float32)}
    with pytest.raises(ModelError, match="has the layer conv9_9"):
        read_weights(changed(published, tmp_path, lambda f: add_layer(f, "conv9_9", **extra)))


def test_the_top_of_another_network_is_named(published: Path, tmp_path: Path) -> None:
    extra = {"kernel": np.zeros((512, 4), np.float32)}
    with pytest.raises(ModelError, match="has the layer classifier_low_dim"):
        read_weights(changed(published, tmp_path, lambda f: add_layer(f, "classifier_low_dim", **extra)))


def test_a_misshapen_weight_is_named(published: Path, tmp_path: Path) -> None:
    bent = np.zeros((3, 3, 64, 63), np.float32)
    with pytest.raises(ModelError, match="conv2_1_3x3 has shapes"):
        read_weights(
            changed(published, tmp_path, lambda f: replace_weight(f, "conv2_1_3x3", "kernel:0", bent))
        )


def test_a_missing_weight_is_named(published: Path, tmp_path: Path) -> None:
    def drop(file: Any) -> None:
        del file["conv4_1_3x3"]["conv4_1_3x3"]["kernel:0"]

    with pytest.raises(ModelError, match="conv4_1_3x3 lacks its weight"):
        read_weights(changed(published, tmp_path, drop))


def test_weights_in_another_order_are_refused(published: Path, tmp_path: Path) -> None:
    def turn(file: Any) -> None:
        attributes = file["conv3_2_3x3/bn"].attrs
        attributes["weight_names"] = attributes["weight_names"][::-1]

    with pytest.raises(ModelError, match="conv3_2_3x3/bn lists its weights as moving_variance"):
        read_weights(changed(published, tmp_path, turn))


@pytest.mark.parametrize(
    ("part", "value", "words"),
    [
        ("gamma:0", np.full(64, np.nan, np.float32), "not finite"),
        ("moving_variance:0", np.full(64, -1, np.float32), "negative variance"),
        ("gamma:0", np.full(64, 1, np.int32), "not as numbers"),
        ("gamma:0", np.full(64, b"x"), "not as numbers"),
    ],
)
def test_weights_that_are_no_numbers_are_named(
    published: Path, tmp_path: Path, part: str, value: np.ndarray, words: str
) -> None:
    with pytest.raises(ModelError, match=f"conv2_1_3x3/bn .*{words}"):
        read_weights(changed(published, tmp_path, lambda f: replace_weight(f, "conv2_1_3x3/bn", part, value)))


# --- files that nobody should trust ---------------------------------------------------------------


@pytest.mark.parametrize("kind", ["external link", "soft link", "outside", "group"])
def test_nothing_outside_of_the_file_is_followed(published: Path, tmp_path: Path, kind: str) -> None:
    (tmp_path / "other.bin").write_bytes(bytes(64 * 4))

    def lead_away(file: Any) -> None:
        group = file["conv2_1_3x3/bn"]["conv2_1_3x3/bn"]
        del group["gamma:0"]
        if kind == "external link":
            group["gamma:0"] = h5py.ExternalLink(str(published), "/conv2_1_3x3/bn/conv2_1_3x3/bn/gamma:0")
        elif kind == "soft link":
            group["gamma:0"] = h5py.SoftLink("/conv2_1_3x3/bn/conv2_1_3x3/bn/beta:0")
        elif kind == "outside":
            outside = [(str(tmp_path / "other.bin"), 0, 64 * 4)]
            group.create_dataset("gamma:0", shape=(64,), dtype="<f4", external=outside)
        else:
            group.create_group("gamma:0")

    with pytest.raises(ModelError, match="conv2_1_3x3/bn"):
        read_weights(changed(published, tmp_path, lead_away))


def test_a_weight_is_not_unpacked_before_its_shape_is_known_to_be_right(
    published: Path, tmp_path: Path
) -> None:
    def swell(file: Any) -> None:
        group = file["conv2_1_3x3/bn"]["conv2_1_3x3/bn"]
        del group["gamma:0"]
        # A terabyte of nothing: no chunk of it is stored.
        group.create_dataset("gamma:0", shape=(2**38,), dtype="<f4", chunks=(2**20,), compression="gzip")

    with pytest.raises(ModelError, match="conv2_1_3x3/bn has shapes"):
        read_weights(changed(published, tmp_path, swell))


def test_a_list_of_too_many_layers_is_refused(published: Path, tmp_path: Path) -> None:
    def swell(file: Any) -> None:
        file.attrs["layer_names"] = [f"layer{i}".encode() for i in range(600)]

    with pytest.raises(ModelError, match="layer_names has the shape"):
        read_weights(changed(published, tmp_path, swell))


def test_a_layer_that_is_listed_twice_is_refused(published: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="distinct names"):
        read_weights(changed(published, tmp_path, lambda f: list_layer(f, "conv3_2_3x3")))


def test_a_file_that_is_too_large_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(ModelError, match="more than a file of this model has"):
        read_weights(path)


@pytest.mark.parametrize("data", [b"", b"not hdf5", b"\x89HDF\r\n\x1a\n" + bytes(200)])
def test_a_file_that_is_no_weight_file_is_one_clear_line(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "w.h5"
    path.write_bytes(data)
    with pytest.raises(ModelError, match="not a Keras weight file"):
        read_weights(path)


def test_a_cut_file_is_one_clear_line(published: Path, tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    path.write_bytes(published.read_bytes()[:50_000_000])
    with pytest.raises(ModelError, match="not a Keras weight file"):
        read_weights(path)


# --- the installed model -----------------------------------------------------------------------------


def test_without_weights_the_model_says_so(models: Path) -> None:
    assert installed_weights() is None
    with pytest.raises(ModelError, match="models fetch vggface2-resnet50"):
        Vggface2()


def test_an_imported_model_runs_and_what_was_altered_is_refused(models: Path, published: Path) -> None:
    assert open_embedder("auto").manifest.model_id.startswith("dlib-")
    import_weights(published)
    assert open_embedder("dlib-resnet").manifest.model_id.startswith("dlib-")
    model = open_embedder("auto")
    assert model.manifest.model_id == "vggface2-resnet50"
    crop = FaceCrop(
        np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8), np.zeros((5, 2), np.float32)
    )
    embeddings = model.embed([crop] * 3)
    assert embeddings.shape == (3, 2048)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-4)
    assert model.embed([]).shape == (0, 2048)

    data = bytearray(graph_file("int8").read_bytes())
    data[len(data) // 2] ^= 1
    graph_file("int8").write_bytes(data)
    with pytest.raises(ModelError, match="altered"):
        Vggface2(precision="int8")
    Vggface2(precision="fp32")
    graph_file("fp16").unlink()
    with pytest.raises(ModelError, match="no fp16 graph"):
        Vggface2(precision="fp16")
    record_file().write_text("{}")
    with pytest.raises(ModelError, match="import the weights again"):
        Vggface2(precision="fp32")


def test_an_import_that_fails_leaves_the_installed_model_as_it_was(models: Path) -> None:
    record = Record("w.h5", "0" * 64, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", {"fp32": "0" * 64})
    graph_file("fp32").parent.mkdir()
    graph_file("fp32").write_bytes(b"a graph")
    record_file().write_bytes(msgspec.json.encode(record))
    bad = models / "bad.h5"
    bad.write_bytes(b"not hdf5")
    with pytest.raises(ModelError):
        import_weights(bad)
    assert read_record() == record
    assert graph_file("fp32").read_bytes() == b"a graph"


def test_the_embedded_model_has_one_precision(models: Path) -> None:
    with pytest.raises(ModelError, match="dlib-resnet has no int8 variant"):
        open_embedder("auto", precision="int8")
