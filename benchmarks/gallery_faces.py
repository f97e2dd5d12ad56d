"""As many templates of 2,048 numbers as are asked for, drawn from real embeddings.

A person is a mixture of three people of LFW and a little of their own; a photo of them differs by a real
difference between two photos of one person. A drawn layer with a rectifier lifts both to 2,048 numbers, none
below 0 as in the designated model, and noise of full rank is added, other for each photo. One template in
ten is the near-duplicate of the one before, which may be someone else's. Used by `benchmarks.gallery`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks import lfw
from hub.embedding.port import Embeddings, normalized

DIMENSION = 2_048
PHOTOS = 3
NOISE = 0.25
"""Length of the noise, of a template's length."""
BLOCK = 1_000
ENOUGH = 200
"""Photos without which nothing can be drawn."""


class Crowd:
    """`size` templates of size / 3 people; all is drawn anew from numbers, so nothing need be kept."""

    ABOUT = (
        "LFW embeddings (dlib-resnet, 128) mixed by three, real differences between photos, lifted to 2,048 "
        f"by a drawn rectified layer, {NOISE:.0%} noise of full rank; {PHOTOS} photos a person, 10 % "
        "near-duplicates"
    )

    def __init__(self, size: int) -> None:
        self.size = size
        photos = lfw.photos_of(lfw.read_pairs("pairsDevTrain"), lfw.read_pairs("pairsDevTest"))
        faces = lfw.embedded(photos)
        people = lfw.people_of(lfw.read_pairs("pairsDevTrain"), lfw.read_pairs("pairsDevTest"))
        own = list(faces.of(people).values())
        if len(own) < ENOUGH:
            raise FileNotFoundError("too few faces in ../shared/data/lfw: the data folder is incomplete")
        self._people = np.stack([faces.vectors[photos[0]] for photos in own])
        pairs = [(p[0], p[1]) for p in own if len(p) > 1]
        self._between = np.stack([faces.vectors[a] - faces.vectors[b] for a, b in pairs]) / 2**0.5
        random = np.random.default_rng(11)
        self._layer = random.standard_normal((self._people.shape[1], DIMENSION), np.float32)
        self._center = self._people.mean(axis=0)

    def owner(self, place: int) -> str:
        """Whose the template at a place is."""
        return f"person-{place // PHOTOS}"

    def templates(self, start: int, stop: int) -> tuple[list[str], Embeddings]:
        """The templates of some places, and whose they are."""
        places = np.arange(start, stop)
        rows = self._lift(self._photos(places // PHOTOS, places), places)
        doubles = np.flatnonzero((places % 10 == 9) & (places > start))
        shift = (
            0.02 * np.random.default_rng(start).standard_normal((len(doubles), DIMENSION)) / DIMENSION**0.5
        )
        rows[doubles] = normalized(np.asarray(rows[doubles - 1] + shift, np.float32))
        return [self.owner(int(place)) for place in places], rows

    def enrolled_probes(self, count: int) -> Embeddings:
        """New photos of people that are in it."""
        people = np.linspace(0, self.size // PHOTOS - 1, count).astype(np.int64)
        photos = 3_000_000_000 + np.arange(count)
        return self._lift(self._photos(people, photos), photos)

    def stranger_probes(self, count: int) -> Embeddings:
        """Photos of people that are not."""
        people = 1_000_000_000 + np.arange(count)
        return self._lift(self._photos(people, 4_000_000_000 + people), 4_000_000_000 + people)

    def _photos(self, people: NDArray[np.int64], photos: NDArray[np.int64]) -> Embeddings:
        """(N, 128)."""
        mixed = np.empty((len(people), self._people.shape[1]), np.float32)
        for block in np.unique(people // BLOCK):
            random = np.random.default_rng([1, int(block)])
            parts = random.integers(0, len(self._people), (BLOCK, 3))
            weights = random.dirichlet((1.0, 1.0, 1.0), BLOCK)
            # Mixtures lie closer together than what is mixed: the differences get their length back.
            away = (self._people[parts] - self._center) * weights[:, :, None]
            scale = 1.0 / np.linalg.norm(weights, axis=1, keepdims=True)
            drawn = self._center + scale * away.sum(axis=1)
            drawn += 0.1 * random.standard_normal(drawn.shape) / drawn.shape[1] ** 0.5
            own = people // BLOCK == block
            mixed[own] = drawn[people[own] % BLOCK]
        for block in np.unique(photos // BLOCK):
            random = np.random.default_rng([2, int(block)])
            parts = random.integers(0, len(self._between), BLOCK)
            signs = random.choice([-1.0, 1.0], BLOCK)
            own = photos // BLOCK == block
            mixed[own] += (self._between[parts] * signs[:, None])[photos[own] % BLOCK].astype(np.float32)
        return mixed

    def _lift(self, faces: Embeddings, photos: NDArray[np.int64]) -> Embeddings:
        rows = normalized(np.maximum(faces @ self._layer, 0.0))
        for block in np.unique(photos // BLOCK):
            random = np.random.default_rng([3, int(block)])
            noise = random.standard_normal((BLOCK, DIMENSION), np.float32) * np.float32(
                NOISE / DIMENSION**0.5
            )
            own = photos // BLOCK == block
            rows[own] += noise[photos[own] % BLOCK]
        return normalized(rows)
