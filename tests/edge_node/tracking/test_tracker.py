"""Identity over time: who keeps a track, who gets a new one."""

from __future__ import annotations

import numpy as np
import pytest

from edge_node.tracking.track import Box, Evidence, Observation, TrackState
from edge_node.tracking.tracker import MAX_HIDDEN, Tracker, TrackerSettings
from tests.fakes import detections
from vision.detections import Detections


def at(x: float, y: float = 100.0, size: float = 50.0) -> Box:
    return (x, y, x + size, y + size)


def nothing(count: int) -> Detections:
    return Detections(
        np.zeros((count, 4), np.float32), np.zeros(count, np.float32),
        np.zeros((count, 5, 2), np.float32),
    )  # fmt: skip


def scan(tracker: Tracker, now: float, *faces: Box, score: float = 0.99) -> tuple[Observation, ...]:
    """A step with a full scan and refining networks that see nothing."""
    count = len(tracker.predict(now))
    return tracker.step(now, nothing(count), detections(*faces, score=score))


def test_a_face_is_confirmed_when_it_was_seen_often_enough() -> None:
    tracker = Tracker()
    (first,) = scan(tracker, 0.0, at(100))
    (second,) = scan(tracker, 0.1, at(102))
    assert (first.state, first.trusted) == (TrackState.TENTATIVE, False)
    assert (second.state, second.trusted) == (TrackState.CONFIRMED, True)
    assert first.track == second.track


def test_a_moving_face_keeps_its_track() -> None:
    tracker = Tracker()
    tracks = {scan(tracker, i * 0.1, at(100 + 25 * i))[0].track for i in range(20)}
    assert len(tracks) == 1


def test_two_faces_keep_their_tracks_side_by_side() -> None:
    tracker = Tracker()
    for i in range(10):
        views = scan(tracker, i * 0.1, at(100 + 5 * i), at(300 - 5 * i))
        by_x = sorted(views, key=lambda v: v.box_xyxy[0])
        assert [v.path for v in by_x] == [1, 2]


def test_without_a_scan_the_refined_box_keeps_the_track_fresh() -> None:
    tracker = Tracker()
    scan(tracker, 0.0, at(100))
    scan(tracker, 0.1, at(100))
    predicted = tracker.predict(0.2)
    (view,) = tracker.step(0.2, detections(tuple(map(float, predicted[0]))), None)
    assert (view.evidence, view.unseen_s, view.trusted) == (Evidence.REFINED, 0.0, True)


def test_a_face_that_nothing_confirms_coasts_and_is_then_forgotten() -> None:
    tracker = Tracker(TrackerSettings(coast_s=0.5))
    for i in range(5):
        scan(tracker, i * 0.1, at(100 + 10 * i))
    (lost,) = scan(tracker, 0.5)
    assert (lost.state, lost.evidence, lost.trusted) == (TrackState.LOST, Evidence.COASTED, False)
    assert lost.box_xyxy[0] > 145, "it moves on"
    assert lost.unseen_s == pytest.approx(0.1)
    assert len(scan(tracker, 0.89)) == 1
    assert scan(tracker, 0.95) == ()


def test_a_face_found_again_soon_keeps_its_track_and_later_gets_a_new_one() -> None:
    tracker = Tracker()
    first = [scan(tracker, i * 0.1, at(100)) for i in range(5)][-1][0]
    scan(tracker, 0.5)
    (soon,) = scan(tracker, 0.6, at(100))
    assert soon.track == first.track
    for i in range(7, 12):
        scan(tracker, i * 0.1)
    (late,) = scan(tracker, 1.2, at(100))
    assert late.path == first.path
    assert late.track != first.track


def test_a_jump_is_a_suspected_switch() -> None:
    tracker = Tracker()
    first = [scan(tracker, i * 0.1, at(100)) for i in range(5)][-1][0]
    (jumped,) = scan(tracker, 0.5, at(136))
    assert jumped.path == first.path
    assert jumped.track != first.track


def test_faces_that_cross_are_in_doubt_and_then_new() -> None:
    tracker = Tracker()
    before: dict[int, int] = {}
    for i in range(21):
        views = scan(tracker, i * 0.1, at(100 + 10 * i), at(300 - 10 * i, y=110))
        by_path = {v.path: v for v in views}
        if i == 5:
            before = {p: v.track for p, v in by_path.items()}
        if i in (10,):
            assert not any(v.trusted for v in views)
    assert len(views) == 2
    assert all(by_path[p].track != before[p] for p in before)
    assert all(v.trusted for v in views)


def test_a_weak_face_is_followed_but_not_trusted() -> None:
    tracker = Tracker()
    scan(tracker, 0.0, at(100), score=0.7)
    (view,) = scan(tracker, 0.1, at(100), score=0.7)
    assert view.state is TrackState.CONFIRMED
    assert not view.trusted


