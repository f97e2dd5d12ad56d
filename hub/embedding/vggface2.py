"""VGGFace2 ResNet-50 (2048-d), the designated model: the published weights on our own runtime.

Cao, Shen, Xie, Parkhi, Zisserman, "VGGFace2: A dataset for recognising faces across pose and age", FG
2018, in the layout of the keras-vggface package, whose `rcmalli_vggface_tf_notop_resnet50.h5` (and
full-top file) is read by layer name, every weight accounted for, and turned into an ONNX graph once.
Keras itself is not needed for that; `keras_model` is the definition that the graph is proven against.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from hub.embedding.port import Embeddings, ModelManifest, normalized
from vision.crops import CROP_PX, FaceCrop
from vision.errors import ModelError
from vision.model_store import models_dir, sha256_of, write_atomically
from vision.runtime import RuntimeName, load_network

MODEL_ID = "vggface2-resnet50"
DIMENSION = 2048
CLASSES = 8631
MEAN_BGR = (91.4953, 103.8827, 131.0912)
"""The training set's mean, subtracted from BGR pixels."""
BN_EPSILON = 1e-3
"""Keras's default, with which the weights were made."""
WEIGHT_ORDERS = ((), ("kernel",), ("kernel", "bias"), ("gamma", "beta", "moving_mean", "moving_variance"))
"""How a layer lists its weights: none, convolution, dense, batch norm."""
LICENCE = "VGGFace2: research and other non-commercial use only"
Weights = Mapping[str, Sequence[NDArray[np.float32]]]


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer that has weights: its published name and the shapes of its weights, in order."""

    name: str
    shapes: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Block:
    """One residual block; `projects` where the shortcut has a convolution of its own."""

    prefix: str
    channels_in: int
    channels: int
    stride: int
    projects: bool


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
        found.append(Layer(name, ((size, size, channels_in, channels_out),)))
        found.append(Layer(f"{name}/bn", ((channels_out,),) * 4))

    conv("conv1/7x7_s2", 7, 3, 64)
    for b in blocks():
        conv(f"{b.prefix}_1x1_reduce", 1, b.channels_in, b.channels)
        conv(f"{b.prefix}_3x3", 3, b.channels, b.channels)
        conv(f"{b.prefix}_1x1_increase", 1, b.channels, 4 * b.channels)
        if b.projects:
            conv(f"{b.prefix}_1x1_proj", 1, b.channels_in, 4 * b.channels)
    if with_top:
        found.append(Layer("classifier", ((DIMENSION, CLASSES), (CLASSES,))))
    return found


# --- weights from a file ------------------------------------------------------------------------


def read_weights(path: Path) -> dict[str, list[NDArray[np.float32]]]:
    """All weights of a Keras 2 weight file, by layer name. Raises ModelError: which layer, what is wrong.

    A missing, an extra and a misshapen layer are refused. The classifier may be there or not.
    """
    try:
        import h5py
    except ImportError as exc:
        raise ModelError("reading .h5 weights needs h5py: pip install 'veilcast[models]'") from exc
    try:
        with h5py.File(path, "r") as file:
            group = file.get("model_weights", file)
            names = [_text(n) for n in group.attrs["layer_names"]]
            held = {name: _parts(group, name) for name in names}
    except (OSError, KeyError, ValueError) as exc:
        raise ModelError(f"{path} is not a Keras weight file: {exc}") from exc
    held = {name: weights for name, weights in held.items() if weights}
    expected = layers(with_top="classifier" in held)
    for layer in expected:
        if layer.name not in held:
            raise ModelError(f"{path} lacks the layer {layer.name}")
        shapes = tuple(w.shape for w in held[layer.name])
        if shapes != layer.shapes:
            raise ModelError(f"{path}: layer {layer.name} has shapes {shapes}, expected {layer.shapes}")
        if not all(np.isfinite(w).all() for w in held[layer.name]):
            raise ModelError(f"{path}: layer {layer.name} holds numbers that are not finite")
    extra = set(held) - {layer.name for layer in expected}
    if extra:
        raise ModelError(f"{path} has the layer {sorted(extra)[0]}, which this network does not")
    return held


def _parts(group: Any, name: str) -> list[NDArray[np.float32]]:
    """The weights of one layer, in the order of the file, which must be that of the published one."""
    listed = [_text(w) for w in group[name].attrs["weight_names"]]
    kinds = tuple(w.rpartition("/")[2].partition(":")[0] for w in listed)
    if kinds not in WEIGHT_ORDERS:
        raise ModelError(f"layer {name} lists its weights as {', '.join(kinds)}, which is not understood")
    return [np.asarray(group[name][w], np.float32) for w in listed]


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name


# --- the ONNX graph -------------------------------------------------------------------------------


def build_onnx(weights: Weights) -> onnx.ModelProto:
    """The network as ONNX: (N, 224, 224, 3) uint8 RGB -> (N, 2048) float32. Batch norms are folded."""
    nodes: list[Any] = []
    constants: list[Any] = []

    def node(kind: str, inputs: list[str], **attributes: Any) -> str:
        output = f"{kind.lower()}{len(nodes)}"
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(value: NDArray[Any]) -> str:
        name = f"w{len(constants)}"
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def conv(x: str, name: str, stride: int = 1, flip_input: bool = False) -> str:
        (kernel,), (gamma, beta, mean, variance) = weights[name], weights[f"{name}/bn"]
        factor = gamma / np.sqrt(variance + BN_EPSILON)
        folded = (kernel[:, :, ::-1] if flip_input else kernel) * factor
        return node(
            "Conv",
            [x, constant(folded.transpose(3, 2, 0, 1)), constant(beta - mean * factor)],
            strides=[stride, stride],
            auto_pad="SAME_UPPER",
        )

    # The mean cannot be folded into the first convolution: its padding stands for the mean.
    x = node("Cast", ["rgb"], to=TensorProto.FLOAT)
    x = node("Sub", [x, constant(np.array(MEAN_BGR[::-1], np.float32))])
    x = node("Transpose", [x], perm=[0, 3, 1, 2])
    x = node("Relu", [conv(x, "conv1/7x7_s2", 2, flip_input=True)])
    x = node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2])
    for b in blocks():
        y = node("Relu", [conv(x, f"{b.prefix}_1x1_reduce", b.stride)])
        y = node("Relu", [conv(y, f"{b.prefix}_3x3")])
        y = conv(y, f"{b.prefix}_1x1_increase")
        shortcut = conv(x, f"{b.prefix}_1x1_proj", b.stride) if b.projects else x
        x = node("Relu", [node("Add", [y, shortcut])])
    x = node("GlobalAveragePool", [x])
    nodes.append(helper.make_node("Flatten", [x], ["embedding"]))
    graph = helper.make_graph(
        nodes, MODEL_ID,
        [helper.make_tensor_value_info("rgb", TensorProto.UINT8, ["n", CROP_PX, CROP_PX, 3])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", DIMENSION])],
        constants,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    return model


def keras_model(weights: Weights) -> Any:
    """The same network in Keras 3: (N, 224, 224, 3) mean-free BGR float32 -> (N, 2048).

    The definition of keras-vggface's ResNet-50 without top, average pooling. Keras 3 allows no "/" in
    layer names; "|" stands for it.
    """
    import keras
    from keras import layers as kl

    def conv(x: Any, name: str, size: int, channels: int, stride: int = 1) -> Any:
        x = kl.Conv2D(
            channels, size, strides=stride, padding="same", use_bias=False, name=name.replace("/", "|")
        )(x)
        return kl.BatchNormalization(epsilon=BN_EPSILON, name=f"{name}/bn".replace("/", "|"))(x)

    entrance = kl.Input((CROP_PX, CROP_PX, 3))
    x = kl.ReLU()(conv(entrance, "conv1/7x7_s2", 7, 64, 2))
    x = kl.MaxPooling2D(3, strides=2)(x)
    for b in blocks():
        y = kl.ReLU()(conv(x, f"{b.prefix}_1x1_reduce", 1, b.channels, b.stride))
        y = kl.ReLU()(conv(y, f"{b.prefix}_3x3", 3, b.channels))
        y = conv(y, f"{b.prefix}_1x1_increase", 1, 4 * b.channels)
        proj = f"{b.prefix}_1x1_proj"
        shortcut = conv(x, proj, 1, 4 * b.channels, b.stride) if b.projects else x
        x = kl.ReLU()(kl.Add()([y, shortcut]))
    model = keras.Model(entrance, kl.GlobalAveragePooling2D()(x))
    for layer in layers(with_top=False):
        model.get_layer(layer.name.replace("/", "|")).set_weights(list(weights[layer.name]))
    return model


# --- the installed model --------------------------------------------------------------------------


def installed_weights() -> Path | None:
    """The imported model's ONNX file, where there is one."""
    path = models_dir() / f"{MODEL_ID}.onnx"
    return path if path.is_file() else None


