"""The models inside the hub against the same models by themselves, and against Keras.

Wire to answer: crops as JPEG over CURVE through a whole hub and back, as many as it takes, beside a loop of
full batches that lie ready, same runtime and cores, by turns. Where the published VGGFace2 weights are not
installed, weights of the same shapes take their place (those of the tests, whose batch norms were measured on
faces): they cost the same. Called by `benchmarks.hub`.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.hub_load import KEPT as BESIDE
from benchmarks.hub_load import HubSpec, Pipe, pair
from benchmarks.interval import median_95
from hub.embedding.agreement import agreement
from hub.embedding.dlib_onnx import graph_path
from hub.embedding.dlib_resnet import DlibResnet
from hub.embedding.vggface2 import graph_file, import_weights, installed_weights
from tests.hub.vggface2_reference import measured_weights, write_h5
from vision.crops import FaceCrop

KEPT = BESIDE / "hub-model"
BATCH = 16
NODES = 4
PER_NODE = 12
"""Under way for each: three batches in all, so that the hub always has one to begin with."""
LOAD = 0.7
TURNS, QUICK_TURNS = 15, 5
"""Of two networks that are compared: with five the bound is the worst of them."""


def measure_models(crops: Sequence[FaceCrop], quick: bool) -> dict[str, Any]:
    """crops: at least eight faces."""
    result: dict[str, Any] = {}
    with _weights(crops) as weights:
        result["weights"] = "published" if weights is None else "of the published shapes"
        result |= _vggface2(crops, quick)
        result |= _keras(crops, weights, quick)
    return result | _dlib(crops, quick)


@contextmanager
def _weights(crops: Sequence[FaceCrop]) -> Iterator[Path | None]:
    """A model is installed inside; the file of its weights where it is not the published one."""
    if installed_weights() is not None:
        yield None
        return
    before = os.environ.get("VEILCAST_MODELS")
    os.environ["VEILCAST_MODELS"] = str(KEPT)
    try:
        weights = KEPT / "weights.h5"
        if installed_weights() is None or not weights.is_file():
            print("  making weights of the published shapes", file=sys.stderr)
            KEPT.mkdir(parents=True, exist_ok=True)
            write_h5(weights, measured_weights(np.stack([crop.image_rgb for crop in crops[:4]])))
            import_weights(weights)
        yield weights
    finally:
        os.environ.pop("VEILCAST_MODELS")
        if before is not None:
            os.environ["VEILCAST_MODELS"] = before


def _vggface2(crops: Sequence[FaceCrop], quick: bool) -> dict[str, Any]:
    pixels = _saved("faces", np.stack([crops[i % len(crops)].image_rgb for i in range(BATCH)]))
    graphs = {precision: str(graph_file(precision)) for precision in ("fp32", "int8")}
    bare = Pipe("benchmarks.hub_bare", {"kind": "network", "pixels": pixels, "graphs": graphs, "threads": 0})
    times = 1 if quick else 3
    try:
        ratios = [
            bare.ask(name="fp32", times=times)["seconds"] / bare.ask(name="int8", times=times)["seconds"]
            for _ in range(QUICK_TURNS if quick else TURNS)
        ]
        speedup = median_95(ratios)
        result = _wire("vggface2-resnet50", "fp32", bare, "fp32", crops, quick)
    finally:
        bare.close()
    faces = list(crops[4:8] if quick else crops[4:])
    return {
        **{f"wire_to_bare{key}": value for key, value in result.items()},
        "int8_speedup": round(speedup[0], 2), "int8_speedup_lo": round(speedup[1], 2),
        "int8_cosine": round(agreement(faces)["int8"], 5),
    }  # fmt: skip


def _dlib(crops: Sequence[FaceCrop], quick: bool) -> dict[str, Any]:
    model = DlibResnet()
    chips = np.stack([model.align(crops[i % len(crops)]) for i in range(BATCH)])
    both = np.concatenate([chips, chips[:, :, ::-1]]).astype(np.float32)
    spec = {
        "kind": "network", "pixels": _saved("chips", both), "graphs": {"dlib": str(graph_path())},
        "threads": 0,
    }  # fmt: skip
    bare = Pipe("benchmarks.hub_bare", spec)
    try:
        result = _wire("dlib-resnet", "auto", bare, "dlib", crops, quick)
    finally:
        bare.close()
    return {f"wire_to_bare_dlib{key}": value for key, value in result.items()}


def _wire(
    model: str, precision: str, bare: Pipe, name: str, crops: Sequence[FaceCrop], quick: bool
) -> dict[str, Any]:
    """Interleaved: batches by themselves, as many crops over the wire as it takes, then 70 % of that: the
    processor's pace changes within minutes."""
    batch_s = bare.ask(name=name, times=1)["seconds"]
    batches = max(3, round((2.0 if quick else 6.0) / batch_s))
    ratios, wires, singles, slowest = [], [], [], []
    with pair(HubSpec(model=model, precision=precision), NODES, crops) as running:
        running.ask(per_node=PER_NODE, seconds=2 * batch_s, warm_s=4 * batch_s)
        for _ in range(3 if quick else 5):
            alone = bare.ask(name=name, times=batches)["seconds"] / batches
            run = running.ask(per_node=PER_NODE, seconds=batches * batch_s, warm_s=2 * batch_s)
            singles.append(alone)
            wires.append(run["rate"])
            ratios.append(run["rate"] / (BATCH / alone))
            calm = running.ask(
                rate=LOAD * run["rate"], seconds=max((8 if quick else 25) * batch_s, 3.0), warm_s=2 * batch_s
            )
            slowest.append(calm["p99_ms"] / (1e3 * alone))
        found = median_95(ratios)
        return {
            "": round(found[0], 3), "_lo": round(found[1], 3),
            "_crops_per_s": round(median(wires), 1), "_batch_ms": round(1e3 * median(singles), 1),
            "_p99_to_batch_at_70": round(median(slowest), 2),
            "_p99_to_batch_at_70_hi": round(median_95(slowest)[2], 2),
        }  # fmt: skip


