"""How well the designated model's variants agree with its exact graph, on real faces.

The measure is the cosine of the two embeddings of one face, averaged over faces. Called by `veilcast-hub
models verify --faces` and by tests; the faces are read, used and forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from hub.embedding.vggface2 import Vggface2
from hub.embedding.vggface2_graph import Precision
from vision.crops import FaceCrop, cut_crop, decode_crop, encode_crop
from vision.detector import Mtcnn, MtcnnSettings
from vision.errors import ModelError

BARS: dict[Precision, float] = {"fp16": 0.999, "int8": 0.99}
"""What a variant must reach; the exact graph reaches 0.9999 against the published definition."""
MAX_FACES = 64
SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})


def agreement(crops: Sequence[FaceCrop], threads: int = 0) -> dict[Precision, float]:
    """Mean cosine of each variant with the exact graph. Raises ModelError where one is missing."""
    exact = Vggface2(threads=threads, precision="fp32").embed(crops)
    return {
        precision: float((exact * Vggface2(threads=threads, precision=precision).embed(crops)).sum(1).mean())
        for precision in BARS
    }


def faces_in(folder: Path, at_most: int = MAX_FACES) -> list[FaceCrop]:
    """The largest face of each photo below a folder, as it would arrive at the hub. Raises ModelError."""
    if not folder.is_dir():
        raise ModelError(f"{folder} is no folder of photos")
    detector = Mtcnn(MtcnnSettings(min_face_px=40))
    crops: list[FaceCrop] = []
    for path in _spread(sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES), at_most):
        picture = cv2.imread(str(path))
        found = detector.detect(np.asarray(picture, np.uint8)) if picture is not None else None
        if picture is None or found is None or not len(found):
            continue
        largest = int((found.boxes_xyxy[:, 2] - found.boxes_xyxy[:, 0]).argmax())
        crop = cut_crop(np.asarray(picture, np.uint8), found.boxes_xyxy[largest], found.landmarks[largest])
        crops.append(decode_crop(encode_crop(crop), crop.landmarks))
    if not crops:
        raise ModelError(f"no photo in {folder} shows a face")
    return crops


def _spread(paths: list[Path], at_most: int) -> Iterator[Path]:
    yield from (paths[i] for i in np.unique(np.linspace(0, len(paths) - 1, at_most).astype(int)) if paths)
