"""Galleries too large to be compared exactly, and galleries that change while they are searched."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from hub import compact_index, gallery
from hub.compact_index import CompactIndex
from hub.embedding.port import Embeddings, normalized
from hub.exact_index import ExactIndex
from hub.gallery import Gallery, Identities
from hub.sealed_rows import SealedRows
from hub.store.errors import StoreError

DIMENSION = 512


def faces(people: int, photos: int, seed: int) -> Embeddings:
    """(people * photos, DIMENSION): few directions matter, all have something in common."""
    random = np.random.default_rng(seed)
    spread = random.normal(size=(80, DIMENSION)).astype(np.float32)
    who = np.repeat(random.normal(size=(people, 80)), photos, axis=0)
    looks = who + random.normal(0, 0.4, (people * photos, 80))
    noise = random.normal(0, 1.0, (people * photos, DIMENSION))
    return normalized(np.asarray(looks @ spread + noise + 5.0, np.float32))


@pytest.fixture(scope="module")
def templates() -> Embeddings:
    return faces(300, 2, 1)


@pytest.fixture(autouse=True)
def _large_from_little_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "EXACT_UP_TO", 256)
    monkeypatch.setattr(compact_index, "SEGMENT_ROWS", 256)


def owners(count: int) -> list[str]:
    return [f"p{at // 2}" for at in range(count)]


def looks_at(templates: Embeddings, amount: float = 0.3) -> Embeddings:
    noise = np.random.default_rng(7).normal(0, amount / DIMENSION**0.5, templates.shape)
    return normalized(np.asarray(templates + noise, np.float32))


def test_a_large_gallery_finds_whom_the_exact_search_finds(templates: Embeddings, tmp_path: Path) -> None:
    large = Gallery(1, DIMENSION, owners(600), templates, folder=tmp_path)
    assert isinstance(large._index, CompactIndex)
    probes = looks_at(templates[::20])
    exact = ExactIndex(DIMENSION).added(owners(600), templates).best(probes, 2, 300)
    for found, expected in zip(large.identify(probes, 2), exact, strict=True):
        assert [c.identity for c in found] == [owner for owner, _ in expected]
        assert [c.similarity for c in found] == pytest.approx([s for _, s in expected], abs=1e-6)


def test_short_templates_stay_exact(templates: Embeddings) -> None:
    short = normalized(templates[:, :100])
    assert isinstance(Gallery(1, 100, owners(600), short)._index, ExactIndex)


def test_many_photos_of_one_person_do_not_hide_the_second_best(templates: Embeddings) -> None:
    many = np.repeat(templates[:1], 400, axis=0)
    large = Gallery(1, DIMENSION, ["a"] * 400 + ["b"] * 2, np.concatenate([many, templates[2:4]]))
    (found,) = large.identify(templates[:1], 2)
    assert [c.identity for c in found] == ["a", "b"]


def test_who_is_added_is_found_and_who_is_erased_is_not(templates: Embeddings) -> None:
    before = Gallery(1, DIMENSION, owners(598), templates[:598])
    after = before.with_templates(["new", "new"], templates[598:])
    assert after.identify(templates[598:599], 1)[0][0].identity == "new"
    erased = after.without("p7").without("new")
    for gone in (templates[14:16], templates[598:]):
        assert {c.identity for row in erased.identify(gone, 2) for c in row}.isdisjoint({"p7", "new"})
    assert (len(before), len(after), len(erased)) == (598, 600, 596)
    assert "p7" in after.identities
    assert "p7" not in erased.identities
    assert after.identify(templates[14:15], 1)[0][0].identity == "p7", "a snapshot stays what it is"
    assert sum(len(o) for o, _ in erased._index.batches()) == 596


@pytest.mark.parametrize("count", [40, 600])
def test_a_gallery_grown_by_changes_is_one_made_at_once(templates: Embeddings, count: int) -> None:
    grown = Gallery.empty(DIMENSION)
    for at in range(0, count, 7):
        grown = grown.with_templates(owners(count)[at : at + 7], templates[at : min(at + 7, count)])
    once = Gallery(0, DIMENSION, owners(count), templates[:count])
    for gone in ("p3", "p11"):
        grown, once = grown.without(gone), once.without(gone)
    for found, expected in zip(grown.identify(templates[::60]), once.identify(templates[::60]), strict=True):
        assert [c.identity for c in found] == [c.identity for c in expected]
        assert [c.similarity for c in found] == pytest.approx([c.similarity for c in expected], abs=1e-6)
    assert grown.identities == once.identities


def test_only_what_an_erasure_touches_is_copied(templates: Embeddings) -> None:
    before = Gallery(1, DIMENSION, owners(600), templates)._index
    after = before.without("p299")
    assert isinstance(before, CompactIndex)
    assert isinstance(after, CompactIndex)
    assert [a is b for a, b in zip(before._segments, after._segments, strict=True)] == [True, True, False]


def test_erasing_drops_the_only_key_of_the_row(templates: Embeddings) -> None:
    before = Gallery(1, DIMENSION, owners(600), templates)._index
    assert isinstance(before, CompactIndex)
    key = before._segments[0].keys[14].tobytes()
    after = before.without("p7")
    assert all(key not in s.keys.tobytes() for s in after._segments)


def test_the_last_person_can_be_erased(templates: Embeddings) -> None:
    assert Gallery(1, DIMENSION, ["a"], templates[:1]).without("a").identify(templates[:1]) == [[]]


def test_a_version_is_a_number_on_the_same_gallery(templates: Embeddings) -> None:
    first = Gallery(1, DIMENSION, owners(600), templates)
    second = first.numbered(2)
    assert (first.version, second.version) == (1, 2)
    assert second._index is first._index
    assert second.identities is first.identities


def test_rows_in_the_file_are_sealed_and_the_file_has_no_name(tmp_path: Path, templates: Embeddings) -> None:
    rows = SealedRows(DIMENSION, tmp_path)
    slots, keys = rows.append(templates[:5])
    assert list(tmp_path.iterdir()) == []
    assert templates[2].tobytes()[:64] not in os.pread(rows._file, 1 << 20, 0)
    assert np.array_equal(rows.read(slots[[3, 1]], keys[[3, 1]]), templates[[3, 1]])


def test_a_row_that_cannot_be_opened_is_an_error_and_not_passed_over(templates: Embeddings) -> None:
    rows = SealedRows(DIMENSION)
    slots, keys = rows.append(templates[:2])
    with pytest.raises(StoreError, match="damaged"):
        rows.read(slots, keys[::-1])
    with pytest.raises(StoreError, match="damaged"):
        rows.read(slots + 10, keys)


def test_a_folder_that_cannot_hold_the_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no room"):
        SealedRows(DIMENSION, tmp_path / "missing")


def test_identities_are_a_set() -> None:
    base = frozenset("abc")
    changed = Identities(base).without("a").with_these({"d", "b"}).without("d").with_these({"e"})
    assert set(changed) == {"b", "c", "e"}
    assert changed == {"b", "c", "e"}
    assert changed == Identities(frozenset("bce"))
    assert changed != Identities(base)
    assert (len(changed), "a" in changed, "e" in changed) == (3, False, True)
    assert changed.with_these({"a"}).without("e") == Identities(base)


def test_very_many_changes_make_a_new_set() -> None:
    many = Identities(frozenset()).with_these({str(i) for i in range(2_000)})
    assert len(many._base) == 2_000
    assert len(many.without("5")) == 1_999