def _keras(crops: Sequence[FaceCrop], weights: Path | None, quick: bool) -> dict[str, Any]:
    """How many times more crops a second our network computes than `predict` does one by one."""
    if weights is None or importlib.util.find_spec("keras") is None:
        print("  vs_keras_predict: needs the extra `models` and made weights", file=sys.stderr)
        return {"vs_keras_predict": None, "vs_keras_predict_lo": None}
    pixels = _saved("faces", np.stack([crops[i % len(crops)].image_rgb for i in range(BATCH)]))
    graphs = {precision: str(graph_file(precision)) for precision in ("fp32", "int8")}
    peer = Pipe("benchmarks.hub_bare", {"kind": "keras", "pixels": pixels, "weights": str(weights)})
    ours = Pipe("benchmarks.hub_bare", {"kind": "network", "pixels": pixels, "graphs": graphs, "threads": 0})
    ratios: dict[str, list[float]] = {name: [] for name in graphs}
    try:
        for _ in range(QUICK_TURNS if quick else TURNS):
            theirs = peer.ask(name="predict", times=4 if quick else 12)["seconds"] / (4 if quick else 12)
            for name, found in ratios.items():
                found.append(theirs / (ours.ask(name=name, times=1)["seconds"] / BATCH))
    finally:
        peer.close()
        ours.close()
    best, exact = median_95(ratios["int8"]), median_95(ratios["fp32"])
    return {
        "vs_keras_predict": round(best[0], 2), "vs_keras_predict_lo": round(best[1], 2),
        "vs_keras_predict_fp32": round(exact[0], 2), "vs_keras_predict_fp32_lo": round(exact[1], 2),
    }  # fmt: skip


def _saved(name: str, pixels: np.ndarray) -> str:
    KEPT.mkdir(parents=True, exist_ok=True)
    path = KEPT / f"{name}.npy"
    np.save(path, pixels)
    return str(path)
