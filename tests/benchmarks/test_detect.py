"""How detectors are judged: labels, parity, recall and average precision on boxes made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.detect_pictures import Labeled, spread, wider_labels
from benchmarks.detect_score import Judged, Parity, average_precision, faces_found, parity

LABELS = """a/one.jpg
2
10 20 30 40 0 0 0 0 0 0 
50 60 5 6 0 0 0 1 0 0 
b/none.jpg
0
0 0 0 0 0 0 0 0 0 0 
c/last.jpg
1
1 2 3 4 0 0 0 0 0 0 
"""  # noqa: W291 as the file has it


def face(x: float, y: float, side: float, score: float = 0.9) -> np.ndarray:
    box = np.array([x, y, x + side, y + side, score])
    return np.concatenate([box, np.linspace(x, x + side, 5), np.linspace(y, y + side, 5)])


def judged(*rows: np.ndarray, truth: list[tuple[float, float, float]], counts: list[bool]) -> Judged:
    boxes = np.array([(x, y, x + s, y + s) for x, y, s in truth], np.float64).reshape(-1, 4)
    return Judged(np.array(rows).reshape(-1, 15), boxes, np.array(counts, np.bool_))


def test_labels_are_read_also_where_a_picture_has_no_face() -> None:
    labels = wider_labels(LABELS)
    assert {name: len(rows) for name, rows in labels.items()} == {
        "a/one.jpg": 2,
        "b/none.jpg": 0,
        "c/last.jpg": 1,
    }
    assert labels["c/last.jpg"][0, :4].tolist() == [1, 2, 3, 4]


def test_invalid_and_small_faces_do_not_count() -> None:
    boxes = np.array([[0, 0, 40, 40], [0, 0, 40, 39], [0, 0, 90, 90]], np.float64)
    picture = Labeled(np.zeros((1, 1, 3), np.uint8), boxes, np.array([True, True, False]))
    assert picture.taller_than(40).tolist() == [True, False, False]


def test_indices_are_spread_and_never_repeat() -> None:
    assert spread(10, 2) == [2, 7]
    assert spread(3, 9) == [0, 1, 2]
    assert len(set(spread(178, 100))) == 100


def test_parity_wants_the_box_and_every_landmark() -> None:
    reference = np.stack([face(0, 0, 100), face(200, 0, 100), face(400, 0, 100)])
    other = reference.copy()
    other[0, :4] += 0.1
    other[1, 7] += 1.5
    other[2, :4] += 5
    assert parity(reference, other) == Parity(boxes=3, same_box=2, same_face=1, extra=0)
    lone = np.stack([face(800, 0, 50)])
    assert parity(reference[:1], np.concatenate([other[:1], lone])) == Parity(1, 1, 1, 1)
    assert parity(reference, np.zeros((0, 15))) == Parity(3, 0, 0, 0)
    assert parity(np.zeros((0, 15)), lone) == Parity(0, 0, 0, 1)


def test_one_box_finds_one_face() -> None:
    truth = np.array([[0, 0, 100, 100], [10, 0, 110, 100]], np.float64)
    assert faces_found(truth, face(5, 0, 100)[None]) == 1
    assert faces_found(truth, np.stack([face(5, 0, 100), face(6, 0, 100)])) == 2
    assert faces_found(truth, np.zeros((0, 15))) == 0


def test_a_perfect_detector_has_the_average_precision_of_one() -> None:
    picture = judged(face(0, 0, 50, 0.9), face(100, 0, 50, 0.8), truth=[(0, 0, 50), (100, 0, 50)],
                     counts=[True, True])  # fmt: skip
    assert average_precision([picture]) == pytest.approx(1.0)


def test_a_second_box_on_a_face_is_wrong() -> None:
    once, twice = face(0, 0, 50, 0.9), face(1, 0, 50, 0.8)
    other = face(100, 0, 50, 0.7)
    truth = [(0.0, 0.0, 50.0), (100.0, 0.0, 50.0)]
    picture = judged(once, twice, other, truth=truth, counts=[True, True])
    assert average_precision([picture]) == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_a_box_on_a_face_that_does_not_count_is_neither_right_nor_wrong() -> None:
    rows = (face(0, 0, 20, 0.95), face(100, 0, 50, 0.7))
    truth = [(0.0, 0.0, 20.0), (100.0, 0.0, 50.0)]
    assert average_precision([judged(*rows, truth=truth, counts=[False, True])]) == pytest.approx(1.0)


def test_scores_are_compared_across_pictures() -> None:
    right = judged(face(0, 0, 50, 0.6), truth=[(0, 0, 50)], counts=[True])
    wrong = judged(face(0, 0, 50, 0.9), truth=[], counts=[])
    assert average_precision([right, wrong]) == pytest.approx(0.5)


def test_missed_faces_and_empty_sets_lower_it_to_nothing() -> None:
    assert average_precision([judged(truth=[(0, 0, 50)], counts=[True])]) == 0.0
    assert average_precision([]) == 0.0
