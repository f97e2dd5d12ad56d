"""dlib's face ResNet (128-d), the embedded default: public domain, carried by a package, offline.

King, "High Quality Face Recognition with Deep Metric Learning", dlib blog, 2017. The chip it was trained
on (150 px, aligned) is cut by dlib's own five-point predictor from the 224 px crop of the contract.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hub.embedding.port import Embeddings, ModelManifest, normalized
from vision.crops import CROP_PX, GROWTH, FaceCrop
from vision.errors import ModelError
from vision.model_store import DLIB_FACE_MODEL, DLIB_LANDMARK_MODEL, asset_path

CHIP_PX = 150
CHIP_PADDING = 0.25
MANIFEST = ModelManifest(
    model_id="dlib-resnet-v1",
    dimension=128,
    sha256=DLIB_FACE_MODEL.sha256,
    licence=DLIB_FACE_MODEL.licence,
    threshold=0.93,
    margin=0.01,
    measured="",
)


class DlibResnet:
    """Raises ModelError where the package or its files are missing."""

    manifest = MANIFEST

    def __init__(self, threads: int = 0) -> None:
        try:
            import dlib
        except ImportError as exc:
            raise ModelError("dlib is not installed: pip install dlib-bin") from exc
        self._dlib = dlib
        self._threads = max(1, threads)
        # dlib's objects are not thread-safe: one pair for each thread.
        self._nets = [
            (
                dlib.face_recognition_model_v1(str(asset_path(DLIB_FACE_MODEL))),
                dlib.shape_predictor(str(asset_path(DLIB_LANDMARK_MODEL))),
            )
            for _ in range(self._threads)
        ]
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="dlib")

    def embed(self, crops: Sequence[FaceCrop]) -> Embeddings:
        """(N, 128) embeddings; the crops are shared out among the threads."""
        if not crops:
            return np.zeros((0, MANIFEST.dimension), np.float32)
        shares = [list(range(i, len(crops), self._threads)) for i in range(self._threads)]
        raw = np.empty((len(crops), MANIFEST.dimension), np.float32)
        tasks = [
            self._pool.submit(self._embed_share, net, [crops[i] for i in share])
            for net, share in zip(self._nets, shares, strict=True)
            if share
        ]
        for share, task in zip((s for s in shares if s), tasks, strict=True):
            raw[share] = task.result()
        return normalized(raw)

    def _embed_share(self, net: tuple[Any, Any], crops: Sequence[FaceCrop]) -> NDArray[np.float32]:
        model, predictor = net
        chips = [self._chip(predictor, crop) for crop in crops]
        return np.array([model.compute_face_descriptor(chip) for chip in chips], np.float32)

    def _chip(self, predictor: Any, crop: FaceCrop) -> Any:
        margin = round(CROP_PX * (1 - 1 / GROWTH) / 2)
        box = self._dlib.rectangle(margin, margin, CROP_PX - margin, CROP_PX - margin)
        shape = predictor(crop.image_rgb, box)
        return self._dlib.get_face_chip(crop.image_rgb, shape, CHIP_PX, CHIP_PADDING)
