"""The gallery: an immutable snapshot of all templates of one model, searched with FAISS. Pure.

Built by `hub.store`, replaced as a whole when people or consents change, read by `hub.recognizer`.
Exact inner-product search; embeddings have length 1, so the product is the cosine similarity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import faiss
import numpy as np

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
        self, version: int, dimension: int, identities: Sequence[str], templates: Embeddings
    ) -> None:
        if templates.shape != (len(identities), dimension):
            raise ValueError(f"{len(identities)} identities but templates of shape {templates.shape}")
        self.version = version
        self.dimension = dimension
        self._owners = tuple(identities)
        self.identities = frozenset(identities)
        self._index = faiss.IndexFlatIP(dimension)
        if len(identities):
            self._index.add(np.ascontiguousarray(templates, np.float32))

    @staticmethod
    def empty(dimension: int, version: int = 0) -> Gallery:
        return Gallery(version, dimension, (), np.zeros((0, dimension), np.float32))

    def __len__(self) -> int:
        return len(self._owners)

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
        similarities, rows = self._index.search(np.ascontiguousarray(probes, np.float32), depth)
        results = []
        for probe_similarities, probe_rows in zip(similarities, rows, strict=True):
            best: dict[str, float] = {}
            for similarity, row in zip(probe_similarities, probe_rows, strict=True):
                best.setdefault(self._owners[row], float(similarity))
                if len(best) == k:
                    break
            results.append([Candidate(i, min(1.0, s)) for i, s in best.items()])
        return results
