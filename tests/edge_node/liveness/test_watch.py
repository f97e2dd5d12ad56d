"""A sheet is found out, a head is not, and doubt outlives the track."""

from __future__ import annotations

import numpy as np
import pytest

from edge_node.liveness.watch import REMEMBER_S, WATCH_S, LivenessWatch
from edge_node.tracking.track import Observation
from tests.edge_node.liveness.drawn import HEIGHT, WIDTH, box_at, frame, sight


def run(watch: LivenessWatch, kind: str, seconds: float, sway: float = 0.25) -> list[Observation]:
    """What the watch says of a face, analyzed 12.5 times a second."""
    return [
        watch.judge(frame(kind, n, sway), [sight(box_at(n, sway))], n / 25)[0]
        for n in range(0, round(seconds * 25), 2)
    ]


@pytest.mark.parametrize("kind", ["sheet", "tight sheet"])
def test_a_sheet_that_moves_is_never_shown(kind: str) -> None:
    watch = LivenessWatch()
    judged = run(watch, kind, 2.0)
    assert not any(o.trusted and o.watched for o in judged)
    assert not judged[-1].trusted
    assert watch.suspected == 1


def test_a_head_is_asked_about_at_once_and_shown_after_a_moment() -> None:
    judged = run(LivenessWatch(), "head", 3.0)
    assert all(o.trusted for o in judged)
    assert [o.watched for o in judged] == [2 * n / 25 >= WATCH_S for n in range(len(judged))]


def test_a_head_before_a_moving_camera_is_no_sheet() -> None:
    watch = LivenessWatch()
    for n in range(0, 50, 2):
        x1, y1, x2, y2 = box_at(n)
        image = frame("head", n, camera=1.5)
        (judged,) = watch.judge(image, [sight((x1 + 1.5 * n, y1, x2 + 1.5 * n, y2))], n / 25)
        assert judged.trusted


def test_nobody_holds_as_still_as_a_picture() -> None:
    watch, image = LivenessWatch(), frame("sheet", 0)
    judged = [watch.judge(image, [sight(box_at(0))], n / 10)[0] for n in range(100)]
    assert judged[30].trusted
    assert not judged[-1].trusted


def test_a_face_on_a_display_is_suspected_wherever_it_is_held() -> None:
    watch = LivenessWatch()
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    grid = 1 + 0.05 * np.sin(2 * np.pi * 0.31 * x) * np.sin(2 * np.pi * 0.23 * y)
    for n in range(0, 100, 2):
        image = np.clip(frame("head", n) * grid[..., None], 0, 255).astype(np.uint8)
        (judged,) = watch.judge(image, [sight(box_at(n))], n / 25)
    assert not judged.trusted


def test_what_is_small_or_not_trusted_is_left_alone() -> None:
    watch = LivenessWatch()
    small, veiled = sight((10, 10, 30, 30), path=2), sight(box_at(0), path=3, trusted=False)
    for n in range(0, 50, 2):
        assert watch.judge(frame("sheet", n), [small, veiled], n / 25) == (small, veiled)


def test_doubt_outlives_the_track_and_the_path() -> None:
    watch = LivenessWatch()
    run(watch, "sheet", 2.0)
    (other_track,) = watch.judge(frame("sheet", 50), [sight(box_at(50), track=2)], 2.0)
    assert not other_track.trusted
    watch.judge(frame("sheet", 52), [], 2.08)
    (other_path,) = watch.judge(frame("sheet", 54), [sight(box_at(54), path=2, track=3)], 2.16)
    assert not other_path.trusted


@pytest.mark.parametrize(("shift", "later_s"), [(300.0, 0.1), (0.0, REMEMBER_S + 0.1)])
def test_doubt_does_not_spread_to_another_place_or_time(shift: float, later_s: float) -> None:
    watch = LivenessWatch()
    run(watch, "sheet", 2.0)
    watch.judge(frame("sheet", 50), [], 2.0)
    x1, y1, x2, y2 = box_at(54)
    (other,) = watch.judge(
        frame("head", 54), [sight((x1 - shift, y1, x2 - shift, y2), path=2, track=2)], 2.0 + later_s
    )
    assert other.trusted


def test_a_new_track_is_watched_anew_before_it_is_shown() -> None:
    watch = LivenessWatch()
    assert run(watch, "head", 2.0)[-1].watched
    (judged,) = watch.judge(frame("head", 50), [sight(box_at(50), track=2)], 2.0)
    assert judged.trusted
    assert not judged.watched


def test_a_face_in_half_a_doubt_is_not_shown_when_its_time_has_come() -> None:
    watch = LivenessWatch()
    for n in (0, 9, 18):  # two comparisons: too few to be sure
        (judged,) = watch.judge(frame("sheet", n), [sight(box_at(n))], n / 25)
    assert WATCH_S <= 18 / 25
    assert watch.suspected == 0
    assert judged.trusted
    assert not judged.watched


def test_what_moved_with_another_track_does_not_count() -> None:
    watch = LivenessWatch()
    run(watch, "head", 2.0)
    assert watch._watched[1].suspicion._weight.sum() > 0
    watch.judge(frame("head", 50), [sight(box_at(50), track=2)], 2.0)
    assert watch._watched[1].suspicion._weight.sum() == 0


def test_a_cut_forgets() -> None:
    watch = LivenessWatch()
    run(watch, "sheet", 2.0)
    watch.reset()
    (judged,) = watch.judge(frame("sheet", 50), [sight(box_at(50))], 2.0)
    assert judged.trusted
    assert watch.suspected == 0


def test_a_face_at_the_edge_or_outside_harms_nothing() -> None:
    watch = LivenessWatch()
    for n in range(0, 30, 2):
        beyond = (WIDTH - 20.0 + 3 * n, -40.0, WIDTH + 60.0 + 3 * n, 50.0)
        (judged,) = watch.judge(frame("head", n), [sight(beyond)], n / 25)
        assert judged.trusted


def test_memory_of_gone_faces_is_bounded() -> None:
    watch = LivenessWatch()
    run(watch, "sheet", 2.0)
    assert len(watch._watched) == 1
    watch.judge(frame("sheet", 50), [], 2.0)
    assert len(watch._watched) == 0
    assert len(watch._remembered) == 1
    watch.judge(frame("sheet", 50), [], 2.0 + REMEMBER_S + 1)
    assert len(watch._remembered) == 0
