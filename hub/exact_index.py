"""Templates searched one by one, with FAISS: the index of galleries of usual size. Pure.

Kept in segments that snapshots share: a change copies the segments that it touches. Also what both indexes
have in common. Used by `hub.gallery`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import faiss
import numpy as np
from numpy.typing import NDArray

from hub.embedding.port import Embeddings

CROWD = 8
"""Templates fetched for each identity asked for: one person's many photos must not hide the second
best person. If they still do, the search is repeated over everything."""
SEGMENT_BYTES = 8 << 20
"""Of templates; copying that many is what a change costs."""

Found = list[tuple[str, float]]
"""Different owners with the similarity of their closest template, best first."""


class TemplateIndex(Protocol):
    """An immutable set of templates and their owners. Two of them: this module's and `hub.compact_index`."""

    def __len__(self) -> int: ...

    def best(self, probes: Embeddings, k: int, people: int) -> list[Found]:
        """For each probe (N, D) its k best owners, of `people` in all."""
        ...

    def added(self, owners: Sequence[str], templates: Embeddings) -> TemplateIndex: ...

    def without(self, owner: str) -> TemplateIndex: ...

    def batches(self) -> Iterator[tuple[tuple[str, ...], Embeddings]]:
        """Everything, in order."""
        ...


@dataclass(frozen=True, eq=False, slots=True)
class _Segment:
    flat: faiss.IndexFlatIP
    owners: tuple[str, ...]
    hashes: NDArray[np.int64]


class ExactIndex:
    """Inner products with all templates."""

    def __init__(self, dimension: int, segments: tuple[_Segment, ...] = ()) -> None:
        self._dimension = dimension
        self._segments = segments
        self._segment_rows = max(1, SEGMENT_BYTES // (4 * dimension))

    def __len__(self) -> int:
        return sum(len(s.owners) for s in self._segments)

    def best(self, probes: Embeddings, k: int, people: int) -> list[Found]:
        return search_deeper(lambda depth: self._search(probes, depth, k), k, people, len(self))

    def added(self, owners: Sequence[str], templates: Embeddings) -> ExactIndex:
        segments = list(self._segments)
        at = 0
        while at < len(owners):
            old = segments.pop() if segments and len(segments[-1].owners) < self._segment_rows else None
            held = old.owners if old is not None else ()
            room = self._segment_rows - len(held)
            before = [_rows(old.flat)] if old is not None else []
            flat = _flat(np.concatenate([*before, templates[at : at + room]]))
            segments.append(_segment(flat, (*held, *owners[at : at + room])))
            at += room
        return ExactIndex(self._dimension, tuple(segments))

    def without(self, owner: str) -> ExactIndex:
        segments = []
        for segment in self._segments:
            gone = places_of(owner, segment.owners, segment.hashes)
            if not len(gone):
                segments.append(segment)
            elif len(gone) < len(segment.owners):
                left = np.delete(_rows(segment.flat), gone, axis=0)
                segments.append(_segment(_flat(left), left_of(segment.owners, gone)))
        return ExactIndex(self._dimension, tuple(segments))

    def batches(self) -> Iterator[tuple[tuple[str, ...], Embeddings]]:
        for segment in self._segments:
            yield segment.owners, _rows(segment.flat)

    def _search(self, probes: Embeddings, depth: int, k: int) -> list[Found]:
        rows = np.ascontiguousarray(probes, np.float32)
        parts = [s.flat.search(rows, min(depth, len(s.owners))) for s in self._segments]
        if len(parts) == 1:  # FAISS has sorted them
            owners = self._segments[0].owners.__getitem__
            return [
                closest(zip(map(owners, at), of, strict=True), k)
                for of, at in zip(*(part.tolist() for part in parts[0]), strict=True)
            ]
        # Of several segments, the best of all: which segment and which of its rows.
        similarities = np.concatenate([part[0] for part in parts], axis=1)
        places = np.concatenate([part[1] for part in parts], axis=1)
        of_segment = np.repeat(np.arange(len(parts)), [part[0].shape[1] for part in parts])
        order = np.argsort(-similarities, axis=1, kind="stable")[:, :depth]
        best = np.take_along_axis(similarities, order, axis=1).tolist()
        rows_of = np.take_along_axis(places, order, axis=1).tolist()
        return [
            closest(((self._segments[s].owners[row], x) for s, row, x in zip(seg, at, of, strict=True)), k)
            for seg, at, of in zip(of_segment[order].tolist(), rows_of, best, strict=True)
        ]


def search_deeper(search: Callable[[int], list[Found]], k: int, people: int, size: int) -> list[Found]:
    """Search `size` templates to a depth that usually suffices, and to all of it where some probe found
    fewer different owners than there are."""
    depth = min(size, k * CROWD)
    results = search(depth)
    wanted = min(k, people)
    return results if all(len(r) >= wanted for r in results) else search(size)


def closest(pairs: Iterable[tuple[str, float]], k: int) -> Found:
    """The first k different owners of pairs that come best first."""
    best: dict[str, float] = {}
    for owner, similarity in pairs:
        best.setdefault(owner, similarity)
        if len(best) == k:
            break
    return list(best.items())


def hashes_of(owners: Sequence[str]) -> NDArray[np.int64]:
    """(N,) for finding an owner among very many quickly."""
    return np.fromiter(map(hash, owners), np.int64, len(owners))


def places_of(owner: str, owners: Sequence[str], hashes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the owner's templates are."""
    maybe = np.flatnonzero(hashes == hash(owner)).tolist()
    return np.array([at for at in maybe if owners[at] == owner], np.int64)


def left_of(owners: Sequence[str], gone: NDArray[np.int64]) -> tuple[str, ...]:
    """The owners without those at some places."""
    skipped = set(gone.tolist())
    return tuple(owner for at, owner in enumerate(owners) if at not in skipped)


def _segment(flat: faiss.IndexFlatIP, owners: tuple[str, ...]) -> _Segment:
    return _Segment(flat, owners, hashes_of(owners))


def _flat(rows: Embeddings) -> faiss.IndexFlatIP:
    flat = faiss.IndexFlatIP(rows.shape[1])
    flat.add(np.ascontiguousarray(rows, np.float32))
    return flat


def _rows(flat: faiss.IndexFlatIP) -> Embeddings:
    return np.asarray(flat.reconstruct_n(0, flat.ntotal), np.float32)
