"""Measures in what ranges CenterFace's values lie, and what eight bits cost and save.

With `--out DIR` the ranges go to DIR/centerface_ranges.json; `vision/centerface_ranges.json` was written so.
They come from the drawn scenes. Time and agreement with floats are then measured on the real clips, which
gave none of the ranges.
"""

from __future__ import annotations

import copy
import json
import statistics
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from benchmarks.leak_clips import drawn_clips, frames_of, real_clips
from vision.centerface import CenterFace, CenterFaceSettings, blob_of
from vision.centerface_onnx import RANGES, with_open_inputs
from vision.geometry import iou_matrix
from vision.quantize import activations

EVERY = 25
"""Frames of a drawn scene between two that are looked at."""
SAME_FACE = 0.3
"""IoU with the label from which a box is of that face."""
SCORES = (0.2, 0.35, 0.5)


def measure(quick: bool = False, out: Path | None = None) -> dict[str, Any]:
    """Speed and recall of both precisions. quick: every tenth frame."""
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / RANGES).write_text(json.dumps(ranges_of(EVERY), indent=0) + "\n")
    floats, whole = (CenterFace(CenterFaceSettings(precision=p)) for p in ("fp32", "int8"))
    seconds: dict[str, list[float]] = defaultdict(list)
    found = {name: dict.fromkeys(SCORES, 0) for name in ("fp32", "int8")}
    faces, differences = 0, []
    for clip in real_clips():
        for n, image in enumerate(frames_of(clip.path)):
            if n % (10 if quick else 2):
                continue
            glances = {}
            for name, model in (("fp32", floats), ("int8", whole)):
                begun = time.perf_counter()
                glances[name] = model.glance(image)
                seconds[name].append(time.perf_counter() - begun)
            for face in clip.faces.get(n, []):
                faces += 1
                best = {}
                for name, glance in glances.items():
                    box = np.array([face.box_xyxy], np.float32)
                    overlaps = iou_matrix(box, glance.boxes_xyxy)[0] > SAME_FACE
                    best[name] = float(glance.scores[overlaps].max(initial=0.0))
                    for score in SCORES:
                        found[name][score] += best[name] >= score
                differences.append(best["int8"] - best["fp32"])
    times = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "speedup": round(times["fp32"] / times["int8"], 2),
        "glance_ms": {name: round(1e3 * t, 1) for name, t in times.items()},
        "faces": faces,
        "recall_by_score": {
            name: {str(s): round(n / faces, 4) for s, n in by.items()} for name, by in found.items()
        },
        "score_difference_mean": round(float(np.mean(differences)), 4),
        "score_difference_sd": round(float(np.std(differences)), 4),
    }


def ranges_of(every: int) -> dict[str, tuple[float, float]]:
    """The least and the greatest of each value that a convolution reads, over the drawn scenes."""
    model = with_open_inputs()
    names = activations(model)
    source = model.graph.input[0].name
    probed = copy.deepcopy(model)
    for name in names:
        value = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        probed.graph.output.append(value)
    session = ort.InferenceSession(probed.SerializeToString(), providers=["CPUExecutionProvider"])
    seen = dict.fromkeys(names, (0.0, 0.0))
    for clip in drawn_clips(False):
        for n, image in enumerate(frames_of(clip.path)):
            if n % every:
                continue
            batch = blob_of(image, CenterFaceSettings().width_px)
            for name, value in zip(names, session.run(names, {source: batch}), strict=True):
                low, high = seen[name]
                seen[name] = (min(low, float(value.min())), max(high, float(value.max())))
    return {name: (round(low, 5), round(high, 5)) for name, (low, high) in seen.items()}
