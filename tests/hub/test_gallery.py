"""Search in the gallery, held against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.embedding.port import Embeddings
from hub.gallery import Gallery


def unit_rows(count: int, dimension: int, seed: int) -> Embeddings:
    rows = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 99), st.integers(1, 4))
def test_the_best_identities_are_those_that_numpy_finds(count: int, people: int, seed: int, k: int) -> None:
    templates = unit_rows(count, 8, seed)
    owners = [f"p{i}" for i in np.random.default_rng(seed).integers(0, people, count)]
    (probe,) = unit_rows(1, 8, seed + 1)
    expected: dict[str, float] = {}
    for owner, template in zip(owners, templates, strict=True):
        expected[owner] = max(expected.get(owner, -2.0), float(template @ probe))
    best = sorted(expected.items(), key=lambda item: -item[1])[:k]
    (found,) = Gallery(1, 8, owners, templates).identify(probe[None], k)
    assert [c.identity for c in found] == [identity for identity, _ in best]
    assert [c.similarity for c in found] == pytest.approx([s for _, s in best], abs=1e-5)


def test_many_photos_of_one_person_do_not_hide_the_second_best() -> None:
    probe = unit_rows(1, 16, 0)
    many = np.repeat(probe, 200, axis=0)
    gallery = Gallery(1, 16, ["a"] * 200 + ["b"], np.concatenate([many, unit_rows(1, 16, 1)]))
    (found,) = gallery.identify(probe, 2)
    assert [c.identity for c in found] == ["a", "b"]


def test_an_empty_gallery_knows_nobody() -> None:
    assert Gallery.empty(8).identify(unit_rows(3, 8, 0)) == [[], [], []]


def test_probes_of_another_model_are_refused() -> None:
    with pytest.raises(ValueError, match="dimensions"):
        Gallery.empty(8).identify(unit_rows(1, 9, 0))


def test_templates_must_fit_their_owners() -> None:
    with pytest.raises(ValueError, match="identities"):
        Gallery(1, 8, ["a"], unit_rows(2, 8, 0))
