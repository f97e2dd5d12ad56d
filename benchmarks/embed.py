"""The embedded face model: its ONNX graph against dlib's own code, same faces, same threads.

Keys: `dlib_speedup`, `_lo` (median of the interleaved repeats' ratios, one thread, one face at a time),
`ms_per_face` (the whole embedder: chip and network), `cosine_min` (the least alike pair of descriptors).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.interval import median_95
from hub.embedding.dlib_onnx import graph_path
from hub.embedding.dlib_resnet import DlibResnet
from vision.crops import FaceCrop, cut_crop
from vision.detector import Mtcnn, MtcnnSettings
from vision.model_store import DLIB_FACE_MODEL, asset_path
from vision.runtime import load_network

PHOTOS = Path(__file__).parents[2] / "shared" / "data" / "people_knn"
REPEATS = 7


def measure(quick: bool = False) -> dict[str, Any]:
    """One thread throughout: dlib's code has no other way."""
    import dlib

    model, reference = DlibResnet(threads=1), dlib.face_recognition_model_v1(str(asset_path(DLIB_FACE_MODEL)))
    network = load_network(graph_path(), threads=1)
    crops = real_crops(4 if quick else 8)
    chips = [model.align(crop) for crop in crops]
    batch = np.array(chips, np.float32)

    def ours() -> NDArray[np.float32]:
        return np.concatenate([network.run(chip[None])[0].copy() for chip in batch])

    def theirs() -> NDArray[np.float32]:
        return np.array([reference.compute_face_descriptor(chip) for chip in chips], np.float32)

    cosine_min = float(_cosines(ours(), theirs()).min())
    repeats = [
        (_ms(ours), _ms(theirs), _ms(lambda: model.embed(crops[:1])), _ms(lambda: model.embed(crops)))
        for _ in range(5 if quick else REPEATS)
    ]
    graph, dlib_code, single, several = (median(times) for times in zip(*repeats, strict=True))
    speedup, speedup_lo, _ = median_95([r[1] / r[0] for r in repeats])
    return {
        "dlib_speedup": round(speedup, 2),
        "dlib_speedup_lo": round(speedup_lo, 2),
        "ms_per_face": round(single, 2),
        "ms_per_face_in_batch": round(several / len(crops), 2),
        "graph_ms_per_face": round(graph / len(crops), 2),
        "dlib_ms_per_face": round(dlib_code / len(crops), 2),
        "cosine_min": round(min(cosine_min, 1.0), 7),
        "faces": len(crops),
    }


def real_crops(count: int) -> list[FaceCrop]:
    """Faces of the first photos that show one, as the contract cuts them."""
    detector = Mtcnn(MtcnnSettings(min_face_px=40))
    crops: list[FaceCrop] = []
    for path in sorted(PHOTOS.rglob("*.jpg")):
        image = np.asarray(cv2.imread(str(path)), np.uint8)
        found = detector.detect(image)
        if len(found):
            crops.append(cut_crop(image, found.boxes_xyxy[0], found.landmarks[0]))
        if len(crops) == count:
            return crops
    raise FileNotFoundError(f"not {count} faces under {PHOTOS}: this benchmark needs the test pictures")


def _cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1), np.float32)


def _ms(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000
