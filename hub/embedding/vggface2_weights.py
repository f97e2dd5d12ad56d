"""Reads the published VGGFace2 weight files (HDF5, Keras 2) by layer name, every weight accounted for.

The file comes from the network or from a stick, so nothing in it is trusted: sizes, types, shapes and names
are checked against `vggface2_layers` before a weight is read, and nothing but plain arrays inside the
file itself is followed. Called by the import command; knows nothing of graphs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hub.embedding.vggface2_layers import CLASSIFIER, Array, Layer, layers
from vision.errors import ModelError

MAX_FILE_BYTES = 256 * 2**20
"""The full-top file is 165 MB."""
MAX_LISTED = 512
"""Layers a file may list, with those that have no weights: the published ones list about 180."""
MAX_NAME = 128
PLAIN_FILTERS = frozenset({1, 2, 3})
"""HDF5's own deflate, shuffle and checksum. Others would be loaded as plug-ins."""


def read_weights(path: Path) -> dict[str, list[Array]]:
    """All weights of a file, by layer name, in the order of `Layer.shapes`.

    The classifier may be there or not. Raises ModelError with the layer's name where one is missing, extra,
    misshapen, not made of finite numbers, or kept in a way that a weight file has no need of.
    """
    try:
        import h5py
    except ImportError as exc:
        raise ModelError("reading .h5 weights needs h5py: pip install 'veilcast[models]'") from exc
    try:
        size = path.stat().st_size
    except OSError as exc:
        raise ModelError(f"{path}: cannot be read: {exc.strerror}") from exc
    if size > MAX_FILE_BYTES:
        raise ModelError(f"{path}: {size} bytes are more than a file of this model has")
    try:
        with h5py.File(path, "r") as file:
            return _read(path, _group(file, "model_weights") if "model_weights" in file else file)
    except ModelError:
        raise
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, OverflowError) as exc:
        raise ModelError(f"{path} is not a Keras weight file: {exc}") from exc


def _read(path: Path, group: Any) -> dict[str, list[Array]]:
    names = _names(group, "layer_names")
    listed = {name: _names(_group(group, name), "weight_names") for name in names}
    holding = {name: weights for name, weights in listed.items() if weights}
    expected = layers(with_top=CLASSIFIER in holding)
    for layer in expected:
        if layer.name not in holding:
            raise ModelError(f"{path} lacks the layer {layer.name}")
    extra = [name for name in holding if name not in {layer.name for layer in expected}]
    if extra:
        raise ModelError(f"{path} has the layer {extra[0]}, which this network does not")
    return {layer.name: _weights_of(path, group, layer, holding[layer.name]) for layer in expected}


def _weights_of(path: Path, group: Any, layer: Layer, names: list[str]) -> list[Array]:
    kinds = tuple(name.rpartition("/")[2].partition(":")[0] for name in names)
    if kinds != layer.kinds:
        raise ModelError(
            f"{path}: layer {layer.name} lists its weights as {', '.join(kinds)}, "
            f"expected {', '.join(layer.kinds)}"
        )
    own = _group(group, layer.name)
    datasets = [_dataset(path, own, layer, name) for name in names]
    shapes = tuple(dataset.shape for dataset in datasets)
    if shapes != layer.shapes:
        raise ModelError(f"{path}: layer {layer.name} has shapes {shapes}, expected {layer.shapes}")
    weights = [np.asarray(dataset[()], np.float32) for dataset in datasets]
    if not all(np.isfinite(w).all() for w in weights):
        raise ModelError(f"{path}: layer {layer.name} holds numbers that are not finite")
    if layer.name.endswith("/bn") and (weights[3] < 0).any():
        raise ModelError(f"{path}: layer {layer.name} has a negative variance")
    return weights


def _dataset(path: Path, group: Any, layer: Layer, name: str) -> Any:
    """A plain array of floating-point numbers in this file, not read yet."""
    import h5py

    found = _inside(group, name)
    if not isinstance(found, h5py.Dataset):
        raise ModelError(f"{path}: layer {layer.name} lacks its weight {name}")
    filters = found.id.get_create_plist()
    kinds = {filters.get_filter(i)[0] for i in range(filters.get_nfilters())}
    if found.is_virtual or found.external or not kinds <= PLAIN_FILTERS:
        raise ModelError(
            f"{path}: layer {layer.name} keeps {name} outside of the file or in a foreign coding"
        )
    if found.dtype.kind != "f" or found.dtype.itemsize > 8:
        raise ModelError(f"{path}: layer {layer.name} keeps {name} as {found.dtype}, not as numbers")
    return found


def _group(group: Any, name: str) -> Any:
    import h5py

    found = _inside(group, name)
    if not isinstance(found, h5py.Group):
        raise ModelError(f"not a Keras weight file: {name} is not where it should be")
    return found


def _inside(group: Any, name: str) -> Any:
    """The object below a group, by hard links only: soft and external links could lead anywhere."""
    import h5py

    for part in name.split("/"):
        if not isinstance(group, h5py.Group) or part in ("", ".", ".."):
            return None
        if not isinstance(group.get(part, getlink=True), h5py.HardLink):
            return None
        group = group[part]
    return group


def _names(group: Any, attribute: str) -> list[str]:
    """A list of names in an attribute; its type and size are looked at before it is read."""
    if attribute not in group.attrs:
        raise ModelError(f"not a Keras weight file: it has no {attribute}")
    kept = group.attrs.get_id(attribute)
    if len(kept.shape) != 1 or kept.shape[0] > MAX_LISTED:
        raise ModelError(f"not a Keras weight file: {attribute} has the shape {kept.shape}")
    if kept.shape[0] == 0:
        return []
    if kept.dtype.kind not in "SO" or kept.dtype.itemsize > MAX_NAME:
        raise ModelError(f"not a Keras weight file: {attribute} is no list of names")
    names = [n.decode("utf-8") if isinstance(n, bytes) else n for n in group.attrs[attribute]]
    if len(set(names)) != len(names) or not all(isinstance(n, str) and 0 < len(n) <= MAX_NAME for n in names):
        raise ModelError(f"not a Keras weight file: {attribute} is no list of distinct names")
    return names
