"""VGGFace2 ResNet-50 (2048-d), the designated model: the published weights on our own runtime.

Cao, Shen, Xie, Parkhi, Zisserman, "VGGFace2: A dataset for recognising faces across pose and age", FG
2018. Its weight file is read once (`vggface2_weights`) and turned into ONNX graphs of three precisions
(`vggface2_graph`), which are what the hub loads. This module owns the installed model's folder and record.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta, Struct

from hub.embedding.lanes import Lanes, lanes_of
from hub.embedding.port import Aligned, Embeddings, ModelManifest, normalized
from hub.embedding.vggface2_graph import PRECISIONS, Precision, build_onnx
from hub.embedding.vggface2_layers import CLASSIFIER, DIMENSION, MODEL_ID
from hub.embedding.vggface2_weights import read_weights
from vision.crops import FaceCrop
from vision.errors import ModelError
from vision.model_store import models_dir, sha256_of, write_atomically
from vision.runtime import DeviceName, RuntimeName, has_native_half, load_network

LICENCE = "VGGFace2: research and other non-commercial use only"
PUBLISHED = {
    "notop": "rcmalli_vggface_tf_notop_resnet50.h5",
    "full-top": "rcmalli_vggface_tf_resnet50.h5",
}
"""The published weight files; of the second the classifier is left out."""
PrecisionName = Literal["auto", "fp32", "fp16", "int8"]
MAX_BATCH = 16
"""Faces in one call of the network: about 40 MB each."""
MAX_BATCH_CUDA = 256
"""On a GPU, which has the memory and wants many at once."""
MAX_RECORD_BYTES = 65_536
Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class Record(Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of the installed model; MODEL_ID.json beside its graphs."""

    source: str
    """Name of the file it was made from."""
    source_sha256: Digest
    imported_at: str
    licence_accepted_at: str
    files: dict[str, Digest]
    """Of each precision its graph's digest."""


def graph_file(precision: Precision) -> Path:
    """Where the graph of a precision is, or would be."""
    middle = "" if precision == "fp32" else f".{precision}"
    return models_dir() / f"{MODEL_ID}{middle}.onnx"


def record_file() -> Path:
    return models_dir() / f"{MODEL_ID}.json"


def installed_weights() -> Path | None:
    """The installed model's exact graph, where there is one."""
    path = graph_file("fp32")
    return path if path.is_file() else None


def read_record() -> Record:
    """The installed model's record. Raises ModelError where there is none to trust."""
    path = record_file()
    try:
        if path.stat().st_size > MAX_RECORD_BYTES:
            raise ModelError(f"{path} is no record of a model: import the weights again")
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except (OSError, msgspec.MsgspecError) as exc:
        raise ModelError(f"{MODEL_ID} has no record of its digests: import the weights again") from exc


def checked_graph(precision: Precision) -> Path:
    """The graph of a precision, its digest checked. Raises ModelError where it is missing or was altered."""
    path = graph_file(precision)
    if installed_weights() is None:
        raise ModelError(
            f"{MODEL_ID} is not installed: veilcast-hub models fetch {MODEL_ID}, or models import FILE"
        )
    recorded = read_record().files.get(precision)
    if recorded is None or not path.is_file():
        raise ModelError(f"{MODEL_ID} has no {precision} graph: import the weights again")
    if sha256_of(path) != recorded:
        raise ModelError(f"{path} was altered after its import: import the weights again")
    return path


def weights_kind(weights: dict[str, list[np.ndarray]]) -> str:
    """Which of the published files holds such weights: a key of PUBLISHED."""
    return "full-top" if CLASSIFIER in weights else "notop"


def import_weights(
    path: Path,
    accepted_at: str | None = None,
    progress: Callable[[str], None] = lambda step: None,
    check: Callable[[str, str], None] = lambda kind, digest: None,
) -> Path:
    """Turn a published weight file into the installed model; returns the exact graph. Raises ModelError.

    accepted_at: when the licence was accepted (ISO 8601). progress: told each step. check: told the kind
    (a key of PUBLISHED) and digest of the file before anything is written; may raise ModelError.
    """
    progress("reading the weights")
    digest = sha256_of(path) if path.is_file() else ""
    weights = read_weights(path)
    check(weights_kind(weights), digest)
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    digests: dict[str, str] = {}
    # The record goes first: graphs without one are refused, so a half-done import cannot be loaded.
    record_file().unlink(missing_ok=True)
    for precision in PRECISIONS:
        progress(f"making the {precision} graph")
        target = graph_file(precision)
        write_atomically(target, build_onnx(weights, precision).SerializeToString())
        digests[precision] = sha256_of(target)
    record = Record(path.name, digest, now, accepted_at or now, digests)
    write_atomically(record_file(), msgspec.json.format(msgspec.json.encode(record), indent=1))
    return graph_file("fp32")


def chosen_precision(name: PrecisionName, device: DeviceName = "cpu") -> Precision:
    """ "auto" takes half precision where the GPU or the processor computes in it, else the exact graph."""
    if name == "auto":
        return "fp16" if device == "cuda" or has_native_half() else "fp32"
    return name


class Vggface2:
    """The installed model. Raises ModelError where it is missing or was altered."""

    def __init__(
        self,
        runtime: RuntimeName = "auto",
        threads: int = 0,
        precision: PrecisionName = "auto",
        device: DeviceName = "cpu",
    ) -> None:
        self.precision = chosen_precision(precision, device)
        path = checked_graph(self.precision)
        self.manifest = manifest()
        exact = self.precision != "fp16"
        self._max_batch = MAX_BATCH_CUDA if device == "cuda" else MAX_BATCH
        self._lanes = Lanes(
            lambda: load_network(path, runtime, threads, exact=exact, device=device), lanes_of(device)
        )

    @property
    def lanes(self) -> int:
        return self._lanes.count

    def embed(self, crops: Sequence[FaceCrop]) -> Embeddings:
        """(N, 2048) embeddings of N crops, in order; N may be 0."""
        return self.infer([self.align(crop) for crop in crops])

    def align(self, crop: FaceCrop) -> Aligned:
        """Its pixels: this network takes the crop as it is."""
        return crop.image_rgb

    def infer(self, faces: Sequence[Aligned]) -> Embeddings:
        """(N, 2048) embeddings of N pictures (224, 224, 3)."""
        raw = np.empty((len(faces), DIMENSION), np.float32)
        for start in range(0, len(faces), self._max_batch):
            batch = np.stack(faces[start : start + self._max_batch])
            raw[start : start + len(batch)] = self._lanes.run(batch)
        return normalized(raw)


def manifest() -> ModelManifest:
    """Of the installed model. Raises ModelError."""
    return ModelManifest(
        model_id=MODEL_ID, dimension=DIMENSION, sha256=read_record().files["fp32"], licence=LICENCE,
        threshold=0.65, margin=0.05, measured="not measured: a cautious guess",
        input="224x224 BGR minus the training mean",
    )  # fmt: skip
