"""Draws the embedded model's cohort (see hub/cohort.py): people who do not exist, after LFW's pairsDevTrain.

Groups of at least MIN_GROUP people are described by their mean and the spread about it, shrunk toward the
spread of all; directions are drawn from these. `python -m benchmarks.cohort` writes the file again. The
people of pairsDevTest have no part in it.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

from benchmarks.lfw import Faces, embedded, people_of, photos_of, read_pairs
from hub.cohort import FILES, Cohort

Rows = NDArray[np.float64]
GROUPS = 32
MIN_GROUP = 20
DRAWN = 2048
SHRINKING = 100
"""Of a group of so many people half the spread is the group's own."""
ROUNDS = 40


def draw(faces: Faces, people: set[str], seed: int = 1) -> NDArray[np.int8]:
    """(DRAWN, D) int8 directions, from one photo of each person."""
    random = np.random.default_rng(seed)
    vectors = np.stack([faces.vectors[photos[0]] for photos in faces.of(people).values()]).astype(np.float64)
    groups = _groups(vectors, random)
    common = np.cov(np.concatenate([vectors[g] - vectors[g].mean(axis=0) for g in groups]).T)
    drawn: list[Rows] = []
    for group in groups:
        share = len(group) / (len(group) + SHRINKING)
        spread = share * np.cov(vectors[group].T) + (1 - share) * common
        count = round(DRAWN * len(group) / len(vectors)) + 1
        drawn.append(random.multivariate_normal(vectors[group].mean(axis=0), spread, size=count))
    rows = random.permutation(np.concatenate(drawn))[:DRAWN]
    scaled = 127 * rows / np.abs(rows).max(axis=1, keepdims=True)
    return np.asarray(np.round(scaled), np.int8)


def _groups(vectors: Rows, random: np.random.Generator) -> list[NDArray[np.int64]]:
    """Spherical k-means; groups too small to hide a person in join the next closest."""
    centers = vectors[random.choice(len(vectors), GROUPS, replace=False)]
    for _ in range(ROUNDS):
        nearest = (vectors @ centers.T).argmax(axis=1)
        sizes = np.bincount(nearest, minlength=len(centers))
        kept = np.flatnonzero(sizes > 0)
        centers = np.stack([vectors[nearest == k].mean(axis=0) for k in kept])
        centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    while True:
        nearest = (vectors @ centers.T).argmax(axis=1)
        sizes = np.bincount(nearest, minlength=len(centers))
        if sizes.min() >= MIN_GROUP:
            return [np.flatnonzero(nearest == k) for k in range(len(centers))]
        centers = np.delete(centers, sizes.argmin(), axis=0)


def main() -> int:
    train = read_pairs("pairsDevTrain")
    faces, people = embedded(photos_of(train)), people_of(train)
    rows = draw(faces, people)
    path = FILES["dlib-resnet-v1"]
    np.save(path, rows)
    cohort = Cohort(
        np.asarray(rows / np.linalg.norm(rows.astype(np.float32), axis=1, keepdims=True), np.float32)
    )
    matrix = np.stack(list(faces.vectors.values()))
    closest = float((matrix @ cohort.directions.T).max())
    print(f"{path}: {rows.shape}, {len(_groups_of(faces, people))} groups of {MIN_GROUP} people or more")
    print(f"median crowdedness {float(np.median(cohort.crowdedness(matrix))):.4f}")
    print(f"closest to a photo: similarity {closest:.3f}")
    return 0


def _groups_of(faces: Faces, people: set[str]) -> list[NDArray[np.int64]]:
    vectors = np.stack([faces.vectors[p[0]] for p in faces.of(people).values()]).astype(np.float64)
    return _groups(vectors, np.random.default_rng(1))


if __name__ == "__main__":
    sys.exit(main())
