"""What it takes to be shown, and what ends it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hub.evidence import FORGET_S, MAX_TRACKS, EvidenceBook, EvidenceSettings, Finding
from hub.gallery import Candidate, Gallery

ADA = np.array([1, 0, 0, 0], np.float32)
BEA = np.array([0, 1, 0, 0], np.float32)
STRANGER = np.array([0, 0, 1, 0], np.float32)
TWIN = np.array([1, 0.05, 0, 0], np.float32) / np.linalg.norm([1, 0.05])
GALLERY = Gallery(1, 4, ["ada", "bea"], np.stack([ADA, BEA]))
TWINS = Gallery(1, 4, ["ada", "twin"], np.stack([ADA, TWIN.astype(np.float32)]))
SETTINGS = EvidenceSettings(threshold=0.9, margin=0.1, n=3)
KEY = ("door", bytes(16), 1)


def book() -> EvidenceBook:
    return EvidenceBook(SETTINGS)


def look(
    b: EvidenceBook, probe: np.ndarray, now: float = 0.0, gallery: Gallery = GALLERY, track: int = 1,
    quality: float = 1.0,
) -> Finding:  # fmt: skip
    def identify(p: np.ndarray) -> Sequence[Candidate]:
        return gallery.identify(p[None], 2)[0]

    return b.look((KEY[0], KEY[1], track), probe.astype(np.float32), quality, now, identify)


def test_one_look_is_not_enough_and_two_are() -> None:
    b = book()
    assert look(b, ADA).identity == ""
    finding = look(b, ADA)
    assert finding.identity == "ada"
    assert finding.similarity > 0.99
    assert finding.margin > 0.9


def test_someone_else_is_never_proven_by_another_tracks_looks() -> None:
    b = book()
    look(b, ADA, track=1)
    assert look(b, ADA, track=2).identity == ""


def test_a_stranger_is_nobody_and_is_said_to_be_one_after_enough_looks() -> None:
    b = book()
    assert not look(b, STRANGER).is_stranger
    finding = look(b, STRANGER)
    assert finding.identity == ""
    assert finding.is_stranger


def test_someone_almost_like_an_enrolled_person_is_not_proven_to_be_a_stranger() -> None:
    b = book()
    almost = np.array([0.88, 0, 0.475, 0], np.float32)
    look(b, almost)
    assert not look(b, almost).is_stranger


def test_twins_in_the_gallery_end_as_nobody() -> None:
    b = book()
    for _ in range(5):
        assert look(b, ADA, gallery=TWINS).identity == ""


def test_one_confident_look_at_someone_else_ends_the_reveal() -> None:
    b = book()
    look(b, ADA)
    look(b, ADA)
    assert look(b, BEA).identity == ""
    assert b.proven("ada") == []
    assert look(b, ADA).identity == "", "it must be proven from nothing"


def test_a_look_far_below_the_threshold_ends_the_reveal() -> None:
    b = book()
    look(b, ADA)
    look(b, ADA)
    assert look(b, STRANGER).identity == ""


def test_even_a_poor_look_far_below_the_threshold_ends_the_reveal() -> None:
    b = book()
    look(b, ADA)
    look(b, ADA)
    assert look(b, STRANGER, quality=0.05).identity == ""


def test_while_one_look_says_someone_else_nobody_is_proven() -> None:
    b = book()
    look(b, ADA)
    look(b, BEA, quality=0.05)
    assert look(b, ADA).reason == "the looks disagree"
    assert look(b, ADA).identity == ""
    assert look(b, ADA).identity == "ada", "the other look has left the window"


def test_a_slightly_worse_look_does_not() -> None:
    b = book()
    look(b, ADA)
    look(b, ADA)
    slightly = np.array([0.87, 0, 0.493, 0], np.float32)
    assert look(b, slightly).identity == "ada"


def test_poor_looks_weigh_less_in_the_fused_probe() -> None:
    b = book()
    look(b, ADA, quality=1.0)
    look(b, ADA, quality=1.0)
    blurred = np.array([0.86, 0, 0, 0.51], np.float32)
    good = look(b, blurred, quality=0.05).similarity
    c = book()
    look(c, ADA, quality=1.0)
    look(c, ADA, quality=1.0)
    assert look(c, blurred, quality=1.0).similarity < good


def prove(b: EvidenceBook, track: int, *times: float) -> None:
    for now in times:
        assert look(b, ADA, now, track=track).identity in ("", "ada")
    assert (KEY[0], KEY[1], track) in b.proven("ada")


def test_two_faces_at_one_time_that_pass_as_one_person_are_rivals() -> None:
    b = book()
    prove(b, 1, 0.0, 0.2)
    prove(b, 2, 0.1, 0.3)
    assert [key[2] for key, _ in b.rivals((KEY[0], KEY[1], 2), 3.0)] == [1]
    assert [key[2] for key, _ in b.rivals((KEY[0], KEY[1], 1), 3.0)] == [2]


def test_a_person_who_was_lost_and_found_again_has_no_rival() -> None:
    b = book()
    prove(b, 1, 0.0, 0.2)
    prove(b, 2, 0.4, 0.6)
    assert b.rivals((KEY[0], KEY[1], 2), 3.0) == []
    prove(b, 1, 0.8)
    assert [key[2] for key, _ in b.rivals((KEY[0], KEY[1], 1), 3.0)] == [2], "she was not lost"


def test_a_face_that_has_left_is_no_rival() -> None:
    b = book()
    prove(b, 2, 0.0, 0.2)
    prove(b, 1, 0.1, 0.3)
    prove(b, 2, 2.0, 4.0)
    assert b.rivals((KEY[0], KEY[1], 2), 3.0) == []


def test_faces_of_two_cameras_are_no_rivals() -> None:
    b = book()
    prove(b, 1, 0.0, 0.2)
    elsewhere = ("yard", KEY[1], 2)
    for now in (0.1, 0.3):
        b.look(elsewhere, ADA, 1.0, now, lambda p: GALLERY.identify(p[None], 2)[0])
    assert elsewhere in b.proven("ada")
    assert b.rivals(elsewhere, 3.0) == []


def test_who_is_unproven_begins_from_nothing() -> None:
    b = book()
    prove(b, 1, 0.0, 0.2)
    b.unprove(KEY)
    assert b.proven("ada") == []
    assert look(b, ADA, 0.4).identity == ""
    assert look(b, ADA, 0.6).identity == "ada"


def test_a_session_that_ends_takes_its_evidence_along() -> None:
    b = book()
    look(b, ADA)
    look(b, ADA)
    assert b.proven("ada") == [KEY]
    b.forget_session(KEY[0], KEY[1])
    assert len(b) == 0


def test_memory_is_bounded_in_tracks_and_in_time() -> None:
    b = book()
    for track in range(MAX_TRACKS + 10):
        look(b, STRANGER, track=track)
    assert len(b) == MAX_TRACKS
    look(b, STRANGER, now=FORGET_S + 1.0, track=1)
    assert len(b) == 1


def test_an_empty_gallery_proves_nobody() -> None:
    b = book()
    empty = Gallery.empty(4)
    look(b, ADA, gallery=empty)
    assert look(b, ADA, gallery=empty).identity == ""


def test_what_is_forgotten_leaves_nothing_behind() -> None:
    b = book()
    for track in range(3):
        prove(b, track, 0.0, 0.2)
    b.forget((KEY[0], KEY[1], 0))
    assert [key[2] for key, _ in b.rivals((KEY[0], KEY[1], 1), 3.0)] == [2]
    b.forget_session(KEY[0], KEY[1])
    assert (len(b), b._of_session) == (0, {})
    look(b, ADA, track=1)
    look(b, ADA, now=2 * FORGET_S, track=2)
    assert list(b._of_session.values()) == [{(KEY[0], KEY[1], 2): None}]
    b.clear()
    assert (len(b), b._of_session) == (0, {})
