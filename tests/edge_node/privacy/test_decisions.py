"""Leases, and the one place where a face becomes visible."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_node.privacy.decisions import MAX_ANSWERED, DecisionBook, Lease, Leases, plan
from edge_node.privacy.timeline import Region
from edge_node.tracking.track import Evidence
from protocol.messages import FaceDecision, Revoke

SESSION = bytes(16)
A = (0.0, 0.0, 10.0, 10.0)
FAR = (100.0, 100.0, 110.0, 110.0)


def decision(seq: int, track: int, *, reveal: bool = True, lease_s: float = 3.0) -> FaceDecision:
    return FaceDecision(
        session=SESSION, seq=seq, track=track, reveal=reveal, lease_s=lease_s,
        identity="id-1", name="Ada",
    )  # fmt: skip


def region(track: int, box: tuple[float, float, float, float], trusted: bool = True) -> Region:
    return Region(track, box, trusted, Evidence.DETECTED)


def leases(*tracks: int, until: float = 10.0) -> Leases:
    return Leases({t: Lease(t, until, "id", "Ada") for t in tracks})


def opened(**settings: float) -> DecisionBook:
    book = DecisionBook(**settings)
    book.opened()
    return book


class TestBook:
    def test_without_a_session_nothing_is_asked_and_no_answer_counts(self) -> None:
        book = DecisionBook()
        book.asked(1, 7, now=1.0)
        assert not book.answered(decision(1, 7), now=1.1)
        assert book.leases.session is None

    def test_when_the_session_is_lost_everyone_is_veiled(self) -> None:
        book = opened()
        book.asked(1, 7, now=1.0)
        book.answered(decision(1, 7), now=1.1)
        book.lost()
        assert book.leases.live(7, 1.2) is None

    def test_an_answer_to_a_question_gives_a_lease_from_the_question_on(self) -> None:
        book = opened()
        book.asked(1, 7, now=1.0)
        assert book.answered(decision(1, 7, lease_s=3.0), now=1.5)
        assert book.leases.live(7, 3.9) is not None
        assert book.leases.live(7, 4.0) is None

    def test_a_reveal_that_a_later_veto_has_overtaken_counts_nothing(self) -> None:
        book = opened()
        book.asked(1, 7, now=1.0)
        book.asked(2, 7, now=1.2)
        book.answered(decision(2, 7, reveal=False), now=1.3)
        assert not book.answered(decision(1, 7), now=1.4)
        assert book.leases.live(7, 1.4) is None

    def test_a_veto_counts_though_a_later_reveal_has_overtaken_it(self) -> None:
        book = opened()
        book.asked(1, 7, now=1.0)
        book.asked(2, 7, now=1.2)
        book.answered(decision(2, 7), now=1.3)
        assert book.answered(decision(1, 7, reveal=False), now=1.4)
        assert book.leases.live(7, 1.4) is None
        assert book.leases.answered_at[7] == 1.2

    def test_which_questions_were_answered_is_known_for_as_many_tracks_as_may_be(self) -> None:
        book = opened()
        for seq in range(MAX_ANSWERED + 1):
            book.asked(seq, seq, now=1.0 + seq)
            book.answered(decision(seq, seq, reveal=seq % 2 == 0), now=1.5 + seq)
        book.asked(999, 3, now=400.0)
        assert book.leases.answered_at[3] == 4.0
        assert 0 not in book.leases.answered_at
        assert len(book.leases.answered_at) == MAX_ANSWERED
        book.opened()
        assert not book.leases.answered_at

    def test_an_answer_that_was_never_asked_for_counts_nothing(self) -> None:
        book = opened()
        assert not book.answered(decision(1, 7), now=1.0)
        assert book.leases.live(7, 1.0) is None

    def test_a_replayed_answer_counts_nothing(self) -> None:
        book = opened()
        book.asked(1, 7, now=1.0)
        book.answered(decision(1, 7), now=1.1)
        assert not book.answered(decision(1, 7), now=3.0)
        assert book.leases.live(7, 4.5) is None

    def test_an_answer_about_another_track_counts_nothing(self) -> None:
        book = opened()
        book.asked(1, 7, now=1.0)
        assert not book.answered(decision(1, 8), now=1.1)
        assert book.leases.live(8, 1.2) is None

    def test_a_late_answer_counts_nothing(self) -> None:
        book = opened(max_answer_s=2.0)
        book.asked(1, 7, now=1.0)
        assert not book.answered(decision(1, 7, lease_s=10.0), now=3.1)
        assert book.leases.live(7, 3.2) is None

    def test_a_lease_is_never_longer_than_the_node_allows(self) -> None:
        book = opened(max_lease_s=5.0)
        book.asked(1, 7, now=1.0)
        book.answered(decision(1, 7, lease_s=3600.0), now=1.0)
        assert book.leases.live(7, 6.1) is None

    def test_a_veil_answer_ends_a_lease(self) -> None:
        book = opened()
        book.asked(1, 7, now=1.0)
        book.answered(decision(1, 7), now=1.1)
        book.asked(2, 7, now=1.2)
        book.answered(decision(2, 7, reveal=False), now=1.3)
        assert book.leases.live(7, 1.4) is None

    def test_a_new_session_knows_nothing_of_the_old_one(self) -> None:
        book = opened()
        book.asked(1, 7, now=1.0)
        book.answered(decision(1, 7), now=1.1)
        book.asked(2, 8, now=1.2)
        book.opened()
        assert book.leases.live(7, 1.3) is None
        assert not book.answered(decision(2, 8), now=1.4)

    def test_a_revocation_by_identity_veils_and_voids_answers_on_their_way(self) -> None:
        book = opened()
        book.asked(1, 7, now=1.0)
        book.answered(decision(1, 7), now=1.1)
        book.asked(2, 7, now=1.2)
        book.revoked(Revoke(session=SESSION, identities=("id-1",)))
        assert book.leases.live(7, 1.3) is None
        assert not book.answered(decision(2, 7), now=1.4)

    def test_a_revocation_of_nobody_in_particular_veils_everyone(self) -> None:
        book = opened()
        book.asked(1, 7, now=1.0)
        book.answered(decision(1, 7), now=1.1)
        book.revoked(Revoke(session=SESSION))
        assert book.leases.live(7, 1.2) is None

    def test_pending_questions_are_bounded(self) -> None:
        book = opened()
        for seq in range(1000):
            book.asked(seq, seq, now=1.0)
        assert not book.answered(decision(0, 0), now=1.0)
        assert book.answered(decision(999, 999), now=1.0)


class TestPlan:
    def test_a_trusted_region_with_a_live_lease_is_shown(self) -> None:
        result = plan([region(1, A)], leases(1), now=1.0, veil_growth=1.4)
        assert [f.name for f in result.shown] == ["Ada"]
        assert result.veiled == ()

    def test_without_a_lease_it_is_veiled(self) -> None:
        assert plan([region(1, A)], leases(), 1.0, 1.4).veiled == (A,)

    def test_an_expired_lease_veils(self) -> None:
        assert plan([region(1, A)], leases(1, until=1.0), 1.0, 1.4).veiled == (A,)

    def test_doubt_veils_in_spite_of_a_lease(self) -> None:
        assert plan([region(1, A, trusted=False)], leases(1), 1.0, 1.4).veiled == (A,)

    def test_a_shown_face_that_meets_a_veiled_one_is_veiled(self) -> None:
        near = (11.0, 0.0, 21.0, 10.0)  # apart, but not once the veil has grown
        result = plan([region(1, A), region(2, near)], leases(1), 1.0, 1.4)
        assert set(result.veiled) == {A, near}

    @pytest.mark.parametrize("evidence", [Evidence.COASTED, Evidence.BACKFILLED])
    def test_a_guess_that_does_not_meet_a_shown_face_is_painted_and_no_more(self, evidence: Evidence) -> None:
        touching = Region(2, (10.5, 0.0, 20.5, 10.0), False, evidence)
        result = plan([region(1, A), touching], leases(1), 1.0, 1.4)
        assert [f.name for f in result.shown] == ["Ada"]
        assert result.veiled == (touching.box_xyxy,)

    @pytest.mark.parametrize("evidence", [Evidence.COASTED, Evidence.BACKFILLED])
    def test_a_guess_that_covers_a_part_of_a_shown_face_veils_it(self, evidence: Evidence) -> None:
        covering = Region(2, (9.9, 0.0, 18.0, 10.0), False, evidence)
        assert plan([region(1, A), covering], leases(1), 1.0, 1.4).shown == ()

    @pytest.mark.parametrize("evidence", [Evidence.COASTED, Evidence.BACKFILLED])
    def test_what_was_never_sure_to_be_a_face_veils_one_that_it_covers(self, evidence: Evidence) -> None:
        beside = Region(2, (8.5, 0.0, 18.0, 10.0), False, evidence, sure=False)
        result = plan([region(1, A), beside], leases(1), 1.0, 1.4)
        assert [f.name for f in result.shown] == ["Ada"]
        assert result.veiled == (beside.box_xyxy,), "it is painted, over the face too"
        covering = Region(2, (7.5, 0.0, 18.0, 10.0), False, evidence, sure=False)
        assert plan([region(1, A), covering], leases(1), 1.0, 1.4).shown == ()

    def test_an_unsure_face_that_is_seen_now_veils_by_touching(self) -> None:
        seen = Region(2, (10.5, 0.0, 20.5, 10.0), False, Evidence.FOUND, sure=False)
        assert plan([region(1, A), seen], leases(1), 1.0, 1.4).shown == ()

    def test_whoever_is_seen_veils_a_shown_face_by_touching_it(self) -> None:
        touching = Region(2, (10.5, 0.0, 20.5, 10.0), False, Evidence.FOUND)
        assert plan([region(1, A), touching], leases(1), 1.0, 1.4).shown == ()

    def test_veiling_spreads_until_nothing_changes(self) -> None:
        row = [(x, 0.0, x + 10.0, 10.0) for x in (0.0, 11.0, 22.0, 33.0)]
        regions = [region(i, box) for i, box in enumerate(row)]
        assert len(plan(regions, leases(0, 1, 2), 1.0, 1.4).veiled) == 4
        assert len(plan([*regions, region(9, FAR)], leases(0, 1, 2, 9), 1.0, 1.4).shown) == 1


EVENTS = st.one_of(
    st.tuples(st.just("ask"), st.integers(0, 9), st.integers(0, 3)),
    st.tuples(st.just("answer"), st.integers(0, 9), st.integers(0, 3)),
    st.tuples(st.just("refuse"), st.integers(0, 9), st.integers(0, 3)),
    st.tuples(st.just("session"), st.just(0), st.just(0)),
    st.tuples(st.just("revoke"), st.just(0), st.just(0)),
    st.tuples(st.just("wait"), st.integers(1, 40), st.just(0)),
)


@given(st.lists(EVENTS, max_size=80))
def test_no_sequence_of_events_shows_a_face_without_a_granted_lease(
    events: list[tuple[str, int, int]],
) -> None:
    """An independent account of what was granted, kept by the slow and obvious rules."""
    book, now = opened(max_answer_s=2.0), 0.0
    open_questions: dict[int, tuple[int, float]] = {}
    granted: dict[int, float] = {}
    for kind, a, b in events:
        if kind == "wait":
            now += a / 10
        elif kind == "ask":
            book.asked(a, b, now)
            open_questions[a] = (b, now)
        elif kind in ("answer", "refuse"):
            book.answered(decision(a, b, reveal=kind == "answer"), now)
            question = open_questions.pop(a, None)
            if question is not None and question[0] == b and now - question[1] <= 2.0:
                granted[b] = question[1] + 3.0 if kind == "answer" else 0.0
        else:
            if kind == "session":
                book.opened()
            else:
                book.revoked(Revoke(session=SESSION))
            open_questions.clear()
            granted.clear()
        for track in range(4):
            is_shown = bool(plan([region(track, A)], book.leases, now, 1.4).shown)
            assert is_shown == (granted.get(track, 0.0) > now)
