"""Error rates of a set of labeled faces: FMR/FNMR of pairs, FPIR/FNIR of open-set searches. Pure.

The search is the hub's: each person with several photos is enrolled with the first; every other photo of
theirs is a look that should name them; every photo of everyone is a look at a stranger once its own person is
taken out. The terms are those of ISO/IEC 19795-1. Called by `enrollment.evaluate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
STEP = 0.001
POINTS = 200
"""Thresholds of a curve."""


@dataclass(frozen=True, slots=True)
class Face:
    """One photo of the set."""

    person: str
    group: str
    photo: str


@dataclass(frozen=True, slots=True)
class Rates:
    """At one threshold. NaN where nothing was there to be counted."""

    threshold: float
    fmr: float
    fnmr: float
    fpir: float
    fnir: float


@dataclass(frozen=True, eq=False, slots=True)
class Searches:
    """Looks at people who are enrolled, and at strangers: best similarities and margins."""

    enrolled: int
    known_group: NDArray[np.str_]
    known: Scores
    """(N,) similarity of each look to its own person, -1 where another person is nearer."""
    known_margin: Scores
    stranger_group: NDArray[np.str_]
    stranger: Scores
    """(N,) best similarity to anyone else."""
    stranger_margin: Scores
    stranger_photo: tuple[str, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Pairs:
    """Similarities of pairs of photos. A pair of strangers counts for each group it touches."""

    same: Scores
    same_group: NDArray[np.str_]
    other: Scores
    other_groups: NDArray[np.str_]
    """(N, 2)"""


def similarities(vectors: NDArray[np.float32]) -> Scores:
    """(N, N) of directions (N, D)."""
    return np.clip(vectors.astype(np.float64) @ vectors.T.astype(np.float64), -1.0, 1.0)


def pairs_of(faces: Sequence[Face], scores: Scores) -> Pairs:
    """All pairs of photos."""
    rows, columns = np.triu_indices(len(faces), 1)
    person = np.unique([f.person for f in faces], return_inverse=True)[1]
    group = np.array([f.group for f in faces])
    same = person[rows] == person[columns]
    values = scores[rows, columns]
    others = np.stack([group[rows[~same]], group[columns[~same]]], axis=1)
    return Pairs(values[same], group[rows[same]], values[~same], others)


def searches_of(faces: Sequence[Face], scores: Scores) -> Searches:
    """Search each photo among the first photos of all people."""
    by_person: dict[str, list[int]] = {}
    for index, face in enumerate(faces):
        by_person.setdefault(face.person, []).append(index)
    gallery = [own[0] for own in by_person.values()]
    owner = {person: column for column, person in enumerate(by_person)}
    table = scores[:, gallery]
    known: list[tuple[str, float, float]] = []
    stranger: list[tuple[str, float, float, str]] = []
    for index, face in enumerate(faces):
        mine = owner[face.person]
        others = np.sort(np.delete(table[index], mine))[::-1]
        best, second = _at(others, 0), _at(others, 1)
        stranger.append((face.group, best, best - second, face.photo))
        if index != gallery[mine]:
            own = float(table[index, mine])
            known.append((face.group, own if own > best else -1.0, own - best))
    return Searches(
        len(gallery),
        np.array([k[0] for k in known], np.str_), _numbers([k[1] for k in known]),
        _numbers([k[2] for k in known]),
        np.array([s[0] for s in stranger], np.str_), _numbers([s[1] for s in stranger]),
        _numbers([s[2] for s in stranger]), tuple(s[3] for s in stranger),
    )  # fmt: skip


def rates_at(pairs: Pairs, searches: Searches, threshold: float, margin: float, group: str = "") -> Rates:
    """The four rates; of one group of people where one is named."""
    same = pairs.same[_of(pairs.same_group, group)]
    other = pairs.other if not group else pairs.other[(pairs.other_groups == group).any(axis=1)]
    known, strangers = _of(searches.known_group, group), _of(searches.stranger_group, group)
    found = (searches.known >= threshold) & (searches.known_margin >= margin)
    named = (searches.stranger >= threshold) & (searches.stranger_margin >= margin)
    return Rates(
        round(threshold, 4),
        _share(other >= threshold), _share(same < threshold), _share(named[strangers]), _share(~found[known]),
    )  # fmt: skip


def curve(pairs: Pairs, searches: Searches, margin: float, group: str = "") -> list[Rates]:
    """The DET curve, from the lowest threshold at which anything is refused to the highest that is passed."""
    values = np.concatenate([pairs.same, pairs.other])
    lowest, highest = float(values.min()), min(1.0, float(values.max()) + STEP)
    steps = np.linspace(lowest, highest, POINTS)
    return [rates_at(pairs, searches, float(step), margin, group) for step in steps]


def strangers_shown(searches: Searches, threshold: float, margin: float) -> list[int]:
    """The searches for strangers that end with a name."""
    named = (searches.stranger >= threshold) & (searches.stranger_margin >= margin)
    return [int(i) for i in np.flatnonzero(named)]


def safe_threshold(searches: Searches, margin: float) -> float:
    """The lowest threshold, to a thousandth, at which no stranger of the set gets a name."""
    able = searches.stranger[searches.stranger_margin >= margin]
    return float(np.floor(able.max() / STEP) * STEP + STEP) if len(able) else -1.0


def _of(groups: NDArray[np.str_], group: str) -> NDArray[np.bool_]:
    return np.ones(len(groups), np.bool_) if not group else np.asarray(groups == group, np.bool_)


def _share(hits: NDArray[np.bool_]) -> float:
    return float(hits.mean()) if len(hits) else float("nan")


def _at(values: NDArray[np.float64], index: int) -> float:
    """A similarity; with nobody to compare with it is 0, as in the hub."""
    return float(values[index]) if index < len(values) else 0.0


def _numbers(values: list[float]) -> Scores:
    return np.array(values, np.float64)
