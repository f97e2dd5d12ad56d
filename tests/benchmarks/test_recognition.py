"""The benchmark's counting, on people made up of numbers."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import recognition_search
from benchmarks.calibrate import SIZES, TARGET_FPIR, choose_law, similarities, strangers_of
from benchmarks.lfw import Faces, person_of
from benchmarks.recognition_clip import SETTLE_S, Label, Shown, _count
from benchmarks.recognition_search import Searches
from edge_node.frames import ShownFace
from edge_node.privacy.decisions import Plan
from hub.evidence import EvidenceSettings

RANDOM = np.random.default_rng(3)


def faces(people: int, photos: int, spread: float, dimension: int = 32) -> Faces:
    centers = RANDOM.standard_normal((people, dimension))
    vectors = {}
    for number, center in enumerate(centers):
        for photo in range(photos):
            row = center + spread * RANDOM.standard_normal(dimension)
            vectors[f"p{number}/p{number}_{photo:04d}.jpg"] = np.asarray(
                row / np.linalg.norm(row), np.float32
            )
    return Faces(vectors)


def test_who_stands_under_two_names_is_one_person() -> None:
    assert person_of("Sepp_Blatter/Sepp_Blatter_0001.jpg") == person_of("Joseph_Blatter/x.jpg")


def test_the_law_lets_through_no_more_than_its_target_at_any_size() -> None:
    strangers = np.asarray(RANDOM.normal(0.8, 0.04, 3_000_000), np.float32)
    threshold, rise = choose_law(strangers)
    for people in SIZES:
        share = float((strangers >= threshold + rise * np.log10(people)).mean())
        assert share * people <= TARGET_FPIR + 1e-9
    assert rise > 0


def test_strangers_are_all_pairs_of_different_people() -> None:
    found = faces(4, 2, 0.1)
    assert len(strangers_of(found, {"p0", "p1", "p2"})) == 3 * 4
    one, two = (found.vectors[f"p0/p0_000{n}.jpg"] for n in (0, 1))
    assert similarities([("p0/p0_0000.jpg", "p0/p0_0001.jpg")], found)[0] == pytest.approx(float(one @ two))


def test_the_search_counts_names_misses_and_strangers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recognition_search, "quality_of_photo", lambda photo: 0.8)
    found = faces(30, 7, 0.05)
    clear = Searches(found, EvidenceSettings(0.8, 0.02), enrolled=20, strangers=10)
    tally = clear.run([f"p{i}" for i in range(30)], draws=1)
    assert (tally.strangers, tally.looks, tally.fused) == (10, 20 * 6, 20)
    assert tally.shares()["fnir_single"] == tally.shares()["fpir"] == tally.shares()["fnir_fused"] == 0.0
    blind = Searches(found, EvidenceSettings(-1.0, 0.0), enrolled=20, strangers=10)
    assert blind.run([f"p{i}" for i in range(30)], draws=1).shares()["fpir"] == 1.0


def test_a_face_counts_as_shown_where_no_veil_lies_on_it_and_only_after_a_second() -> None:
    box, counted = (0.0, 0.0, 10.0, 10.0), Shown()
    labels = [Label(23, box, "frontal"), Label(37, (50.0, 0.0, 60.0, 10.0), "frontal")]
    shown = Plan((), (ShownFace(1, "x", box),))
    late = int(30 * SETTLE_S) + 1
    _count(counted, 0, labels, shown, {23: 0, 37: 0})
    assert (counted.frames, counted.stranger_frames) == (0, 1)
    _count(counted, late, labels, shown, {23: 0, 37: 0})
    assert (counted.frames, counted.shown, counted.wrongly) == (1, 1, 0)
    _count(counted, late, labels, Plan((box,), shown.shown), {23: 0, 37: 0})
    assert (counted.frames, counted.shown, counted.missed) == (2, 1, [late])
    _count(counted, late, labels, Plan((), (ShownFace(1, "x", labels[1].box),)), {23: 0, 37: 0})
    assert counted.wrongly == 1