def import_weights(path: Path) -> Path:
    """Turn a published weight file into the installed model. Raises ModelError."""
    model = build_onnx(read_weights(path)).SerializeToString()
    target = models_dir() / f"{MODEL_ID}.onnx"
    write_atomically(target, model)
    record = {"source": path.name, "source_sha256": sha256_of(path), "onnx_sha256": sha256_of(target)}
    write_atomically(target.with_suffix(".json"), json.dumps(record, indent=1).encode())
    return target


class Vggface2:
    """The installed model. Raises ModelError where it is missing or was altered."""

    def __init__(self, runtime: RuntimeName = "auto", threads: int = 0) -> None:
        path = installed_weights()
        if path is None:
            raise ModelError(f"{MODEL_ID} is not installed: import its weights first")
        try:
            record = json.loads(path.with_suffix(".json").read_text())
            recorded = str(record["onnx_sha256"])
        except (OSError, ValueError, KeyError) as exc:
            raise ModelError(f"{path} has no record of its digest: import the weights again") from exc
        if sha256_of(path) != recorded:
            raise ModelError(f"{path} was altered after its import: import the weights again")
        self.manifest = ModelManifest(
            model_id=MODEL_ID, dimension=DIMENSION, sha256=recorded, licence=LICENCE,
            threshold=0.65, margin=0.05, measured="not measured: a cautious guess",
            input="224x224 BGR minus the training mean",
        )  # fmt: skip
        self._network = load_network(path, runtime, threads)

    def embed(self, crops: Sequence[FaceCrop]) -> Embeddings:
        """(N, 2048)."""
        if not crops:
            return np.zeros((0, DIMENSION), np.float32)
        (raw,) = self._network.run(np.stack([crop.image_rgb for crop in crops]))
        return normalized(np.asarray(raw, np.float32))
