"""The embedder port and its manifest. Implemented by `dlib_resnet` and `vggface2`; tests bring fakes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from vision.crops import FaceCrop

Embeddings = NDArray[np.float32]
"""(N, D) float32, each row of length 1."""


@dataclass(frozen=True, slots=True)
class ModelManifest:
    """What is known of a model. Templates are bound to `model_id` and never compared across models."""

    model_id: str
    dimension: int
    sha256: str
    licence: str
    threshold: float
    """Similarity (as `hub.gallery` gives it) from which a face counts as the only person enrolled..."""
    margin: float
    """By how much the best person must beat the second best."""
    measured: str
    """Where the two numbers come from."""
    input: str = "aligned chip cut from the 224x224 RGB crop"
    """What the network itself is given."""
    per_tenfold: float = 0.0
    """... and by how much it rises for each tenfold of people: each is another chance of being mistaken."""

    def threshold_among(self, people: int) -> float:
        """The threshold of a gallery of so many people."""
        return self.threshold + self.per_tenfold * math.log10(max(1, people))


Aligned = Any
"""One face as a model's network is given it."""


class Embedder(Protocol):
    """One model, loaded. Blocking; may be called in several threads."""

    @property
    def manifest(self) -> ModelManifest: ...

    def embed(self, crops: Sequence[FaceCrop]) -> Embeddings:
        """(N, D) embeddings of N crops, in order; N may be 0."""
        ...


@runtime_checkable
class StagedEmbedder(Embedder, Protocol):
    """A model that separates what each face needs by itself from what is computed for many at once.

    `embed(crops)` is `infer` of what `align` made of each.
    """

    @property
    def lanes(self) -> int:
        """Batches that are computed at once; one more waits for the first of them to end."""
        ...

    def align(self, crop: FaceCrop) -> Aligned: ...

    def infer(self, faces: Sequence[Aligned]) -> Embeddings:
        """(N, D) embeddings of N aligned faces, in order; N may be 0."""
        ...


class _Whole:
    """A model that does everything in one step."""

    lanes = 1

    def __init__(self, embedder: Embedder) -> None:
        self.manifest = embedder.manifest
        self.embed = embedder.embed

    def align(self, crop: FaceCrop) -> Aligned:
        return crop

    def infer(self, faces: Sequence[Aligned]) -> Embeddings:
        return self.embed(faces)


def staged(embedder: Embedder) -> StagedEmbedder:
    """The model in two stages; where it has one only, the first does nothing."""
    return embedder if isinstance(embedder, StagedEmbedder) else _Whole(embedder)


def normalized(raw: NDArray[np.float32]) -> Embeddings:
    """Rows scaled to length 1. Raises ValueError for rows that are zero or not finite."""
    lengths = np.linalg.norm(raw, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or (lengths < 1e-6).any():
        raise ValueError("an embedder returned a vector without direction")
    return np.asarray(raw / lengths, np.float32)