def test_two_paths_never_share_one_refined_face() -> None:
    tracker = Tracker()
    scan(tracker, 0.0, at(100), at(200))
    scan(tracker, 0.1, at(100), at(200))
    both_on_one = detections(at(100), at(104))
    views = tracker.step(0.2, both_on_one, None)
    assert sorted(v.evidence for v in views) == [Evidence.COASTED, Evidence.REFINED]


def test_a_reset_forgets_paths_and_reuses_no_id() -> None:
    tracker = Tracker()
    scan(tracker, 0.0, at(100))
    tracker.reset()
    (view,) = scan(tracker, 0.1, at(100))
    assert (view.path, view.track) == (2, 2)


def test_refined_boxes_must_fit_the_paths() -> None:
    with pytest.raises(ValueError, match="0 paths but 1"):
        Tracker().step(0.0, detections(at(0)), None)


def find(tracker: Tracker, now: float, *faces: Box, score: float = 0.5) -> tuple[Observation, ...]:
    """A step in which only the veil-only detector sees anything."""
    count = len(tracker.predict(now))
    return tracker.step(now, nothing(count), None, detections(*faces, score=score))


def test_a_face_that_only_the_veil_only_detector_sees_is_veiled_and_never_trusted() -> None:
    tracker = Tracker()
    for i in range(5):
        (view,) = find(tracker, i * 0.1, at(100 + 5 * i), score=0.99)
    assert (view.evidence, view.unseen_s, view.trusted) == (Evidence.FOUND, 0.0, False)
    assert view.landmarks is None


def test_the_veil_only_detector_carries_a_known_face_through_a_turn() -> None:
    tracker = Tracker()
    for i in range(4):
        (before,) = scan(tracker, i * 0.1, at(100))
    for i in range(4, 30):
        (turned,) = find(tracker, i * 0.1, at(100), score=0.22)
    assert turned.path == before.path
    assert not turned.trusted


def test_a_weak_sight_of_something_new_starts_nothing() -> None:
    assert find(Tracker(), 0.0, at(100), score=0.1) == ()


def test_what_both_detectors_see_is_one_face() -> None:
    tracker = Tracker()
    for i in range(3):
        count = len(tracker.predict(i * 0.1))
        views = tracker.step(i * 0.1, nothing(count), detections(at(100)), detections(at(104, size=44)))
    assert len(views) == 1
    assert views[0].evidence is Evidence.DETECTED


def test_a_face_that_comes_in_fast_is_followed_though_its_speed_is_not_known_yet() -> None:
    tracker = Tracker()
    scan(tracker, 0.0, at(100))
    (second,) = scan(tracker, 0.1, at(160))
    assert second.path == 1
    (third,) = scan(tracker, 0.2, at(220))
    assert third.path == 1


def test_a_face_that_is_half_hidden_keeps_the_size_of_its_head() -> None:
    tracker = Tracker()
    whole, part = (100.0, 100.0, 140.0, 150.0), (100.0, 115.0, 124.0, 148.0)
    tracker.step(1.0, Detections.none(), detections(whole))
    seen = tracker.step(1.04, detections(whole, score=0.0), None, detections(part, score=0.4))
    (x1, y1, x2, y2) = seen[0].box_xyxy
    assert seen[0].evidence is Evidence.FOUND
    assert x2 - x1 > 0.9 * 40
    assert y2 - y1 > 0.9 * 50


def test_a_box_that_was_much_too_large_is_forgotten() -> None:
    tracker = Tracker()
    tracker.step(1.0, Detections.none(), None, detections((80, 80, 160, 160), score=0.5))
    small = (100.0, 100.0, 125.0, 130.0)
    for n in range(4):
        refined = detections(*[(80, 80, 160, 160)] * len(tracker.predict(1.04)), score=0.0)
        seen = tracker.step(1.04 + 0.04 * n, refined, None, detections(small, score=0.5))
    near = min(seen, key=lambda o: o.box_xyxy[2] - o.box_xyxy[0])
    assert near.box_xyxy[2] - near.box_xyxy[0] <= 1.01 * MAX_HIDDEN * 25


def test_a_face_that_suddenly_looks_like_another_gets_a_new_track_on_its_path() -> None:
    tracker, box = Tracker(), (100.0, 100.0, 140.0, 150.0)
    looks = np.random.default_rng(5).normal(size=(2, 3)).astype(np.float32)
    one, other = looks / np.linalg.norm(looks, axis=1, keepdims=True)
    other = other - (other @ one) * one  # nothing in common
    (a,) = tracker.step(1.0, Detections.none(), detections(box), look=lambda _: one)
    (b,) = tracker.step(1.04, detections(box), None, look=lambda _: one)
    (c,) = tracker.step(1.08, detections(box), None, look=lambda _: one)
    (d,) = tracker.step(1.12, detections(box), None, look=lambda _: other)
    assert a.track == b.track == c.track
    assert d.track != c.track
    assert d.path == c.path


