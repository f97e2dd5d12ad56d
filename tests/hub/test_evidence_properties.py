"""What holds for any people and any looks: nobody twice, look-alikes veiled, larger galleries stricter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.evidence import EvidenceBook, EvidenceSettings, Foreseen, Probe, TrackKey
from hub.gallery import Gallery
from hub.policy import PolicySettings, Verdict
from hub.recognizer import Look, Recognizer
from tests.hub.test_recognizer import ColorEmbedder, consents, gallery, jpeg, look

SETTINGS = EvidenceSettings(threshold=0.9, margin=0.05)
LEASE_S = 3.0
COLORS = ((255, 0, 0), (255, 40, 0), (255, 70, 0), (0, 255, 0), (200, 90, 0))
"""Ada, two who pass as her a little less, and two others."""


@cache
def crop(color: tuple[int, int, int]) -> bytes:
    return jpeg(color)


@dataclass
class Watched:
    """What a node knows of its tracks."""

    first: dict[int, float] = field(default_factory=dict)
    last: dict[int, float] = field(default_factory=dict)
    shown_until: dict[int, float] = field(default_factory=dict)

    def heard(self, asked: Look, verdict: Verdict) -> None:
        track = asked.track
        self.first.setdefault(track, asked.now)
        self.last[track] = asked.now
        self.shown_until[track] = asked.now + verdict.lease_s if verdict.reveal else 0.0
        for other in verdict.ousted:
            self.shown_until[other] = 0.0

    def shown_together(self, now: float) -> list[tuple[int, int]]:
        """Pairs of tracks that are shown and were in the picture at one time."""
        shown = [t for t, until in self.shown_until.items() if until > now]
        return [
            (a, b)
            for a in shown
            for b in shown
            if a < b and self.last[a] >= self.first[b] and self.last[b] >= self.first[a]
        ]


@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.sampled_from(COLORS), st.floats(0.05, 1.0)), min_size=4, max_size=40
    )
)
@settings(max_examples=60, deadline=None)
def test_nobody_is_shown_twice_in_one_picture(looks: list[tuple[int, tuple[int, int, int], float]]) -> None:
    recognizer = Recognizer(
        ColorEmbedder(), gallery(), consents("ada"), EvidenceSettings(0.9, 0.1),
        PolicySettings(lease_s=LEASE_S), wall=lambda: 0.0,
    )  # fmt: skip
    watched, now = Watched(), 0.0
    for track, color, pause_s in looks:
        now += pause_s
        asked = replace(look((0, 0, 0), track), crop_jpeg=crop(color), now=now)
        (verdict,) = recognizer.recognize([asked])
        assert isinstance(verdict, Verdict)
        watched.heard(asked, verdict)
        assert watched.shown_together(now) == []


def direction(values: list[float]) -> np.ndarray:
    vector = np.array(values, np.float32)
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


DIRECTIONS = st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda v: math.hypot(*v) > 0.1)


@given(DIRECTIONS, DIRECTIONS, st.lists(DIRECTIONS, min_size=2, max_size=6))
@settings(max_examples=100, deadline=None)
def test_of_two_people_with_nearly_one_template_none_is_ever_named(
    person: list[float], aside: list[float], probes: list[list[float]]
) -> None:
    one = direction(person)
    # Nearer than the margin: no probe can be more similar to one of them by more than that.
    other = direction(list(one + 0.02 * direction(aside)))
    twins = Gallery(1, 4, ["one", "other"], np.stack([one, other]))
    book = EvidenceBook(SETTINGS, 2)
    for number, probe in enumerate([person, person, *probes, person]):
        found = book.look(
            ("door", bytes(16), 1), direction(probe), 1.0, float(number),
            lambda p: twins.identify(p[None], 2)[0],
        )  # fmt: skip
        assert found.identity == ""


def test_twins_end_as_veiled_by_their_margin() -> None:
    one, other = direction([1, 0, 0, 0]), direction([1, 0.04, 0, 0])
    twins = Gallery(1, 4, ["one", "other"], np.stack([one, other]))
    book = EvidenceBook(SETTINGS, 2)
    for _ in range(4):
        found = book.look(
            ("door", bytes(16), 1), one, 1.0, 0.0, lambda p: twins.identify(p[None], 2)[0]
        )  # fmt: skip
    assert found.reason == "two people are about equally similar"


@pytest.mark.parametrize(("people", "threshold"), [(1, 0.9), (10, 0.91), (300, 0.9248), (0, 0.9)])
def test_the_threshold_rises_with_the_gallery(people: int, threshold: float) -> None:
    book = EvidenceBook(replace(SETTINGS, per_tenfold=0.01), people)
    assert book.threshold == pytest.approx(threshold, abs=1e-4)


def test_a_look_that_names_one_person_of_a_few_names_none_of_many() -> None:
    probe, template = direction([0.925, 0.38, 0, 0]), direction([1, 0, 0, 0])
    only = Gallery(1, 4, ["ada"], template[None])

    def named(people: int) -> str:
        book = EvidenceBook(replace(SETTINGS, per_tenfold=0.01), people)
        for _ in range(3):
            found = book.look(
                ("door", bytes(16), 1), probe, 1.0, 0.0, lambda p: only.identify(p[None], 2)[0]
            )  # fmt: skip
        return found.identity

    assert named(1) == "ada"
    assert named(1_000) == ""


def test_the_recognizer_counts_the_people_of_each_snapshot() -> None:
    r = Recognizer(
        ColorEmbedder(), gallery(), consents("ada"), EvidenceSettings(0.9, 0.1, per_tenfold=0.01),
        PolicySettings(), wall=lambda: 0.0,
    )  # fmt: skip
    before = r._evidence.threshold
    r.replace_gallery(gallery(2, ("bea", (0.0, 1.0, 0.0))), consents("ada", "bea"))
    assert r._evidence.threshold == pytest.approx(before + 0.01 * math.log10(2))


def test_single_looks_agree_from_a_little_below_the_threshold_on_but_their_mean_must_pass() -> None:
    template = direction([1, 0, 0, 0])
    only = Gallery(1, 4, ["ada"], template[None])

    def named(*probes: np.ndarray) -> str:
        book = EvidenceBook(SETTINGS, 1)
        for probe in probes:
            found = book.look(
                ("door", bytes(16), 1), probe, 1.0, 0.0, lambda p: only.identify(p[None], 2)[0]
            )  # fmt: skip
        return found.identity

    left, right = direction([0.89, 0.456, 0, 0]), direction([0.89, -0.456, 0, 0])
    assert named(left, left) == "", "the mean is as far away as each look"
    assert named(left, right) == "ada", "what differs between the looks is not the person"
    far, fringe = direction([0.86, 0.51, 0, 0]), direction([0.86, -0.51, 0, 0])
    assert named(far, fringe) == "", "neither agrees by itself"


class OneByOne(EvidenceBook):
    """Foresees nothing, so that each fused probe is searched for by itself."""

    def foresee(self, asked: Sequence[tuple[TrackKey, Probe, float]]) -> list[Foreseen | None]:
        return [None] * len(asked)


@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 4), st.sampled_from(COLORS)), min_size=1, max_size=8),
        min_size=2, max_size=6,
    )
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_what_a_batch_is_searched_for_in_one_go_changes_no_verdict(
    batches: list[list[tuple[int, tuple[int, int, int]]]],
) -> None:
    at_once, one_by_one = (
        Recognizer(
            ColorEmbedder(), gallery(), consents("ada"), EvidenceSettings(0.9, 0.1, n=3),
            PolicySettings(lease_s=LEASE_S), wall=lambda: 0.0,
        )
        for _ in range(2)
    )  # fmt: skip
    one_by_one._evidence = OneByOne(one_by_one._evidence.settings, one_by_one._evidence.people)
    for number, batch in enumerate(batches):
        asked = [
            replace(look((0, 0, 0), track), crop_jpeg=crop(color), now=float(number))
            for track, color in batch
        ]
        for found, expected in zip(at_once.recognize(asked), one_by_one.recognize(asked), strict=True):
            assert isinstance(found, Verdict)
            assert isinstance(expected, Verdict)
            assert found.similarity == pytest.approx(expected.similarity, abs=1e-6)
            assert found.margin == pytest.approx(expected.margin, abs=1e-6)
            assert replace(found, similarity=0.0, margin=0.0) == replace(expected, similarity=0.0, margin=0.0)
