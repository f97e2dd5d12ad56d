"""Very many long templates: short codes of them in memory, exact rows in a sealed file. See ADR 0017.

Faces fill few of the dimensions of their space: a probe is compared with each template's strongest principal
components, four bits each (FAISS scans 32 templates at a time: André, Kermarrec, Le Scouarnec, "Cache
locality is not enough", VLDB 2015). What comes out best is read from the file and compared exactly, until
nothing that is left can be better by more than `SURE` times the error that the codes were measured to make.
Used by `hub.gallery`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from hub.embedding.port import Embeddings
from hub.exact_index import Found, hashes_of, left_of, places_of, search_deeper
from hub.sealed_rows import Keys, SealedRows, Slots

SEGMENT_ROWS = 4_096
"""Taking one out costs packing the codes of all of them anew, about 1 µs each."""
COMPONENTS = 128
SHORTLIST = 256
"""Exact comparisons at most; more where these are of too few people."""
READ_AT_ONCE = 8
SURE = 3.0
SAMPLE = 4_096
"""Templates that the components, the codes and their error are learned from."""


@dataclass(frozen=True, eq=False, slots=True)
class _Segment:
    codes: faiss.IndexPQFastScan
    """Not changed any more."""
    owners: tuple[str, ...]
    hashes: NDArray[np.int64]
    slots: Slots
    keys: Keys


@dataclass(frozen=True, eq=False, slots=True)
class _Basis:
    """What the segments of all snapshots share."""

    center: NDArray[np.float32]
    """(D,): faces have much in common, which codes would be wasted on."""
    components: NDArray[np.float32]
    """(D, C), orthonormal."""
    coder: faiss.IndexPQFastScan
    """Trained, and empty."""
    slack: float
    """How much more similar than its code says a template can be."""
    rows: SealedRows


class CompactIndex:
    """About 130 bytes of memory a template of 2,048 numbers instead of 8,192; `SealedRows` has the rest."""

    def __init__(self, basis: _Basis, segments: tuple[_Segment, ...] = ()) -> None:
        self._basis = basis
        self._segments = segments

    @staticmethod
    def fitted(sample: Embeddings, folder: Path | None = None) -> CompactIndex:
        """Empty, for templates like those of a sample (N, D). Raises StoreError."""
        known = sample[:: max(1, len(sample) // SAMPLE)]
        center = known.mean(axis=0)
        components = _strongest(known - center)
        coder = faiss.IndexPQFastScan(COMPONENTS, COMPONENTS, 4, faiss.METRIC_INNER_PRODUCT)
        coder.train(_contiguous((known - center) @ components))
        slack = _slack(coder, known, center, components)
        return CompactIndex(_Basis(center, components, coder, slack, SealedRows(sample.shape[1], folder)))

    def __len__(self) -> int:
        return sum(len(s.owners) for s in self._segments)

    def best(self, probes: Embeddings, k: int, people: int) -> list[Found]:
        results: list[Found] = []
        for probe in probes:

            def search(depth: int, probe: NDArray[np.float32] = probe) -> list[Found]:
                return [self._closest(probe, max(depth, min(SHORTLIST, len(self))), k)]

            results += search_deeper(search, k, people, len(self))
        return results

    def added(self, owners: Sequence[str], templates: Embeddings) -> CompactIndex:
        """Raises StoreError where the file cannot be written."""
        slots, keys = self._basis.rows.append(templates)
        reduced = (templates - self._basis.center) @ self._basis.components
        hashes = hashes_of(owners)
        segments = list(self._segments)
        at = 0
        while at < len(owners):
            if not segments or len(segments[-1].owners) >= SEGMENT_ROWS:
                segments.append(_none(self._basis.coder, keys[:0]))
            last = segments.pop()
            part = slice(at, at + SEGMENT_ROWS - len(last.owners))
            codes = _copy(last.codes)
            codes.add(_contiguous(reduced[part]))
            segments.append(
                _Segment(
                    codes,
                    (*last.owners, *owners[part]),
                    np.concatenate([last.hashes, hashes[part]]),
                    np.concatenate([last.slots, slots[part]]),
                    np.concatenate([last.keys, keys[part]]),
                )
            )
            at = part.stop
        return CompactIndex(self._basis, tuple(segments))

    def without(self, owner: str) -> CompactIndex:
        segments = []
        for segment in self._segments:
            gone = places_of(owner, segment.owners, segment.hashes)
            if not len(gone):
                segments.append(segment)
            elif len(gone) < len(segment.owners):
                segments.append(_left(segment, gone))
        return CompactIndex(self._basis, tuple(segments))

    def batches(self) -> Iterator[tuple[tuple[str, ...], Embeddings]]:
        for segment in self._segments:
            yield segment.owners, self._basis.rows.read(segment.slots, segment.keys)

    def _closest(self, probe: NDArray[np.float32], depth: int, k: int) -> Found:
        estimates, numbers, places = self._shortlist(probe, depth)
        best: dict[str, float] = {}
        for at in range(0, len(places), READ_AT_ONCE):
            found = sorted(best.values(), reverse=True)
            if len(found) >= k and estimates[at] + self._basis.slack < found[k - 1]:
                break
            part = slice(at, at + READ_AT_ONCE)
            picked = [(self._segments[n], p) for n, p in zip(numbers[part], places[part], strict=True)]
            slots = np.array([s.slots[p] for s, p in picked], np.int64)
            keys = np.array([s.keys[p] for s, p in picked], np.uint8)
            for (segment, place), similarity in zip(
                picked, (self._basis.rows.read(slots, keys) @ probe).tolist(), strict=True
            ):
                owner = segment.owners[place]
                best[owner] = max(best.get(owner, similarity), similarity)
        return sorted(best.items(), key=lambda pair: -pair[1])[:k]

    def _shortlist(self, probe: NDArray[np.float32], depth: int) -> tuple[list[float], list[int], list[int]]:
        """The `depth` templates that look best by their codes: estimate, number of segment, place in it."""
        reduced = (probe @ self._basis.components)[None]
        parts = [s.codes.search(reduced, min(depth, len(s.owners))) for s in self._segments]
        estimates = np.concatenate([estimates[0] for estimates, _ in parts])
        places = np.concatenate([places[0] for _, places in parts])
        numbers = np.repeat(np.arange(len(parts)), [places.shape[1] for _, places in parts])
        order = np.argsort(-estimates, kind="stable")
        order = order[places[order] >= 0][:depth]
        shift = float(probe @ self._basis.center)
        return (estimates[order] + shift).tolist(), numbers[order].tolist(), places[order].tolist()


def _left(segment: _Segment, gone: NDArray[np.int64]) -> _Segment:
    codes = _copy(segment.codes)
    codes.remove_ids(gone)
    return _Segment(
        codes,
        left_of(segment.owners, gone),
        np.delete(segment.hashes, gone),
        np.delete(segment.slots, gone),
        np.delete(segment.keys, gone, axis=0),
    )


def _none(coder: faiss.IndexPQFastScan, keys: Keys) -> _Segment:
    nothing = np.zeros(0, np.int64)
    return _Segment(coder, (), nothing, nothing, keys)


def _strongest(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """(D, COMPONENTS) of centered rows (N, D), by subspace iteration from a random start (Halko, Martinsson,
    Tropp, "Finding structure with randomness", SIAM Review 2011). D is at least COMPONENTS."""
    start = np.random.default_rng(0).standard_normal((rows.shape[1], COMPONENTS), np.float32)
    basis = start
    for _ in range(3):
        basis = np.linalg.qr(rows.T @ (rows @ basis) + 1e-6 * start)[0]
    return np.asarray(basis, np.float32)


def _slack(
    coder: faiss.IndexPQFastScan,
    rows: Embeddings,
    center: NDArray[np.float32],
    components: NDArray[np.float32],
) -> float:
    """How much more similar than estimated the rows (N, D) are to some of them, with few exceptions."""
    codes = _copy(coder)
    codes.add(_contiguous((rows - center) @ components))
    probes = rows[:64]
    estimates, places = codes.search(_contiguous(probes @ components), min(len(rows), 1_024))
    exact = np.take_along_axis(probes @ rows.T, np.maximum(places, 0), axis=1)
    more = (exact - estimates - (probes @ center)[:, None])[places >= 0]
    return float(max(0.0, more.mean() + SURE * more.std()))


def _copy(codes: faiss.IndexPQFastScan) -> Any:
    return faiss.clone_index(codes)


def _contiguous(rows: NDArray[Any]) -> NDArray[np.float32]:
    return np.ascontiguousarray(rows, np.float32)
