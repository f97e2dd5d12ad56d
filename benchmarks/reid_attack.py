"""Two attackers on masked faces, and how often they name the right person. Called by `benchmarks.reid`.

Pure: arrays in, values out. `compare` knows clear photos of everybody and compares embeddings; `train` has
learned from masked photos of the same style (the parrot attack: Newton, Sweeney, Malin, "Preserving privacy
by de-identifying face images", IEEE TKDE 2005). Both rank everybody for each probe; `top1` turns ranks into
the rate of a right first guess in closed sets of a given size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

COMPONENTS = 100
"""Principal components that the trained attacker works with, at most."""
SHRINKAGE = 0.1
"""Share of the total variance added to that within a person: few photos of each tell little of it."""
TIE_DIGITS = 5
"""Scores that differ later than this are equal: a constant picture gives no order."""
RENAMINGS = 200
"""Draws of a world in which nobody's face belongs to the name: what one without a clue would reach."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How often the first guess was right, divided by chance."""

    ratio: float
    margin: float
    """Half the 95 % interval, over people."""
    by_chance: tuple[float, float]
    """Where 95 % of the ratios lie once everybody's name is given to somebody else."""
    probes: int

    @property
    def low(self) -> float:
        return max(0.0, self.ratio - self.margin)

    @property
    def high(self) -> float:
        return self.ratio + self.margin


def compare(probes: Floats, clear: Floats, people: Labels, turns: Labels) -> Floats:
    """(N, P) scores: the mean similarity of each masked probe to a person's clear photos of other turns.

    probes, clear: (N, D), rows of length 1, of the same photos. people, turns: (N,).
    """
    scores = np.empty((len(probes), int(people.max()) + 1))
    for turn in np.unique(turns):
        others, now = turns != turn, turns == turn
        templates = _means(clear[others], people[others])
        scores[now] = probes[now] @ _unit(templates).T
    return scores


def train(features: Floats, people: Labels, turns: Labels) -> Floats:
    """(N, P) scores of an attacker that learned from everybody's masked photos of other turns.

    Principal components, whitened by the scatter within people (linear discriminants), cosine to the mean
    of a person's masked photos. features: (N, D). No photo is trained on in the turn in which it is a probe.
    """
    scores = np.empty((len(features), int(people.max()) + 1))
    for turn in np.unique(turns):
        others, now = turns != turn, turns == turn
        learned = _discriminants(features[others], people[others])
        center = features[others].mean(axis=0)
        known = _means((features[others] - center) @ learned, people[others])
        scores[now] = _unit((features[now] - center) @ learned) @ _unit(known).T
    return scores


def together(*several: Floats) -> Floats:
    """One attacker of several: the sum of their scores, each brought to the same spread."""
    return np.asarray(np.sum([(s - s.mean()) / max(float(s.std()), 1e-9) for s in several], axis=0))


def top1(scores: Floats, people: Labels, closed_set: int) -> Rate:
    """The rate of right first guesses among `closed_set` people, divided by chance.

    Averaged over all closed sets of that size that hold the right person, by the hypergeometric distribution,
    instead of over some drawn ones; equal scores share their places. Every person counts alike.
    """
    rounded = np.round(scores, TIE_DIGITS)
    count = scores.shape[1]
    each = _each(rounded, people, closed_set)
    random = np.random.default_rng(0)
    renamed = [_each(rounded, random.permutation(count)[people], closed_set).mean() for _ in range(RENAMINGS)]
    low, high = np.quantile(renamed, (0.025, 0.975))
    margin = 1.96 * float(each.std(ddof=1)) / float(np.sqrt(len(each)))
    return Rate(float(each.mean()), margin, (float(low), float(high)), len(scores))


def _each(rounded: Floats, people: Labels, closed_set: int) -> Floats:
    """(P,) each person's rate of right first guesses, divided by chance."""
    count = rounded.shape[1]
    right = rounded[np.arange(len(rounded)), people][:, None]
    better = (rounded > right).sum(axis=1)
    equal = (rounded == right).sum(axis=1) - 1
    first = first_place(count, closed_set)
    # Ties are broken at random: each place among the equals is as likely.
    upto = np.concatenate(([0.0], np.cumsum(first)))
    chances = (upto[better + equal + 1] - upto[better]) / (equal + 1)
    photos = np.bincount(people, minlength=count)
    each = np.bincount(people, weights=chances, minlength=count)[photos > 0] / photos[photos > 0]
    return np.asarray(each * closed_set)


def first_place(count: int, closed_set: int) -> Floats:
    """(count,) chance that the person at each place of a ranking, from the best, comes first in a random set
    of `closed_set` of the `count` people that holds the person."""
    if not 1 < closed_set <= count:
        raise ValueError(f"a closed set of {closed_set} cannot be drawn from {count} people")
    chance = np.zeros(count)
    chance[0] = 1.0
    for place in range(1, count):
        # One more person stands before: that none of them is in the set.
        left = count - place - closed_set + 1
        chance[place] = chance[place - 1] * max(0, left) / (count - place)
    return chance


def _discriminants(features: Floats, people: Labels) -> Floats:
    """(D, K) directions in which people differ more than the photos of one person."""
    centered = features - features.mean(axis=0)
    axes = _components(centered)
    if not axes.shape[1]:
        return np.zeros((features.shape[1], 1))
    parts = centered @ axes
    within = parts - _means(parts, people)[people]
    scatter = within.T @ within / len(within) + SHRINKAGE * np.diag((parts**2).mean(axis=0))
    spread, turned = np.linalg.eigh(scatter)
    return np.asarray(axes @ (turned / np.sqrt(spread)))


def _components(centered: Floats) -> Floats:
    """(D, K) the directions of most variance, K at most COMPONENTS; none where nothing varies."""
    count, size = centered.shape
    # The smaller of the two products has the same eigenvalues (Turk, Pentland, "Eigenfaces", 1991).
    product = centered @ centered.T if count < size else centered.T @ centered
    last = len(product) - 1
    values, vectors = eigh(product, subset_by_index=(max(0, last + 1 - COMPONENTS), last))
    useful = values > max(1e-6 * values[-1], 1e-9 * count)
    axes = vectors[:, useful]
    if count < size:
        axes = centered.T @ axes / np.sqrt(values[useful])
    return np.asarray(axes)


def _means(rows: Floats, people: Labels) -> Floats:
    """(P, D) mean row of each person."""
    sums = np.zeros((int(people.max()) + 1, rows.shape[1]))
    np.add.at(sums, people, rows)
    return sums / np.maximum(np.bincount(people, minlength=len(sums)), 1)[:, None]


def _unit(rows: Floats) -> Floats:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9))
