"""The hub is asked only when something can be learned."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from edge_node.privacy.decisions import Lease, Leases
from edge_node.tracking.sampling import Look, Sampler
from vision.crops import LOOK_BYTES, FaceCrop

FPS = 25
FRAMING_BYTES = 350
"""Header, landmarks and CURVE around a crop: measured, 290."""
CROP = FaceCrop(np.zeros((224, 224, 3), np.uint8), np.zeros((5, 2), np.float32))
CONNECTED = Leases(session=1)
LEASED = Leases({1: Lease(1, 3.0, "id", "Ada")}, session=1)


def ask_for(sampler: Sampler, seconds: float, answers: float = 99.0) -> list[float]:
    """Times at which track 1 was asked about, polled at 25 Hz with good crops. The hub answers at once
    those questions that leave before `answers`."""
    times: list[float] = []
    for i in range(int(seconds * 25)):
        now = i / 25
        answered = [t for t in times if t < answers]
        leases = Leases(session=1, answered_at={1: answered[-1]} if answered else {})
        due = sampler.due([1], leases, now)
        times += [now for _ in sampler.choose([Look(t, CROP, 0.9) for t in due], now)]
    return times


def questions_in(sampler: Sampler, people: int, seconds: int, is_shown: bool) -> list[int]:
    """Questions at each of the frames about people who stay; the hub answers at once."""
    counts, answered_at = [], dict.fromkeys(range(people), float("-inf"))
    for i in range(seconds * FPS):
        now = i / FPS
        asked = {t: at for t, at in answered_at.items() if at >= 0}
        shown = {t: Lease(t, at + 3.0, "id", "Ada") for t, at in asked.items()} if is_shown else {}
        due = sampler.due(range(people), Leases(shown, session=1, answered_at=asked), now)
        chosen = sampler.choose([Look(t, CROP, 0.9) for t in due], now)
        answered_at |= {look.track: now for look in chosen}
        counts.append(len(chosen))
    return counts


def ask(sampler: Sampler, track: int, now: float) -> None:
    sampler.due([track], CONNECTED, now)
    assert sampler.choose([Look(track, CROP, 0.9)], now)


def test_a_new_track_is_asked_about_at_once_and_a_few_times_in_short_order() -> None:
    times = ask_for(Sampler(), 1.0)
    assert times[0] == 0.0
    assert len(times) == 4


def test_a_stranger_is_asked_about_less_and_less() -> None:
    times = ask_for(Sampler(), 40.0)
    gaps = [round(b - a, 3) for a, b in pairwise(times)]
    assert gaps == sorted(gaps)
    assert gaps[-1] >= 4.0


def test_a_question_that_nobody_answers_is_repeated_soon_and_does_not_count() -> None:
    sampler = Sampler()
    gaps = [round(b - a, 3) for a, b in pairwise(ask_for(sampler, 20.0, answers=0.0))]
    assert max(gaps) <= 1.6
    assert min(gaps) >= 1.4
    answered = Leases(session=1, answered_at={1: 20.0})
    assert sampler.due([1], answered, 20.0 + 0.3) == [1], "the first looks are still to come"


def test_a_hub_that_falls_silent_is_asked_again_sooner_than_it_would_be_about_a_stranger() -> None:
    times = ask_for(Sampler(), 60.0, answers=30.0)
    late = [b - a for a, b in pairwise(times) if a > 30.0]
    assert max(late) <= 1.6


def test_a_shown_face_is_proven_again_before_its_lease_ends() -> None:
    sampler = Sampler()
    ask(sampler, 1, 0.0)
    assert sampler.due([1], LEASED, 1.7) == []
    assert sampler.due([1], LEASED, 1.9) == [1]


@pytest.mark.parametrize("is_shown", [True, False])
def test_five_people_take_no_more_than_the_line_is_given(is_shown: bool) -> None:
    """Every look as large as it may be, for a minute once they are known; and far fewer bytes than with a
    look at each of the 25 frames a second."""
    counts = questions_in(Sampler(), people=5, seconds=80, is_shown=is_shown)
    settled = sum(counts[20 * FPS :])
    kbit_per_s = 8 * settled * (LOOK_BYTES + FRAMING_BYTES) / 60 / 1000
    assert kbit_per_s < 145
    assert 60 * FPS * 5 / settled > 45


def test_people_who_are_shown_stay_shown_while_every_other_question_is_lost() -> None:
    sampler, expires_at, asked = Sampler(), 3.0, 0
    ask(sampler, 1, 0.0)
    for i in range(1, 20 * FPS):
        now = i / FPS
        leases = Leases({1: Lease(1, expires_at, "id", "Ada")}, session=1)
        for _ in sampler.choose([Look(t, CROP, 0.9) for t in sampler.due([1], leases, now)], now):
            asked += 1
            expires_at = now + 3.0 if asked % 2 == 0 else expires_at
        assert expires_at > now


def test_tracks_never_asked_about_come_first() -> None:
    sampler = Sampler()
    ask(sampler, 1, 0.0)
    assert sampler.due([1, 2], CONNECTED, 5.0) == [2, 1]


def test_tracks_that_are_gone_are_forgotten() -> None:
    sampler = Sampler()
    ask(sampler, 1, 0.0)
    sampler.due([], CONNECTED, 0.1)
    assert sampler.due([1], CONNECTED, 0.2) == [1]


def test_a_new_session_starts_over() -> None:
    sampler = Sampler()
    ask_for(sampler, 5.0)
    assert sampler.due([1], Leases(session=1, answered_at={1: 5.0}), 5.1) == []
    assert sampler.due([1], Leases(session=2), 5.1) == [1]


def test_without_a_session_nothing_is_due() -> None:
    assert Sampler().due([1], Leases(), 0.0) == []


def test_the_best_crop_of_a_short_window_is_sent() -> None:
    sampler = Sampler()
    sent = []
    for i, quality in enumerate([0.3, 0.5, 0.4, 0.35, 0.3, 0.3]):
        now = i / 20
        due = sampler.due([1], CONNECTED, now)
        sent += sampler.choose([Look(t, CROP, quality) for t in due], now)
    assert [look.quality for look in sent] == [0.5]