def test_a_face_where_another_was_lost_is_a_new_path_and_the_lost_one_is_veiled_on() -> None:
    tracker = Tracker()
    for i in range(4):
        (before,) = scan(tracker, i * 0.1, at(100))
    scan(tracker, 0.4)
    lost, new = scan(tracker, 0.5, at(136))
    assert (lost.path, lost.track, lost.evidence) == (before.path, before.track, Evidence.COASTED)
    assert new.path != before.path
    assert new.state is TrackState.TENTATIVE


def test_a_lost_path_does_not_take_the_face_of_the_one_that_followed() -> None:
    tracker = Tracker()
    for i in range(4):
        scan(tracker, i * 0.1, at(100))
    scan(tracker, 0.4)
    _, new = scan(tracker, 0.5, at(136))
    for i in range(6, 9):
        here = np.array([at(136)] * len(tracker.predict(i * 0.1)), np.float32)
        refined = Detections(
            here, np.full(len(here), 0.99, np.float32), np.zeros((len(here), 5, 2), np.float32)
        )
        views = tracker.step(i * 0.1, refined, None)
        assert [v.path for v in views if v.evidence is Evidence.REFINED] == [new.path]


def test_a_jump_of_a_face_that_was_seen_a_moment_ago_stays_on_its_path() -> None:
    tracker = Tracker()
    for i in range(4):
        (before,) = scan(tracker, i * 0.1, at(100))
    (after,) = scan(tracker, 0.4, at(140))
    assert after.track != before.track
    assert after.path == before.path, "what lies between the two places is veiled"


@pytest.mark.parametrize(("score", "veiled_on_s"), [(0.3, 0.2), (0.8, 1.0)])
def test_what_was_never_sure_to_be_a_face_is_soon_forgotten(score: float, veiled_on_s: float) -> None:
    tracker = Tracker()
    for i in range(10):
        find(tracker, i * 0.04, at(100), score=score)
    last = 9 * 0.04
    count = len(tracker.predict(last + veiled_on_s - 0.01))
    assert len(tracker.step(last + veiled_on_s - 0.01, nothing(count), None, Detections.none())) == 1
    assert tracker.step(last + veiled_on_s + 0.01, nothing(1), None, Detections.none()) == ()


@pytest.mark.parametrize(("score", "is_sure"), [(0.7, False), (0.85, True)])
def test_what_mtcnn_doubts_is_said_to_be_no_sure_face(score: float, is_sure: bool) -> None:
    tracker = Tracker()
    (face,) = scan(tracker, 0.0, at(100), score=score)
    assert face.sure == is_sure
    (face,) = tracker.step(0.1, nothing(1), None, Detections.none())
    assert face.sure == is_sure


def test_a_weaker_box_inside_a_face_that_was_just_seen_is_a_part_of_it() -> None:
    tracker = Tracker()
    for n in range(3):
        scan(tracker, 0.04 * n, at(100))
    (face,) = tracker.step(0.12, detections(at(100)), detections(at(95, size=22), score=0.75))
    assert face.trusted
    alone = Tracker()
    scan(alone, 0.0, at(95, size=22), score=0.75)
    assert len(scan(alone, 0.04, at(95, size=22), score=0.75)) == 1


def test_a_better_box_inside_a_face_is_somebody() -> None:
    tracker = Tracker()
    for n in range(3):
        scan(tracker, 0.04 * n, at(100))
    two = detections(at(100), at(95, size=28))
    faces = tracker.step(0.12, nothing(1), Detections(two.boxes_xyxy, np.float32([0.9, 0.99]), two.landmarks))
    assert [f.trusted for f in faces] == [False, False]


def test_a_trusted_face_stays_so_through_a_dip_of_its_score() -> None:
    tracker = Tracker()
    for n in range(3):
        scan(tracker, 0.04 * n, at(100))
    assert scan(tracker, 0.12, at(100), score=0.85)[0].trusted
    assert scan(tracker, 0.16, at(100), score=0.85)[0].trusted
    assert not scan(tracker, 0.24, at(100), score=0.85)[0].trusted


def test_a_score_that_dips_deep_is_not_trusted_at_once() -> None:
    tracker = Tracker()
    for n in range(3):
        scan(tracker, 0.04 * n, at(100))
    assert not scan(tracker, 0.12, at(100), score=0.79)[0].trusted
