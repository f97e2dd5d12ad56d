"""The gallery: an immutable snapshot of all templates of one model, searched with FAISS.

Kept by `hub.store`, replaced as a whole when people or consents change, read by `hub.recognizer`. A changed
gallery shares with the one before what has not changed, so a search may go on in either. Embeddings have
length 1, so the inner product is the cosine similarity.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import NamedTuple

import faiss
import numpy as np

from hub.compact_index import CompactIndex
from hub.embedding.port import Embeddings
from hub.exact_index import ExactIndex, TemplateIndex

EXACT_UP_TO = 10_000
"""Templates that are all compared exactly, whatever their length: 4 to 10 ms for a probe of 2,048 numbers.
See ADR 0017."""
COMPACT_FROM = 512
"""Dimensions from which on more templates than that are kept as `CompactIndex`; shorter ones stay exact."""


class Candidate(NamedTuple):
    """An enrolled identity and how close the probe is to its closest template."""

    identity: str
    similarity: float


class Identities(AbstractSet[str]):
    """Very many identities, of which few change: a set and what differs from it. Immutable."""

    __slots__ = ("_added", "_base", "_gone")

    def __init__(
        self, base: frozenset[str], added: frozenset[str] = frozenset(), gone: frozenset[str] = frozenset()
    ) -> None:
        """added: none of them in base. gone: all of them in base."""
        if len(added) + len(gone) > 1_000 + len(base) // 8:
            base, added, gone = (base - gone) | added, frozenset(), frozenset()
        self._base, self._added, self._gone = base, added, gone

    def with_these(self, identities: AbstractSet[str]) -> Identities:
        new = frozenset(i for i in identities if i not in self._base)
        return Identities(self._base, self._added | new, self._gone - frozenset(identities))

    def without(self, identity: str) -> Identities:
        gone = self._gone | {identity} if identity in self._base else self._gone
        return Identities(self._base, self._added - {identity}, gone)

    def __contains__(self, identity: object) -> bool:
        return identity in self._added or (identity in self._base and identity not in self._gone)

    def __iter__(self) -> Iterator[str]:
        yield from (i for i in self._base if i not in self._gone)
        yield from self._added

    def __len__(self) -> int:
        return len(self._base) + len(self._added) - len(self._gone)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Identities) and other._base is self._base:
            return other._added == self._added and other._gone == self._gone
        return super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]


class Gallery:
    """Templates (N, D) and whose they are. Nothing of it changes after construction."""

    def __init__(
        self,
        version: int,
        dimension: int,
        identities: Sequence[str],
        templates: Embeddings,
        folder: Path | None = None,
    ) -> None:
        """folder: where the file of a very large gallery is, on a disk; see `hub.sealed_rows`.

        Raises StoreError where that file cannot be written.
        """
        if templates.shape != (len(identities), dimension):
            raise ValueError(f"{len(identities)} identities but templates of shape {templates.shape}")
        index = ExactIndex(dimension).added(identities, templates)
        self._hold(version, dimension, Identities(frozenset(identities)), index, folder)

    @staticmethod
    def empty(dimension: int, version: int = 0, folder: Path | None = None) -> Gallery:
        return Gallery(version, dimension, (), np.zeros((0, dimension), np.float32), folder=folder)

    def __len__(self) -> int:
        return len(self._index)

    def numbered(self, version: int) -> Gallery:
        """The same under another version."""
        return self if version == self.version else self._changed(self.identities, self._index, version)

    def with_templates(self, identities: Sequence[str], templates: Embeddings) -> Gallery:
        """And these (N, D); their owners may be new or known. Raises StoreError."""
        if templates.shape != (len(identities), self.dimension):
            raise ValueError(f"{len(identities)} identities but templates of shape {templates.shape}")
        if not len(identities):
            return self
        return self._changed(
            self.identities.with_these(frozenset(identities)), self._index.added(identities, templates)
        )

    def without(self, identity: str) -> Gallery:
        """Nothing of this person is in it."""
        if identity not in self.identities:
            return self
        return self._changed(self.identities.without(identity), self._index.without(identity))

    def identify(self, probes: Embeddings, k: int = 2) -> list[list[Candidate]]:
        """For each probe (N, D) its k best *different* identities, best first; fewer where there are
        fewer. An identity's similarity is that of its closest template."""
        if probes.ndim != 2 or probes.shape[1] != self.dimension:
            raise ValueError(f"probes of shape {probes.shape} in a gallery of {self.dimension} dimensions")
        if not len(self) or not len(probes):
            return [[] for _ in range(len(probes))]
        # A setting of the calling thread. More threads than one save a search of this size nothing, and take
        # up to ten times its processor time from the model, waiting for each other (docs/performance.md).
        faiss.omp_set_num_threads(1)
        found = self._index.best(np.asarray(probes, np.float32), k, len(self.identities))
        return [[Candidate(i, max(-1.0, min(1.0, s))) for i, s in result] for result in found]

    def _hold(
        self,
        version: int,
        dimension: int,
        identities: Identities,
        index: TemplateIndex,
        folder: Path | None,
    ) -> None:
        is_large = len(index) > EXACT_UP_TO and dimension >= COMPACT_FROM
        if is_large and isinstance(index, ExactIndex):
            index = _compact(index, folder)
        self.version = version
        self.dimension = dimension
        self.identities = identities
        self._index = index
        self._folder = folder

    def _changed(self, identities: Identities, index: TemplateIndex, version: int | None = None) -> Gallery:
        changed = object.__new__(Gallery)
        version = self.version if version is None else version
        changed._hold(version, self.dimension, identities, index, self._folder)
        return changed


def _compact(index: ExactIndex, folder: Path | None) -> CompactIndex:
    batches = list(index.batches())
    sample = np.concatenate([templates for _, templates in batches])
    compact = CompactIndex.fitted(sample, folder)
    for owners, templates in batches:
        compact = compact.added(owners, templates)
    return compact
