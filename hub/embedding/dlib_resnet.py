"""dlib's face ResNet (128-d), the embedded default: public domain, carried by a package, offline.

King, "High Quality Face Recognition with Deep Metric Learning", dlib blog, 2017. The chip it wants (150 px,
aligned) is cut from the 224 px crop of the contract by `dlib_chip`; the network itself runs as an ONNX graph
(`dlib_onnx`), at a tenth of dlib's time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hub.embedding.dlib_chip import ChipCutter
from hub.embedding.dlib_onnx import graph_path
from hub.embedding.lanes import Lanes, lanes_of
from hub.embedding.port import Aligned, Embeddings, ModelManifest, normalized
from vision.crops import FaceCrop
from vision.model_store import DLIB_FACE_MODEL
from vision.runtime import DeviceName, RuntimeName, load_network

MAX_BATCH = 32
"""Pictures in one call of the network, two of a face: more gain no time and cost memory (about 3 MB each)."""
MANIFEST = ModelManifest(
    model_id="dlib-resnet-v2",
    dimension=128,
    sha256=DLIB_FACE_MODEL.sha256,
    licence=DLIB_FACE_MODEL.licence,
    threshold=0.942,
    per_tenfold=0.009,
    margin=0.01,
    measured=(
        "benchmarks/calibrate.py on LFW, see docs/recognition.md. Law from all pairs of strangers of "
        "pairsDevTrain, for an FPIR of 0.05 % with 1 to 1,000 people. With 300 enrolled by one photo each, "
        "single looks: FPIR 1/15000, FNIR 69 %; five fused: FPIR 3/4651, FNIR 14 %."
    ),
)


class DlibResnet:
    """threads: 0 leaves them to the runtime. Raises ModelError where a package or its files are missing."""

    manifest = MANIFEST

    def __init__(self, threads: int = 0, runtime: RuntimeName = "auto", device: DeviceName = "cpu") -> None:
        self._cutter = ChipCutter()
        self._lanes = Lanes(
            lambda: load_network(graph_path(), runtime, threads, device=device), lanes_of(device)
        )

    @property
    def lanes(self) -> int:
        return self._lanes.count

    def embed(self, crops: Sequence[FaceCrop]) -> Embeddings:
        """(N, 128) embeddings of N crops, in order; N may be 0."""
        return self.infer([self.align(crop) for crop in crops])

    def infer(self, faces: Sequence[Aligned]) -> Embeddings:
        """(N, 128) embeddings of N chips."""
        raw = np.empty((len(faces), MANIFEST.dimension), np.float32)
        for start in range(0, len(faces), MAX_BATCH // 2):
            chips = np.stack(faces[start : start + MAX_BATCH // 2])
            # A face and its mirror image: what differs between the two is not the person.
            both = np.concatenate([chips, chips[:, :, ::-1]]).astype(np.float32)
            raw[start : start + len(chips)] = self._lanes.run(both).reshape(2, len(chips), -1).sum(axis=0)
        return normalized(raw)

    def align(self, crop: FaceCrop) -> Aligned:
        """Its chip (150, 150, 3) uint8 RGB."""
        return self._cutter.chip(crop)
