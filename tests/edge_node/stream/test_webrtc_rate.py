"""How much is sent: values in, values out."""

from __future__ import annotations

import math

import pytest

from edge_node.stream.webrtc_rate import (
    CHANGE_EVERY_S,
    KEYFRAME_GAP_S,
    MAX_BPS,
    WARM_UP_S,
    KeyframeGate,
    RateControl,
    Target,
    ViewerRate,
    best_rate,
    slowest_acceptable,
)

HD, FULL_HD, UHD = (1280, 720), (1920, 1080), (3840, 2160)
M = 1e6


def settled(*limits_bps: float, source: tuple[int, int] = HD, fps: float = 25.0) -> Target:
    return RateControl().step(limits_bps, source, fps, now=0.0)


@pytest.mark.parametrize(
    ("source", "fps", "height", "low", "high"),
    [(HD, 25.0, 720, 2.5 * M, 3.5 * M), (FULL_HD, 30.0, 1080, 7.5 * M, 8 * M),
     (UHD, 30.0, 1080, 7.5 * M, 8 * M), ((640, 360), 25.0, 360, 2 * M, 2 * M)],
)  # fmt: skip
def test_without_trouble_pictures_get_two_to_eight_megabits(
    source: tuple[int, int], fps: float, height: int, low: float, high: float
) -> None:
    target = settled(math.inf, source=source, fps=fps)
    assert target.height == height
    assert low <= target.bitrate_bps <= high


@pytest.mark.parametrize(
    ("source", "size"), [((641, 479), (640, 480)), ((101, 57), (100, 56)), ((1, 1), (2, 2))]
)
def test_sides_are_even(source: tuple[int, int], size: tuple[int, int]) -> None:
    target = settled(math.inf, source=source)
    assert (target.width, target.height) == size


def test_the_rate_follows_the_slowest_viewer_that_is_not_far_behind() -> None:
    assert slowest_acceptable([]) == math.inf
    assert slowest_acceptable([3 * M, 2 * M, 4 * M]) == 2 * M
    assert slowest_acceptable([math.inf, math.inf, 0.3 * M]) == math.inf  # it misses frames, alone
    assert slowest_acceptable([0.3 * M]) == 0.3 * M  # alone it gets what it can take
    assert settled(math.inf, math.inf, 0.3 * M).bitrate_bps == settled(math.inf).bitrate_bps


@pytest.mark.parametrize(("limit", "height"), [(3 * M, 720), (0.8 * M, 540), (0.4 * M, 360), (0.01 * M, 360)])
def test_a_narrow_way_gets_a_smaller_picture(limit: float, height: int) -> None:
    assert settled(limit).height == height


def test_a_rate_stays_for_a_while_and_small_changes_do_not_count() -> None:
    control = RateControl()
    first = control.step([2 * M], HD, 25.0, now=0.0)
    assert control.step([1 * M], HD, 25.0, now=CHANGE_EVERY_S - 0.1) is first
    assert control.step([1.95 * M], HD, 25.0, now=CHANGE_EVERY_S + 0.1) is first
    lowered = control.step([1.3 * M], HD, 25.0, now=CHANGE_EVERY_S + 0.2)
    assert lowered.bitrate_bps == round(0.9 * 1.3 * M)
    assert control.bitrate_bps == lowered.bitrate_bps
    other = control.step([math.inf], FULL_HD, 25.0, now=CHANGE_EVERY_S + 0.3)
    assert other.height == 1080  # another source is followed at once


def test_a_larger_size_comes_back_only_with_room_to_spare() -> None:
    control = RateControl()
    assert control.step([0.9 * M], HD, 25.0, now=0.0).height == 540
    assert control.step([1.1 * M], HD, 25.0, now=10.0).height == 540
    assert control.step([1.5 * M], HD, 25.0, now=20.0).height == 720


def test_an_estimate_counts_once_it_falls() -> None:
    rate = ViewerRate(now=0.0)
    rate.on_estimate(0.3 * M, now=1.0)
    rate.on_estimate(0.2 * M, now=2.0)
    assert rate.limit_bps == math.inf  # the browser has not measured yet
    rate.on_estimate(2.0 * M, now=WARM_UP_S + 1)
    rate.on_estimate(2.2 * M, now=WARM_UP_S + 2)
    assert rate.limit_bps == math.inf  # it rises: nothing is known of the way's end
    rate.on_estimate(1.5 * M, now=WARM_UP_S + 3)
    assert rate.limit_bps == 1.5 * M
    rate.on_estimate(1.7 * M, now=WARM_UP_S + 4)
    assert rate.limit_bps == 1.7 * M


def test_loss_lowers_and_its_end_raises() -> None:
    rate = ViewerRate(now=0.0)
    rate.on_loss(0.05, 3 * M)
    assert rate.limit_bps == math.inf
    rate.on_loss(0.2, 3 * M)
    assert rate.limit_bps == pytest.approx(2.7 * M)
    for _ in range(60):
        rate.on_loss(0.0, 3 * M)
    assert rate.limit_bps == math.inf
    for _ in range(60):
        rate.on_loss(1.0, 3 * M)
    assert rate.limit_bps > 0


def test_a_viewer_far_behind_gets_what_its_way_carries_and_no_more() -> None:
    rate = ViewerRate(now=0.0)
    assert rate.may_send(10**6, 3 * M, now=0.0)
    rate.on_loss(0.9, 1 * M)
    limit = rate.limit_bps
    sent = sum(15_000 * rate.may_send(15_000, 3 * M, now=n / 25) for n in range(1, 1001))
    assert 0.8 * limit * 40 / 8 <= sent <= 1.1 * limit * 40 / 8
    assert rate.may_send(10**6, limit / 2, now=41.0)  # the stream fits again


def test_one_keyframe_for_all_who_ask_and_not_too_often() -> None:
    gate = KeyframeGate()
    assert not gate.is_due(0.0)
    gate.ask(1.0)
    gate.ask(1.0)
    assert gate.is_due(1.0)
    gate.sent(1.0)
    assert not gate.is_due(1.1)
    gate.ask(1.1)
    assert not gate.is_due(1.0 + KEYFRAME_GAP_S - 0.01)
    assert gate.is_due(1.0 + KEYFRAME_GAP_S)
    gate.sent(2.0)
    gate.ask(3.0, patience_s=2.0)
    assert not gate.is_due(4.9)
    gate.ask(4.0)  # somebody who cannot wait
    assert gate.is_due(4.0)


def test_the_best_rate_is_bounded() -> None:
    assert best_rate((16, 16), 1.0) == 2 * M
    assert best_rate((8000, 8000), 60.0) <= MAX_BPS


def test_a_ceiling_that_a_person_set_holds_however_fast_the_others_are() -> None:
    control = RateControl()
    assert control.step([math.inf] * 3, HD, 25.0, now=0.0).bitrate_bps > 1 * M
    lowered = control.step([math.inf] * 3, HD, 25.0, now=0.01, ceiling_bps=1 * M)
    assert lowered.bitrate_bps == 1 * M
    assert control.step([math.inf] * 3, HD, 25.0, now=60.0, ceiling_bps=1 * M) == lowered
    assert control.step([math.inf] * 3, HD, 25.0, now=90.0).bitrate_bps > 1 * M
