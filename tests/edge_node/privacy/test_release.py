"""Frames wait, leave in order, once, each with a reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from edge_node.frames import ReleaseReason
from edge_node.privacy.release import ReleaseBuffer, ReleaseSettings
from tests.fakes import raw_frame

NEVER = float("-inf")


def test_a_frame_waits_for_an_analysis_at_or_after_its_capture() -> None:
    buffer = ReleaseBuffer()
    buffer.push(raw_frame(0, 1.0))
    buffer.push(raw_frame(1, 1.04))
    assert buffer.poll(1.05, covered_until=0.99) == []
    (release,) = buffer.poll(1.06, covered_until=1.0)
    assert (release.frame.seq, release.reason) == (0, ReleaseReason.COVERED)
    assert len(buffer) == 1


def test_a_frame_that_is_not_covered_in_time_is_late() -> None:
    buffer = ReleaseBuffer(ReleaseSettings(max_delay_s=0.3))
    buffer.push(raw_frame(0, 1.0))
    assert buffer.next_deadline() == 1.3
    assert buffer.poll(1.29, NEVER) == []
    (release,) = buffer.poll(1.3, NEVER)
    assert release.reason is ReleaseReason.LATE


def test_a_full_buffer_lets_its_oldest_frame_go_veiled() -> None:
    buffer = ReleaseBuffer(ReleaseSettings(capacity=2))
    for seq in range(3):
        buffer.push(raw_frame(seq, 1.0 + seq))
    (release,) = buffer.poll(1.0, NEVER)
    assert (release.frame.seq, release.reason) == (0, ReleaseReason.LATE)


def test_look_back_waits_longer_but_never_costs_the_picture() -> None:
    buffer = ReleaseBuffer(ReleaseSettings(max_delay_s=0.3, lookback_s=0.1))
    buffer.push(raw_frame(0, 1.0))
    assert buffer.poll(1.05, covered_until=1.05) == []
    (release,) = buffer.poll(1.3, covered_until=1.05)
    assert release.reason is ReleaseReason.COVERED


def test_the_last_frames_do_not_wait_for_a_look_back() -> None:
    buffer = ReleaseBuffer(ReleaseSettings(lookback_s=0.1))
    buffer.push(raw_frame(0, 1.0))
    assert len(buffer.poll(1.05, covered_until=1.0, is_last=True)) == 1


@given(st.lists(st.tuples(st.floats(0.001, 0.2), st.floats(-0.5, 0.2)), max_size=60))
def test_every_frame_leaves_once_in_order_and_covered_only_if_covered(
    steps: list[tuple[float, float]],
) -> None:
    buffer = ReleaseBuffer(ReleaseSettings(max_delay_s=0.3, capacity=5))
    now, covered, left = 1.0, NEVER, []
    for seq, (dt, analyzed) in enumerate(steps):
        now += dt
        buffer.push(raw_frame(seq, now))
        covered = max(covered, now + min(analyzed, 0.0))
        for release in buffer.poll(now, covered):
            left.append(release.frame.seq)
            is_covered = release.frame.captured_at <= covered
            assert release.reason is ReleaseReason.LATE or is_covered
        assert len(buffer) <= 5
    left += [r.frame.seq for r in buffer.poll(now + 1.0, covered)]
    assert left == list(range(len(steps)))


def test_the_slower_analyses_come_the_further_back_is_looked() -> None:
    buffer = ReleaseBuffer(ReleaseSettings(lookback_s=0.05, lookback_analyses=2.0, max_delay_s=1.0))
    for n in range(60):  # one analysis in 100 ms
        buffer.poll(n * 0.1, n * 0.1)
    buffer.push(raw_frame(0, 6.0))
    assert buffer.poll(6.1, 6.1) == []
    assert len(buffer.poll(6.3, 6.3)) == 1


def test_however_slow_analyses_are_the_look_back_takes_half_of_the_longest_wait() -> None:
    buffer = ReleaseBuffer(ReleaseSettings(lookback_analyses=5.0, max_delay_s=0.4))
    for n in range(60):
        buffer.poll(n * 0.3, n * 0.3)
    buffer.push(raw_frame(0, 18.0))
    assert len(buffer.poll(18.21, 18.21)) == 1


def test_a_frame_older_than_one_before_it_leaves_veiled() -> None:
    buffer = ReleaseBuffer()
    buffer.push(raw_frame(0, 1.0))
    buffer.push(replace(raw_frame(1, 1.04), pts_s=0.7))
    buffer.push(raw_frame(2, 1.08))
    reasons = [r.reason for r in buffer.poll(1.1, covered_until=1.08)]
    assert reasons == [ReleaseReason.COVERED, ReleaseReason.DISORDERED, ReleaseReason.COVERED]


def test_a_camera_whose_clock_was_set_is_not_out_of_order_for_ever() -> None:
    buffer = ReleaseBuffer()
    buffer.push(raw_frame(0, 3_600.0))
    for seq in range(1, 4):
        buffer.push(replace(raw_frame(seq, 3_600.0 + 0.04 * seq), pts_s=0.04 * seq))
    released = buffer.poll(3_600.2, covered_until=3_600.2)
    assert {r.reason for r in released} == {ReleaseReason.COVERED}


CALM = ReleaseSettings(lookback_analyses=1.9, lookback_s=0.06, calm_lookback_analyses=0.9)


def delays(is_calm: Callable[[int], bool], settings: ReleaseSettings = CALM, count: int = 80) -> list[int]:
    """After how many analyses more than its own each frame leaves; 25 a second, all analyzed in time."""
    buffer, left = ReleaseBuffer(settings), {}
    for n in range(count):
        at = n * 0.04
        buffer.push(raw_frame(n, at))
        buffer.note(at, is_calm(n))
        for release in buffer.poll(at + 0.02, at):
            left[release.frame.seq] = n - release.frame.seq
    return [left[n] for n in sorted(left)]


def test_in_a_calm_scene_a_frame_waits_for_one_analysis_after_its_own() -> None:
    found = delays(lambda n: True)
    assert found[:10] == [2] * 10, "only after a while"
    assert set(found[40:]) == {1}


def test_one_analysis_that_is_not_calm_holds_back_every_frame_that_waits() -> None:
    found = delays(lambda n: n != 60)
    assert found[58] == 1
    assert found[59:73] == [2] * 14, "the one before it, itself, and those of half a second"
    assert found[75] == 1


def test_where_calm_and_unrest_take_turns_the_look_back_stays_whole() -> None:
    assert set(delays(lambda n: n % 10 > 0)) == {2}


def test_without_the_setting_a_calm_frame_waits_like_any_other() -> None:
    assert set(delays(lambda n: True, replace(CALM, calm_lookback_analyses=None))) == {2}
