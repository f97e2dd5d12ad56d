"""A crowd that nobody belongs to, against which similarities are leveled. Pure.

Some faces lie in crowded regions of a model's space: to the model, all people of such a region look alike,
so one threshold names their strangers far more often than others'. How crowded it is around a face is its
mean similarity to its closest neighbors in a cohort; half of that of either face is taken off their
similarity (the mean part of the adaptive s-norm: Matějka et al., "Analysis of Score Normalization in
Multilingual Speaker Recognition", Interspeech 2017). The cohort is drawn from a model of groups of people
(`benchmarks/cohort.py`): no direction in it is anyone's template. Read by `hub.service`, used by
`hub.gallery`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hub.embedding.port import Embeddings, normalized
from vision.errors import ModelError

FEW = 64
"""Up to so many are compared one by one: the product of two small matrices is spread over all cores, which
costs the model more of them than the search takes (docs/performance.md)."""
FILES = {"dlib-resnet-v1": Path(__file__).parent / "embedding" / "dlib_cohort.npy"}
"""By model: int8 (N, D), rows in the directions of people who do not exist."""


@dataclass(frozen=True, eq=False, slots=True)
class Cohort:
    """directions (N, D) of length 1."""

    directions: Embeddings
    neighbors: int = 20
    level: float = 0.0
    """The crowdedness at which a similarity stays as it is."""

    def crowdedness(self, embeddings: Embeddings) -> NDArray[np.float32]:
        """(N,) of embeddings (N, D): 0 as usual, above where many people look alike to the model."""
        rows = np.asarray(embeddings, np.float32)
        if 0 < len(rows) <= FEW:
            similarities = np.stack([self.directions @ row for row in rows])
        else:
            similarities = rows @ self.directions.T
        k = min(self.neighbors, similarities.shape[1])
        closest = np.partition(similarities, similarities.shape[1] - k, axis=1)[:, -k:]
        return np.asarray(closest.mean(axis=1) - self.level, np.float32)


def cohort_of(model_id: str, dimension: int) -> Cohort | None:
    """The cohort that comes with a model; None for a model without one. Raises ModelError."""
    path = FILES.get(model_id)
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            rows = np.load(file, allow_pickle=False)
    except (OSError, ValueError) as exc:
        raise ModelError(f"{path.name} of {model_id} cannot be read: reinstall veilcast") from exc
    if rows.dtype != np.int8 or rows.ndim != 2 or rows.shape[1] != dimension:
        raise ModelError(f"{path.name} is no cohort of {model_id}: reinstall veilcast")
    return Cohort(normalized(rows.astype(np.float32)), level=LEVELS[model_id])


LEVELS = {"dlib-resnet-v1": 0.92}
"""Median crowdedness of the people that each cohort's model was made from, rounded."""
