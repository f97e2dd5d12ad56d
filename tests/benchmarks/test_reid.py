"""The re-identification benchmark: its attackers succeed where faces show, and chance is chance."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from benchmarks.reid_attack import Floats, Labels, compare, first_place, top1, train
from benchmarks.reid_faces import Face, before_camera, cut, is_same_event, masked
from edge_node.privacy.veil import Style, VeilSettings, region_mask
from vision.crops import FaceCrop
from vision.detections import Image

PEOPLE, TURNS = 30, 3
BOX = (80.0, 72.0, 170.0, 190.0)


def labels() -> tuple[Labels, Labels]:
    return np.repeat(np.arange(PEOPLE), TURNS), np.tile(np.arange(TURNS), PEOPLE)


def noisy(spread: float) -> Floats:
    """(N, 12) unit rows: everybody has a direction, each photo strays from it."""
    random = np.random.default_rng(3)
    rows = np.repeat(random.normal(size=(PEOPLE, 12)), TURNS, axis=0)
    rows = rows + spread * random.normal(size=rows.shape)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def picture(seed: int) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (250, 250, 3), dtype=np.uint8)


def face(image: Image, person: int = 0) -> Face:
    clear = FaceCrop(np.zeros((224, 224, 3), np.uint8), np.zeros((5, 2), np.float32))
    return Face(person, 0, image, BOX, clear)


def test_the_chance_of_the_first_place_is_that_of_all_closed_sets() -> None:
    count, size = 7, 3
    for place in range(count):
        others = [other for other in range(count) if other != place]
        sets = list(combinations(others, size - 1))
        expected = sum(all(other > place for other in chosen) for chosen in sets) / len(sets)
        assert first_place(count, size)[place] == pytest.approx(expected)


def test_an_attacker_without_an_idea_is_right_by_chance() -> None:
    people, turns = labels()
    nothing = np.zeros((len(people), PEOPLE))
    assert top1(nothing, people, 10).ratio == pytest.approx(1.0)
    always_the_same = np.tile(np.arange(PEOPLE, dtype=np.float64), (len(people), 1))
    assert top1(always_the_same, people, 10).ratio == pytest.approx(1.0)
    assert top1(train(np.ones((len(people), 5)), people, turns), people, 10).ratio == pytest.approx(1.0)


def test_both_attackers_name_people_whose_faces_show() -> None:
    people, turns = labels()
    rows = noisy(0.2)
    assert top1(compare(rows, rows, people, turns), people, 10).ratio > 8
    assert top1(train(rows, people, turns), people, 10).ratio > 8


def test_what_chance_alone_reaches_is_told_apart_from_success() -> None:
    people, turns = labels()
    known = top1(compare(noisy(0.2), noisy(0.2), people, turns), people, 10)
    assert known.by_chance[1] < known.low
    clueless = top1(np.random.default_rng(1).normal(size=(len(people), PEOPLE)), people, 10)
    assert clueless.by_chance[0] <= clueless.ratio <= clueless.by_chance[1]


def test_no_attacker_sees_the_photo_that_it_is_asked_about() -> None:
    """With photos that have nothing in common a peek would give everybody away."""
    people, turns = labels()
    rows = noisy(1000.0)
    for scores in (compare(rows, rows, people, turns), train(rows, people, turns)):
        rate = top1(scores, people, 10)
        assert rate.low < 1.5
        assert rate.ratio < 2


def test_a_closed_set_larger_than_the_people_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be drawn"):
        first_place(5, 6)


def test_before_a_camera_only_the_veiled_region_is_ones_own() -> None:
    camera, growth = picture(1), VeilSettings().growth
    placed = before_camera(face(picture(2)), camera, growth, 0)
    outside = region_mask((250, 250), (placed.box_xyxy,), growth) == 0
    np.testing.assert_array_equal(placed.image[outside], camera[outside])
    assert (placed.image[~outside] != camera[~outside]).mean() > 0.9


@pytest.mark.parametrize("style", [Style.VEIL, Style.SOLID])
def test_another_face_in_the_same_place_gives_the_same_picture(style: Style) -> None:
    """The control: with equal surroundings and shape, who it is changes no bit of what leaves."""
    settings = VeilSettings(style)
    placed = [before_camera(face(picture(seed)), picture(1), settings.growth, 0) for seed in (2, 3)]
    assert (placed[0].image != placed[1].image).any()
    one, other = (masked(each, settings) for each in placed)
    np.testing.assert_array_equal(one, other)


def test_the_cut_shows_nothing_beside_the_veil() -> None:
    settings = VeilSettings(Style.SOLID)
    placed = before_camera(face(picture(2)), picture(1), settings.growth, 0)
    inner = cut(masked(placed, settings), placed.box_xyxy, settings.growth)
    assert (inner == inner[0, 0]).all()
    x1, y1, x2, y2 = placed.box_xyxy
    assert inner.shape[0] * inner.shape[1] > 0.94 * (x2 - x1) * (y2 - y1)


def test_a_weak_style_keeps_something_of_the_face() -> None:
    settings = VeilSettings(Style.PIXELATE, allow_weak=True)
    placed = [before_camera(face(picture(seed)), picture(1), settings.growth, 0) for seed in (2, 3)]
    one, other = (cut(masked(each, settings), each.box_xyxy, settings.growth) for each in placed)
    assert (one != other).mean() > 0.5


def test_photos_with_the_same_surroundings_are_one_event() -> None:
    one, other = picture(4), picture(5)
    again = one.copy()
    again[60:200, 80:170] = 0
    assert is_same_event(one, again)
    assert not is_same_event(one // 2, 255 - other // 2)
