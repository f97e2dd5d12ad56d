"""What a cut does to faces that are carried back."""

from __future__ import annotations

from edge_node.privacy.timeline import Timeline
from edge_node.tracking.track import Evidence
from tests.fakes import analysis, observation

KNOWN = (100.0, 100.0, 140.0, 150.0)
BESIDE = (300.0, 100.0, 340.0, 150.0)
OVER = (110.0, 100.0, 150.0, 150.0)


def before_a_cut(**new: bool) -> Timeline:
    """A face until 1.1; then somebody else's shot, or another face of the same one."""
    timeline = Timeline()
    timeline.add(analysis(1.0, observation(1, KNOWN)))
    timeline.add(analysis(1.1, observation(1, KNOWN)))
    timeline.add(analysis(1.2, observation(2, OVER), observation(3, BESIDE), **new))
    return timeline


def test_who_comes_with_a_cut_was_not_where_somebody_was_seen_before_it() -> None:
    regions = before_a_cut(cut=True).regions_at(1.05)
    assert {r.track for r in regions} == {1, 3}
    assert next(r for r in regions if r.track == 3).evidence is Evidence.BACKFILLED


def test_between_the_last_look_before_a_cut_and_the_first_after_it_all_are_veiled() -> None:
    assert {r.track for r in before_a_cut(cut=True).regions_at(1.15)} == {1, 2, 3}


def test_who_is_first_seen_a_little_after_the_cut_belongs_to_its_shot_too() -> None:
    timeline = before_a_cut(cut=True)
    timeline.add(analysis(1.3, observation(4, OVER)))
    assert {r.track for r in timeline.regions_at(1.05)} == {1, 3}
    assert 4 in {r.track for r in timeline.regions_at(1.15)}


def test_without_a_cut_everyone_is_carried_back() -> None:
    assert {r.track for r in before_a_cut().regions_at(1.05)} == {1, 2, 3}
