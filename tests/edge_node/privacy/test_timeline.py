"""Regions between, before and after observations."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_node.privacy.timeline import Timeline, TimelineSettings
from edge_node.tracking.track import Box, Evidence
from tests.fakes import analysis, observation

BOX = (100.0, 100.0, 140.0, 150.0)
MOVED = (120.0, 100.0, 160.0, 150.0)


def covers(outer: tuple[float, ...], inner: tuple[float, ...]) -> bool:
    return (
        outer[0] <= inner[0] and outer[1] <= inner[1]
        and outer[2] >= inner[2] and outer[3] >= inner[3]
    )  # fmt: skip


def test_a_region_is_interpolated_between_two_observations() -> None:
    timeline = Timeline()
    timeline.add(analysis(1.0, observation(1, BOX)))
    timeline.add(analysis(1.1, observation(1, MOVED)))
    (region,) = timeline.regions_at(1.05)
    assert region.box_xyxy == pytest.approx((110, 100, 150, 150))
    assert region.trusted


@pytest.mark.parametrize("sides", [(True, False), (False, True), (False, False)])
def test_a_face_that_is_not_watched_for_long_enough_is_not_shown(sides: tuple[bool, bool]) -> None:
    timeline = Timeline()
    timeline.add(analysis(1.0, observation(1, BOX, watched=sides[0])))
    timeline.add(analysis(1.1, observation(1, MOVED, watched=sides[1])))
    (region,) = timeline.regions_at(1.05)
    assert not region.trusted


def test_an_instant_that_no_analysis_covers_is_refused() -> None:
    timeline = Timeline()
    timeline.add(analysis(1.0, observation(1, BOX)))
    with pytest.raises(ValueError, match="no analysis covers"):
        timeline.regions_at(1.001)


def test_a_face_first_seen_now_is_veiled_in_the_frames_before() -> None:
    timeline = Timeline()
    timeline.add(analysis(1.0))
    timeline.add(analysis(1.1, observation(1, BOX)))
    (region,) = timeline.regions_at(1.05)
    assert covers(region.box_xyxy, BOX)
    assert region.box_xyxy[0] < BOX[0], "the region grows with the age of its evidence"
    assert not region.trusted


def test_a_face_carried_back_follows_its_own_motion() -> None:
    timeline = Timeline()
    timeline.add(analysis(1.0))
    timeline.add(analysis(1.1, observation(1, BOX)))
    timeline.add(analysis(1.2, observation(1, MOVED)))
    (region,) = timeline.regions_at(1.0)
    assert covers(region.box_xyxy, (80.0, 100.0, 120.0, 150.0))


def test_a_face_is_carried_back_no_further_than_it_says() -> None:
    timeline = Timeline(TimelineSettings(backfill_s=0.05))
    timeline.add(analysis(1.0))
    timeline.add(analysis(1.1, observation(1, BOX)))
    assert timeline.regions_at(1.04) == ()
    assert len(timeline.regions_at(1.06)) == 1


def test_an_ended_path_is_held_until_the_analysis_without_it() -> None:
    timeline = Timeline()
    timeline.add(analysis(1.0, observation(1, BOX)))
    timeline.add(analysis(1.1))
    timeline.add(analysis(1.2))
    (region,) = timeline.regions_at(1.08)
    assert covers(region.box_xyxy, BOX)
    assert not region.trusted
    assert timeline.regions_at(1.15) == ()


def test_across_a_cut_both_shots_are_veiled() -> None:
    timeline = Timeline()
    far = (10.0, 10.0, 40.0, 50.0)
    timeline.add(analysis(1.0, observation(1, BOX)))
    timeline.add(analysis(1.1, observation(2, far), cut=True))
    regions = timeline.regions_at(1.05)
    assert any(covers(r.box_xyxy, BOX) for r in regions)
    assert any(covers(r.box_xyxy, far) for r in regions)
    assert not any(r.trusted for r in regions)


def test_a_track_that_changes_on_its_path_is_not_trusted_between() -> None:
    timeline = Timeline()
    timeline.add(analysis(1.0, observation(1, BOX, track=5)))
    timeline.add(analysis(1.1, observation(1, BOX, track=6)))
    (region,) = timeline.regions_at(1.05)
    assert not region.trusted
    assert timeline.regions_at(1.1)[0].track == 6


def test_between_two_tracks_on_a_path_both_places_are_veiled() -> None:
    timeline = Timeline()
    timeline.add(analysis(1.0, observation(1, BOX, track=1)))
    timeline.add(analysis(1.1, observation(1, MOVED, track=2)))
    (region,) = timeline.regions_at(1.02)
    assert covers(region.box_xyxy, BOX)
    assert covers(region.box_xyxy, MOVED)


def test_a_coasted_observation_grows_and_is_not_trusted() -> None:
    timeline = Timeline()
    timeline.add(analysis(1.0, observation(1, BOX)))
    coasted = observation(1, BOX, evidence=Evidence.COASTED, unseen_s=0.2)
    timeline.add(analysis(1.2, coasted))
    (early,), (late,) = timeline.regions_at(1.05), timeline.regions_at(1.2)
    assert not early.trusted
    assert early.evidence is Evidence.COASTED
    assert late.box_xyxy[2] > early.box_xyxy[2] > BOX[2]


def test_forgetting_keeps_what_waiting_frames_need() -> None:
    timeline = Timeline()
    for i in range(100):
        at = 1.0 + i / 10
        timeline.add(analysis(at, observation(1, BOX)))
        before = timeline.regions_at(at - 0.05) if i else ()
        timeline.forget_before(at - 0.06)
        assert (timeline.regions_at(at - 0.05) if i else ()) == before
    assert len(timeline) < 5


def test_an_older_analysis_changes_nothing() -> None:
    timeline = Timeline()
    timeline.add(analysis(1.0, observation(1, BOX)))
    timeline.add(analysis(0.9))
    assert len(timeline.regions_at(1.0)) == 1


# --- over the edge of the picture ---------------------------------------------------------------

WIDTH = 1000
NEAR_LEFT = (60.0, 100.0, 100.0, 150.0)
AT_RIGHT = (965.0, 100.0, 1005.0, 150.0)


def test_who_is_first_seen_near_an_edge_is_veiled_back_to_it() -> None:
    timeline = Timeline()
    timeline.add(analysis(1.0, frame_width=WIDTH))
    timeline.add(analysis(1.08, observation(1, NEAR_LEFT), frame_width=WIDTH))
    (region,) = timeline.regions_at(1.0)
    assert covers(region.box_xyxy, (0.0, 100.0, 100.0, 150.0))
    assert region.box_xyxy[2] < 120, "and not further into the picture"


def test_one_frame_back_a_face_was_one_face_nearer_to_the_edge() -> None:
    timeline = Timeline()
    timeline.add(analysis(1.0, frame_width=WIDTH))
    timeline.add(analysis(1.04, observation(1, NEAR_LEFT), frame_width=WIDTH))
    (region,) = timeline.regions_at(1.0)
    assert 15 <= region.box_xyxy[0] <= 20


@pytest.mark.parametrize("box", [(400.0, 100.0, 440.0, 150.0), (130.0, 100.0, 170.0, 150.0)])
def test_who_is_first_seen_far_from_the_edge_may_have_come_from_anywhere(box: Box) -> None:
    timeline = Timeline()
    timeline.add(analysis(1.0, frame_width=WIDTH))
    timeline.add(analysis(1.08, observation(1, box), frame_width=WIDTH))
    (region,) = timeline.regions_at(1.0)
    assert region.box_xyxy[0] > box[0] - 10


def test_after_a_cut_nobody_has_come_in_over_the_edge() -> None:
    timeline = Timeline()
    timeline.add(analysis(1.0, frame_width=WIDTH))
    timeline.add(analysis(1.08, observation(1, NEAR_LEFT), cut=True, frame_width=WIDTH))
    (region,) = timeline.regions_at(1.04)
    assert region.box_xyxy[0] > 50


def test_who_was_seen_once_at_the_edge_is_veiled_on_the_way_in() -> None:
    timeline = Timeline()
    timeline.add(analysis(1.0, observation(1, AT_RIGHT), frame_width=WIDTH))
    coasting = observation(1, AT_RIGHT, evidence=Evidence.COASTED, unseen_s=0.04)
    timeline.add(analysis(1.04, coasting, frame_width=WIDTH))
    (region,) = timeline.regions_at(1.04)
    assert region.box_xyxy[0] < 930, "nobody knows how fast it moves"


def test_who_was_seen_twice_has_a_speed() -> None:
    timeline = Timeline()
    timeline.add(analysis(1.0, observation(1, AT_RIGHT), frame_width=WIDTH))
    timeline.add(analysis(1.04, observation(1, AT_RIGHT), frame_width=WIDTH))
    coasting = observation(1, AT_RIGHT, evidence=Evidence.COASTED, unseen_s=0.04)
    timeline.add(analysis(1.08, coasting, frame_width=WIDTH))
    (region,) = timeline.regions_at(1.08)
    assert region.box_xyxy[0] > 955


def test_a_face_that_the_edge_cuts_is_veiled_further_into_the_picture() -> None:
    timeline = Timeline()
    half = (-20.0, 100.0, 20.0, 150.0)
    timeline.add(analysis(1.0, observation(1, half), observation(2, (960.0, 100.0, 1000.0, 150.0)),
                          frame_width=WIDTH))  # fmt: skip
    cut, whole = timeline.regions_at(1.0)
    assert cut.box_xyxy == pytest.approx((-20, 100, 25, 150))
    assert whole.box_xyxy == (960, 100, 1000, 150), "one that only touches it is not"


# --- frames that come in a burst ------------------------------------------------------------------


def held_up(*, seen_after: bool) -> Timeline:
    """Steady frames, then twelve that were held up for half a second and have nearly the same time."""
    timeline = Timeline()
    for seq in range(20):
        timeline.add(replace(analysis(seq * 0.04, observation(1, BOX)), seq=seq))
    after = observation(1, (220.0, 100.0, 260.0, 150.0)) if seen_after else observation(
        1, BOX, evidence=Evidence.COASTED, unseen_s=0.48
    )  # fmt: skip
    timeline.add(replace(analysis(1.2, observation(1, BOX)), seq=20))
    timeline.add(replace(analysis(1.24, after), seq=32))
    return timeline


def test_a_frame_of_a_burst_is_veiled_where_its_number_says() -> None:
    (region,) = held_up(seen_after=True).regions_at(1.2005, seq=26)
    assert covers(region.box_xyxy, (160.0, 100.0, 200.0, 150.0))
    assert region.box_xyxy[0] < 102, "and where its time says"


def test_a_steady_frame_is_veiled_where_it_is_and_no_wider() -> None:
    timeline = Timeline()
    timeline.add(replace(analysis(1.0, observation(1, BOX)), seq=1))
    timeline.add(replace(analysis(1.08, observation(1, MOVED)), seq=3))
    (region,) = timeline.regions_at(1.04, seq=2)
    assert region.box_xyxy == pytest.approx((110, 100, 150, 150))


def test_between_two_analyses_it_is_lost_for_as_long_as_frames_were_counted() -> None:
    (region,) = held_up(seen_after=False).regions_at(1.2005, seq=26)
    assert region.box_xyxy[0] < BOX[0] - 7
