"""Unknown people are kept only while an operator asks for it: how many, how long, and what remains."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.evidence import TrackKey
from hub.visitors import MAX_LOOKS, MIN_LOOKS, TOGETHER_S, VisitorBook
from protocol.limits import MAX_VISITORS

D = 64
SESSION = bytes(16)


def key(track: int, camera: str = "door") -> TrackKey:
    return (camera, SESSION, track)


def face(person: int, wobble: float = 0.0, seed: int = 0) -> np.ndarray:
    """An embedding (D,) of a person; different people are orthogonal."""
    vector = np.zeros(D, np.float32)
    vector[person % D] = 1.0
    noise = np.random.default_rng(seed).normal(size=D)
    vector += np.float32(wobble) * (noise / np.linalg.norm(noise)).astype(np.float32)
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def open_book(until: float = 300.0) -> VisitorBook:
    book = VisitorBook(D, 0.9)
    book.start("door", until)
    return book


def kept(book: VisitorBook) -> int:
    """Rows of the array that hold anything."""
    return int((book._rows != 0).any(axis=1).sum())


def test_by_default_nothing_is_kept() -> None:
    book = VisitorBook(D, 0.9)
    for n in range(50):
        book.take(key(n), face(n), 0.9, False, float(n))
    assert len(book) == 0
    assert kept(book) == 0
    assert book.view(50.0) == []


def test_a_visitor_is_grouped_over_tracks_and_can_be_enrolled() -> None:
    book = open_book()
    for n in range(4):
        book.take(key(n // 2), face(1, 0.2, n), 0.5 + 0.1 * n, False, 10.0 + 3 * n)
    (view,) = book.view(30.0)
    assert (view.id, view.looks, view.ready) == (1, 4, True)
    assert (view.first_seen_s, view.last_seen_s) == (20.0, 11.0)
    looks = book.looks_of(1, 30.0)
    assert looks is not None
    assert looks.embeddings.shape == (4, D)
    assert (looks.embeddings @ face(1)).min() > 0.9


def test_another_camera_is_not_grouped() -> None:
    book = open_book()
    book.take(key(1, "yard"), face(1), 0.9, False, 1.0)
    assert kept(book) == 0


def test_two_people_are_two_visitors() -> None:
    book = open_book()
    for n in range(3):
        book.take(key(1), face(1), 0.9, False, float(n))
        book.take(key(2), face(2), 0.9, False, float(n))
    assert [v.looks for v in book.view(3.0)] == [3, 3]


def test_faces_seen_together_are_never_one_visitor() -> None:
    book = open_book()
    book.take(key(1), face(1), 0.9, False, 1.0)
    book.take(key(2), face(1), 0.9, False, 1.0 + 0.5 * TOGETHER_S)
    assert len(book.view(3.0)) == 2


def test_a_track_that_slips_to_somebody_else_does_not_mix_them() -> None:
    book = open_book()
    for n in range(3):
        book.take(key(1), face(1), 0.9, False, float(n))
    book.take(key(1), face(2), 0.9, False, 3.0)
    looks = book.looks_of(1, 4.0)
    assert looks is not None
    assert (looks.embeddings @ face(2) < 0.1).all()


def test_who_turns_out_to_be_enrolled_is_forgotten() -> None:
    book = open_book()
    book.take(key(1), face(1), 0.9, False, 1.0)
    book.take(key(1), face(1), 0.9, True, 2.0)
    assert len(book) == 0
    assert kept(book) == 0


def test_few_or_poor_looks_are_not_enough() -> None:
    book = open_book()
    for n in range(9):
        book.take(key(1), face(1), 0.1, False, float(n))
    assert kept(book) == 0
    for n in range(MIN_LOOKS - 1):
        book.take(key(1), face(1), 0.9, False, float(n))
    assert [v.ready for v in book.view(3.0)] == [False]


def test_the_best_looks_are_kept() -> None:
    book = open_book()
    for n in range(3 * MAX_LOOKS):
        book.take(key(1), face(1, 0.1, n), 0.4 + 0.02 * n, False, float(n))
    looks = book.looks_of(1, 30.0)
    assert looks is not None
    assert len(looks.qualities) == kept(book) == MAX_LOOKS
    assert min(looks.qualities) > 0.4 + 0.02 * (2 * MAX_LOOKS - 1)


def test_the_time_ends_by_itself() -> None:
    book = open_book(until=100.0)
    book.take(key(1), face(1), 0.9, False, 99.0)
    assert kept(book) == 1
    assert book.expire(99.9) is False
    assert book.expire(100.0) is True
    assert (len(book), kept(book)) == (0, 0)
    book.take(key(1), face(1), 0.9, False, 101.0)
    assert kept(book) == 0


def test_a_look_after_the_time_ends_it_too() -> None:
    book = open_book(until=100.0)
    book.take(key(1), face(1), 0.9, False, 99.0)
    book.take(key(2), face(2), 0.9, False, 100.0)
    assert (len(book), kept(book)) == (0, 0)


def test_stopping_starting_anew_and_enrolling_overwrite() -> None:
    book = open_book()
    book.take(key(1), face(1), 0.9, False, 1.0)
    book.start("door", 300.0)
    assert (len(book), kept(book)) == (0, 0)
    book.take(key(1), face(1), 0.9, False, 1.0)
    (view,) = book.view(2.0)
    book.forget(view.id)
    assert (len(book), kept(book)) == (0, 0)
    book.take(key(1), face(1), 0.9, False, 3.0)
    book.stop()
    assert (len(book), kept(book)) == (0, 0)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 40), st.floats(0, 1), st.booleans(), st.floats(0, 9)),
        max_size=120,
    )
)
def test_never_more_than_the_limits(looks: list[tuple[int, int, float, bool, float]]) -> None:
    book, now = open_book(until=200.0), 0.0
    for track, person, quality, is_known, step_s in looks:
        now += step_s
        book.take(key(track), face(person), quality, is_known, now)
        views = book.view(now)
        assert len(views) == len(book) <= MAX_VISITORS
        assert all(1 <= v.looks <= MAX_LOOKS for v in views)
        assert kept(book) == sum(v.looks for v in views)
        assert sum(len(v.seen_at) for v in book._visitors.values()) <= len(looks)
        if now >= 200.0:
            assert kept(book) == 0


def test_the_one_seen_longest_ago_makes_room() -> None:
    book = open_book()
    for n in range(MAX_VISITORS + 1):
        book.take(key(n), face(n), 0.9, False, float(n))
    assert [v.id for v in book.view(50.0)] == list(range(2, MAX_VISITORS + 2))
    assert book.crowded_out == 1
