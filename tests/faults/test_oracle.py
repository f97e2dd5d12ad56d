"""The checker of the simulation: it finds a face that shows, and only where nobody allowed it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_node.frames import MaskedFrame, ReleaseReason
from protocol.messages import FaceDecision, Revoke
from tests.faults.oracle import MAX_ANSWER_S, SILENCE_S, Account, Look, Oracle, Question
from tests.faults.world import PEOPLE, Scene, Script, World
from vision.detections import Image

AT = 1.0
IDENTITY_OF = {f"id-{i}": i for i in range(PEOPLE)}


class Exit:
    """One frame of eight people on its way out, at AT, seen by the detector in full."""

    def __init__(self, may_be_calm: bool = False) -> None:
        self.world = World(np.random.default_rng(1), 3, Script())
        self.account = Account()
        self.oracle = Oracle(self.world, self.account, may_be_calm)
        self.scene: Scene = self.world.scene(AT)
        self.image, self.owner = self.world.paint(self.scene)
        seen = self.seen()
        self.oracle.analyzed(Look(AT, 0, seen, seen, seen))
        self.oracle.now = AT + 0.1

    def seen(self, but: tuple[int, ...] = ()) -> frozenset[tuple[int, int]]:
        """Everyone, but these, as a look reports them."""
        return frozenset((f.person, f.epoch) for f in self.scene.faces if f.person not in but)

    def push(self, image: Image, reason: ReleaseReason = ReleaseReason.COVERED, seq: int = 0) -> None:
        self.oracle.captured(seq, self.scene, self.owner)
        self.oracle.push(MaskedFrame(seq, AT, AT, image, reason))

    def boxed(self, but: tuple[int, ...] = ()) -> Image:
        """Everyone behind a plain box, but these."""
        image = self.image.copy()
        for face in self.scene.faces:
            if face.person not in but:
                x1, y1, x2, y2 = (round(v) for v in face.box)
                image[max(0, y1) : y2, max(0, x1) : x2] = 90
        return image

    def allow(self, person: int, asked_at: float = AT, lease_s: float = 3.0, seq: int = 7) -> None:
        self.ask(person, asked_at, seq)
        self.decide(person, asked_at + 0.05, lease_s, seq)

    def ask(self, person: int, at: float, seq: int = 7) -> None:
        self.account.heard(at)
        self.account.asked(seq, Question(person, 1, at, 0))

    def decide(self, person: int, at: float, lease_s: float = 3.0, seq: int = 7, reveal: bool = True) -> None:
        self.account.heard(at)
        answer = FaceDecision(
            session=b"s" * 16, seq=seq, track=1, reveal=reveal, lease_s=lease_s, identity=f"id-{person}"
        )
        self.account.decided(answer, IDENTITY_OF, at)

    def leaked(self) -> set[int]:
        return {leak.person for leak in self.oracle.tally.leaks}


@pytest.fixture
def way_out() -> Exit:
    return Exit()


def test_a_frame_without_a_veil_leaks_everyone(way_out: Exit) -> None:
    way_out.push(way_out.image)
    assert way_out.oracle.tally.face_frames == PEOPLE
    assert way_out.leaked() == set(range(PEOPLE))


def test_a_frame_that_is_only_called_veiled_in_full_leaks_everyone(way_out: Exit) -> None:
    way_out.push(way_out.image, ReleaseReason.LATE)
    assert way_out.leaked() == set(range(PEOPLE))


def test_the_picture_behind_a_frame_veiled_in_full_is_noticed_without_faces_too(way_out: Exit) -> None:
    way_out.push(way_out.boxed(), ReleaseReason.LATE)
    assert not way_out.oracle.tally.leaks
    assert way_out.oracle.tally.faults


def test_boxes_over_everyone_leak_nobody(way_out: Exit) -> None:
    way_out.push(way_out.boxed())
    assert way_out.oracle.tally.face_frames == PEOPLE
    assert not way_out.oracle.tally.leaks


def test_one_forgotten_face_is_found(way_out: Exit) -> None:
    way_out.push(way_out.boxed(but=(5,)))
    assert way_out.leaked() == {5}


def test_a_face_half_covered_is_found(way_out: Exit) -> None:
    image: NDArray[np.uint8] = way_out.image.copy()
    face = next(f for f in way_out.scene.faces if f.person == 5)
    boxed = way_out.boxed()
    middle = face.top + way_out.world.people[5].height // 2
    image[:] = boxed
    image[face.top : middle] = np.where(
        way_out.owner[face.top : middle, :, None] == 5,
        way_out.image[face.top : middle],
        boxed[face.top : middle],
    )
    way_out.push(image)
    assert way_out.leaked() == {5}


def test_who_was_allowed_is_shown_and_not_leaked(way_out: Exit) -> None:
    way_out.allow(0)
    way_out.push(way_out.boxed(but=(0,)))
    assert not way_out.oracle.tally.leaks
    assert way_out.oracle.tally.shown == 1


def test_a_face_shown_after_its_lease_leaks(way_out: Exit) -> None:
    way_out.allow(0, lease_s=0.08)
    way_out.push(way_out.boxed(but=(0,)))
    assert way_out.leaked() == {0}


def test_an_answer_that_came_too_late_allows_nobody(way_out: Exit) -> None:
    way_out.ask(0, AT - MAX_ANSWER_S - 0.1)
    way_out.decide(0, AT, lease_s=9.0)
    way_out.push(way_out.boxed(but=(0,)))
    assert way_out.leaked() == {0}


def test_a_withdrawn_consent_counts_at_once(way_out: Exit) -> None:
    way_out.allow(0)
    way_out.account.revoked(Revoke(session=b"s" * 16, identities=("id-0",)), IDENTITY_OF, AT + 0.08)
    way_out.push(way_out.boxed(but=(0,)))
    assert way_out.leaked() == {0}


def test_the_answer_to_one_question_does_not_count_twice(way_out: Exit) -> None:
    way_out.allow(0)
    way_out.ask(0, AT + 0.01, seq=8)
    way_out.decide(0, AT + 0.06, seq=8, reveal=False)
    way_out.decide(0, AT + 0.07)
    way_out.push(way_out.boxed(but=(0,)))
    assert way_out.leaked() == {0}


def test_a_hub_that_was_not_heard_for_long_allows_nobody(way_out: Exit) -> None:
    way_out.allow(0, asked_at=AT - SILENCE_S - 0.1, lease_s=9.0)
    way_out.push(way_out.boxed(but=(0,)))
    assert way_out.leaked() == {0}


def test_a_face_that_the_detector_doubts_is_not_to_be_shown(way_out: Exit) -> None:
    way_out.allow(0)
    way_out.oracle._looks.clear()
    seen = way_out.seen()
    way_out.oracle.analyzed(Look(AT, 0, seen, frozenset(), seen))
    way_out.push(way_out.boxed(but=(0,)))
    assert way_out.leaked() == {0}


@pytest.mark.parametrize(
    ("found_after_s", "leaves_after_s", "leaked"),
    [
        ((0.04,), 0.1, {5}),
        ((0.08,), 0.1, {5}),
        ((0.04, 0.12), 0.1, {5}),
        ((0.12,), 0.1, set()),
        ((0.08,), 0.5, set()),
    ],
    ids=["by the next", "by the one after", "by both", "too late", "but the frame had waited for long"],
)
def test_a_face_that_the_look_back_would_have_found_has_leaked(
    way_out: Exit, found_after_s: tuple[float, ...], leaves_after_s: float, leaked: set[int]
) -> None:
    others, everyone = way_out.seen(but=(5,)), way_out.seen()
    way_out.oracle._looks.clear()
    way_out.oracle.analyzed(Look(AT, 0, others, others, others))
    way_out.oracle.now = AT + leaves_after_s
    way_out.push(way_out.boxed(but=(5,)))
    assert not way_out.leaked()
    for after_s in (0.04, 0.08, 0.12):
        found = everyone if after_s in found_after_s else others
        way_out.oracle.analyzed(Look(AT + after_s, 0, found, found, found))
    assert way_out.leaked() == leaked


def test_a_face_found_by_what_the_frame_waited_for_has_leaked(way_out: Exit) -> None:
    others, everyone = way_out.seen(but=(5,)), way_out.seen()
    way_out.oracle._looks.clear()
    for after_s, found in ((0.0, others), (0.04, others), (0.08, everyone)):
        way_out.oracle.analyzed(Look(AT + after_s, 0, found, found, found))
    way_out.push(way_out.boxed(but=(5,)))
    assert way_out.leaked() == {5}


@pytest.mark.parametrize("may_be_calm", [True, False])
def test_who_appears_within_reach_of_a_known_face_must_be_found_by_the_next_look(may_be_calm: bool) -> None:
    """With eight people in so small a picture everybody does."""
    way_out = Exit(may_be_calm)
    others, everyone = way_out.seen(but=(5,)), way_out.seen()
    way_out.oracle._looks.clear()
    way_out.oracle.analyzed(Look(AT, 0, others, others, others))
    way_out.push(way_out.boxed(but=(5,)))
    way_out.oracle.analyzed(Look(AT + 0.04, 0, others, others, others))
    way_out.oracle.analyzed(Look(AT + 0.08, 0, everyone, everyone, everyone))
    assert way_out.leaked() == (set() if may_be_calm else {5})


def test_frames_that_leave_out_of_order_are_noticed(way_out: Exit) -> None:
    way_out.push(way_out.boxed(), seq=2)
    way_out.push(way_out.boxed(), seq=1)
    assert way_out.oracle.tally.faults == ["frame 1 left after 2"]
