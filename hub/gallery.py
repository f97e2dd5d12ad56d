"""The gallery: an immutable snapshot of all templates of one model, searched with FAISS. Pure.

Built by `hub.store`, replaced as a whole when people or consents change, read by `hub.recognizer`.
Exact inner-product search; embeddings have length 1, so the product is the cosine similarity. Where the
model has a cohort (`hub.cohort`), similarities are leveled by how crowded it is around either face.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from hub.cohort import Cohort
from hub.embedding.port import Embeddings

CROWD = 8
"""Templates fetched for each identity asked for: one person's many photos must not hide the second
best person. If they still do, the search is repeated over everything."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An enrolled identity and how close the probe is to its closest template."""

    identity: str
    similarity: float


class Gallery:
    """Templates (N, D) and whose they are. Nothing of it changes after construction."""

    def __init__(
        self,
        version: int,
        dimension: int,
        identities: Sequence[str],
        templates: Embeddings,
        cohort: Cohort | None = None,
    ) -> None:
        if templates.shape != (len(identities), dimension):
            raise ValueError(f"{len(identities)} identities but templates of shape {templates.shape}")
        self.version = version
        self.dimension = dimension
        self._owners = tuple(identities)
        self.identities = frozenset(identities)
        self._templates = templates
        self._cohort = cohort
        # One dimension more carries each template's half of the leveling, so that the search is by leveled
        # similarity; a probe has 1 there, and its own half is the same for all templates.
        self._index = faiss.IndexFlatIP(dimension + 1)
        if len(identities):
            self._index.add(_extended(templates, -self._halves(templates)))

    @staticmethod
    def empty(dimension: int, version: int = 0) -> Gallery:
        return Gallery(version, dimension, (), np.zeros((0, dimension), np.float32))

    def __len__(self) -> int:
        return len(self._owners)

    def leveled_by(self, cohort: Cohort | None) -> Gallery:
        """The same people, compared by similarities that a cohort has leveled."""
        if cohort is self._cohort:
            return self
        return Gallery(self.version, self.dimension, self._owners, self._templates, cohort)

    def identify(self, probes: Embeddings, k: int = 2) -> list[list[Candidate]]:
        """For each probe (N, D) its k best *different* identities, best first; fewer where there are
        fewer. An identity's similarity is that of its closest template."""
        if probes.ndim != 2 or probes.shape[1] != self.dimension:
            raise ValueError(f"probes of shape {probes.shape} in a gallery of {self.dimension} dimensions")
        if not len(self._owners) or not len(probes):
            return [[] for _ in range(len(probes))]
        wanted = min(k, len(self.identities))
        results = self._search(probes, min(len(self._owners), k * CROWD), k)
        if all(len(r) == wanted for r in results):
            return results
        return self._search(probes, len(self._owners), k)

    def _search(self, probes: Embeddings, depth: int, k: int) -> list[list[Candidate]]:
        similarities, rows = self._index.search(_extended(probes, np.ones(len(probes), np.float32)), depth)
        similarities = similarities - self._halves(probes)[:, None]
        results = []
        for probe_similarities, probe_rows in zip(similarities, rows, strict=True):
            best: dict[str, float] = {}
            for similarity, row in zip(probe_similarities, probe_rows, strict=True):
                best.setdefault(self._owners[row], float(similarity))
                if len(best) == k:
                    break
            results.append([Candidate(i, max(-1.0, min(1.0, s))) for i, s in best.items()])
        return results

    def _halves(self, embeddings: Embeddings) -> NDArray[np.float32]:
        """(N,) what each embedding takes off its similarities."""
        if self._cohort is None or not len(embeddings):
            return np.zeros(len(embeddings), np.float32)
        return np.asarray(self._cohort.crowdedness(embeddings) / 2, np.float32)


def _extended(embeddings: Embeddings, last: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, D) and (N,) -> (N, D + 1), contiguous."""
    return np.ascontiguousarray(np.hstack([embeddings, last[:, None]]), np.float32)
