"""How well people are recognized: LFW pairs, open-set search, a real clip, and what our own output gives
away.

Keys: `lfw_dev_accuracy` (pairsDevTest, with the threshold of pairsDevTrain), `fpir`, `fnir_single`,
`fnir_fused` (see `recognition_search`), `hamilton_shown_rate`, `hamilton_wrongly_shown` (see
`recognition_clip`), `reid_*` (see `reid`). docs/recognition.md explains each. Data: `../shared/data`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks import reid
from benchmarks.calibrate import similarities
from benchmarks.lfw import Faces, Vector, embedded, people_of, photos_of, read_pairs
from benchmarks.recognition_clip import measure_clip
from benchmarks.recognition_search import Searches, everyone
from hub.embedding.dlib_resnet import MANIFEST
from hub.evidence import EvidenceSettings

DRAWS = 10


def measure(quick: bool = False) -> dict[str, Any]:
    """All keys. quick: fewer draws of the galleries, and a smaller attack."""
    return {
        **measure_faces(1 if quick else DRAWS),
        **clip_numbers(),
        **{key: value for key, value in reid.measure(quick=quick).items() if key.startswith("reid_")},
    }


def measure_faces(draws: int = DRAWS) -> dict[str, Any]:
    """What LFW tells."""
    train, test = read_pairs("pairsDevTrain"), read_pairs("pairsDevTest")
    faces = embedded(photos_of(train, test))
    settings = EvidenceSettings(MANIFEST.threshold, MANIFEST.margin, per_tenfold=MANIFEST.per_tenfold)
    all_people = Searches(faces, settings).run(everyone(faces), draws).shares()
    held_out = Searches(faces, settings, enrolled=150).run(sorted(people_of(test)), draws).shares()
    return {
        "lfw_dev_accuracy": accuracy(faces),
        **{key: all_people[key] for key in ("fpir", "fnir_single", "fnir_fused")},
        "search_300_among_all": all_people,
        "search_150_among_held_out": held_out,
    }


def clip_numbers() -> dict[str, Any]:
    """What the clip tells."""
    clip = measure_clip()
    return {
        "hamilton_shown_rate": round(clip.rate, 4),
        "hamilton_wrongly_shown": clip.wrongly,
        "hamilton_frames": clip.frames,
        "hamilton_missed": clip.missed,
    }


def accuracy(faces: Faces) -> float:
    """Share of pairsDevTest told right with the best threshold of pairsDevTrain. A pair with a photo without
    a face counts as told wrong."""
    train = [similarities(pairs, faces) for pairs in read_pairs("pairsDevTrain")]
    steps = np.unique(np.concatenate(train))
    shares = np.array([_right(train[0], train[1], step) for step in steps])
    threshold = float(np.median(steps[shares == shares.max()]))
    pairs = read_pairs("pairsDevTest")
    same, other = (similarities(kind, faces) for kind in pairs)
    right = int((same >= threshold).sum() + (other < threshold).sum())
    return round(right / sum(len(kind) for kind in pairs), 4)


def _right(same: Vector, other: Vector, threshold: float) -> float:
    return float((same >= threshold).mean() + (other < threshold).mean()) / 2
