"""When a reveal begins and ends, for whatever the hub decides, hears and misses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hub.audit.reveals import MAX_OPEN, Moment, Reveals
from hub.policy import Verdict

WALL = 1_800_000_000.0
A, B = b"a" * 16, b"b" * 16
SHOWN = Verdict(True, 3.0, "id-ada", "Ada", 0.95, 0.3, "consented", (), "consent-1", 7, 0.9)
Record = dict[str, Any]


def at(now: float) -> Moment:
    return Moment(now, WALL + now)


def grant(reveals: Reveals, now: float, verdict: Verdict = SHOWN, track: int = 1) -> tuple[list[Record], ...]:
    return reveals.granted((A, track), "door", "reveal-consented", verdict, at(now))


def test_a_reveal_begins_once_with_all_that_explains_it() -> None:
    reveals = Reveals("run")
    ended, began = grant(reveals, 1.0)
    assert ended == []
    assert began == [
        {
            "kind": "reveal-start", "at": WALL + 1.0, "reveal": "run-1", "node": "door", "camera": "door",
            "session": A.hex()[:8], "track": 1, "mode": "reveal-consented", "identity": "id-ada",
            "consent": "consent-1", "similarity": 0.95, "margin": 0.3, "threshold": 0.9,
            "gallery_version": 7,
        }
    ]  # fmt: skip
    assert grant(reveals, 2.0) == ([], []), "shown on"
    assert "Ada" not in str(began)


def test_it_ends_with_its_last_lease() -> None:
    reveals = Reveals("run")
    grant(reveals, 1.0)
    grant(reveals, 3.0, replace(SHOWN, similarity=0.91))
    assert reveals.expired(at(5.9)) == []
    (end,) = reveals.expired(at(7.0))
    assert (end["start"], end["end"], end["latest"]) == (WALL + 1.0, WALL + 6.0, WALL + 6.0)
    assert (end["cause"], end["decisions"], end["least_similarity"]) == ("lease expired", 2, 0.91)
    assert len(reveals) == 0


def test_a_veil_ends_it_and_a_node_out_of_reach_by_the_lease() -> None:
    reveals = Reveals("run")
    grant(reveals, 1.0)
    (end,) = reveals.veiled((A, 1), "the looks disagree", at(2.5))
    assert (end["end"], end["latest"], end["cause"]) == (WALL + 2.5, WALL + 4.0, "the looks disagree")
    assert reveals.veiled((A, 1), "again", at(2.6)) == []


def test_a_revocation_ends_what_it_names() -> None:
    reveals = Reveals("run")
    for track in (1, 2):
        grant(reveals, 1.0, track=track)
    grant(reveals, 1.0, replace(SHOWN, identity="id-bob"), track=3)
    assert reveals.revoked(B, [], [], "elsewhere", at(2.0)) == []
    assert [r["track"] for r in reveals.revoked(A, [2], [], "ousted", at(2.0))] == [2]
    assert [r["track"] for r in reveals.revoked(A, [], ["id-ada"], "consent ended", at(2.0))] == [1]
    assert [r["track"] for r in reveals.revoked(A, [], [], "all of them", at(2.0))] == [3]


def test_a_lost_session_may_show_until_the_leases_end() -> None:
    reveals = Reveals("run")
    grant(reveals, 1.0)
    (end,) = reveals.lost(A, at(2.0))
    assert (end["end"], end["latest"], end["cause"]) == (WALL + 4.0, WALL + 4.0, "session lost")


def test_another_person_or_consent_is_another_reveal() -> None:
    reveals = Reveals("run")
    grant(reveals, 1.0)
    for other in (replace(SHOWN, consent="consent-2"), replace(SHOWN, identity="id-bob")):
        (end,), (start,) = grant(reveals, 2.0, other)
        assert end["cause"] == "another person or consent"
        assert end["reveal"] != start["reveal"]


def test_a_decision_after_the_lease_begins_another_reveal() -> None:
    reveals = Reveals("run")
    grant(reveals, 1.0)
    (end,), (start,) = grant(reveals, 9.0)
    assert (end["end"], start["at"]) == (WALL + 4.0, WALL + 9.0)


def test_faces_shown_for_being_on_no_list_are_recorded_without_identity() -> None:
    reveals = Reveals("run")
    nobody = Verdict(True, 3.0, "", "", 0.0, 0.0, "not on the list", (), "", 7, 0.9)
    _, (start,) = reveals.granted((A, 1), "yard", "veil-protected", nobody, at(1.0))
    assert (start["identity"], start["consent"], start["mode"]) == ("", "", "veil-protected")


def test_reveals_are_bounded() -> None:
    reveals = Reveals("run")
    for track in range(MAX_OPEN):
        grant(reveals, 1.0, track=track)
    try:
        grant(reveals, 1.0, track=MAX_OPEN)
    except ValueError:
        pass
    else:
        raise AssertionError
    assert len(reveals) == MAX_OPEN


event = st.one_of(
    st.tuples(st.just("grant"), st.integers(1, 3), st.sampled_from(["x", "y"])),
    st.tuples(st.just("veil"), st.integers(1, 3), st.just("")),
    st.tuples(st.just("revoke"), st.integers(0, 3), st.just("")),
    st.tuples(st.just("lost"), st.just(0), st.just("")),
    st.tuples(st.just("expire"), st.just(0), st.just("")),
)


@given(st.lists(st.tuples(st.floats(0.0, 5.0), event), max_size=40))
def test_every_reveal_has_one_start_and_then_one_end(
    history: list[tuple[float, tuple[str, int, str]]],
) -> None:
    """And at every instant the log shows at least what a node could be showing."""
    reveals, records, now = Reveals("run"), [], 0.0
    leases: dict[int, float] = {}
    for step, (what, track, who) in history:
        now += step
        if what == "grant":
            ended, began = grant(reveals, now, replace(SHOWN, identity=who), track)
            records += ended + began
            leases[track] = now + 3.0
        elif what == "veil":
            records += reveals.veiled((A, track), "veiled", at(now))
            leases.pop(track, None)
        elif what == "revoke":
            records += reveals.revoked(A, [track] if track else [], [], "revoked", at(now))
            leases = {t: e for t, e in leases.items() if track and t != track}
        elif what == "lost":
            records += reveals.lost(A, at(now))
            leases.clear()
        else:
            records += reveals.expired(at(now))
        for shown, ends in leases.items():
            assert now >= ends or reveals.reveal_of((A, shown))
    records += reveals.stopped(at(now))
    starts = [r["reveal"] for r in records if r["kind"] == "reveal-start"]
    ends_of = {r["reveal"]: r for r in records if r["kind"] == "reveal-end"}
    assert len(starts) == len(set(starts))
    assert sorted(starts) == sorted(ends_of)
    assert len(records) == 2 * len(starts)
    for end in ends_of.values():
        assert end["start"] <= end["end"] <= end["latest"]
