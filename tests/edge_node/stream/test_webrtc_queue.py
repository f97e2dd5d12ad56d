"""What waits for a viewer: bounded, in order, and never with a hole."""

from __future__ import annotations

import av
from hypothesis import given
from hypothesis import strategies as st

from edge_node.stream.webrtc_queue import CAPACITY, CodedFrame, FrameQueue


def coded(n: int, is_key: bool = False) -> CodedFrame:
    return CodedFrame(av.Packet(b"x"), is_key, float(n), 1)


def numbers(queue: FrameQueue) -> list[int]:
    taken = []
    while (frame := queue.take()) is not None:
        taken.append(int(frame.captured_at))
    return taken


def test_it_begins_with_a_keyframe() -> None:
    queue = FrameQueue()
    assert not queue.offer(coded(0))
    assert queue.dropped == 0  # nothing was missed: watching had not begun
    assert queue.offer(coded(1, is_key=True))
    assert queue.offer(coded(2))
    assert numbers(queue) == [1, 2]


def test_a_full_queue_is_emptied_and_goes_on_with_a_keyframe() -> None:
    queue = FrameQueue()
    for n in range(CAPACITY):
        assert queue.offer(coded(n, is_key=n == 0))
    assert not queue.offer(coded(90))
    assert queue.needs_key
    assert queue.dropped == CAPACITY + 1
    assert not queue.offer(coded(91))
    assert queue.offer(coded(92, is_key=True))
    assert numbers(queue) == [92]


def test_a_keyframe_makes_what_waits_needless() -> None:
    queue = FrameQueue()
    for n in range(4):
        queue.offer(coded(n, is_key=n == 0))
    queue.offer(coded(4, is_key=True))
    queue.offer(coded(5))
    assert numbers(queue) == [4, 5]
    assert queue.dropped == 4


def test_a_frame_that_does_not_fit_breaks_the_chain_until_a_keyframe_fits() -> None:
    queue = FrameQueue()
    queue.offer(coded(0, is_key=True))
    assert not queue.offer(coded(1), fits=False)
    assert not queue.offer(coded(2, is_key=True), fits=False)
    assert not queue.offer(coded(3))
    assert queue.offer(coded(4, is_key=True))
    assert numbers(queue) == [4]


@given(st.lists(st.tuples(st.sampled_from(["offer", "key", "slow", "take"]), st.booleans()), max_size=200))
def test_a_decoder_never_sees_a_hole(steps: list[tuple[str, bool]]) -> None:
    """Each frame that comes out is a keyframe, or follows the frame right before it."""
    queue, last, n = FrameQueue(), -10, 0
    keys = set()
    for what, _ in steps:
        if what == "take":
            frame = queue.take()
            if frame is not None:
                got = int(frame.captured_at)
                assert got in keys or got == last + 1
                last = got
            continue
        n += 1
        if what == "key":
            keys.add(n)
        queue.offer(coded(n, is_key=what == "key"), fits=what != "slow")
        assert len(queue._frames) <= CAPACITY
