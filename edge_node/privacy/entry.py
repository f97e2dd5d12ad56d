"""Faces at the left and right edges of the picture: how they came in, how much of them is there. Pure.

Called by `timeline` only. Who walks or is panned in at a face's width a frame is found a frame or two after
entering: the way from the edge is veiled in the frames that wait. And who was seen at the edge once, and then
not for a moment, moves inward at a speed that nobody knows.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_node.tracking.track import Box

SPEED = 25.0
"""Face sizes a second: one each frame, at 25 a second. The scene `fast` of the leak benchmark has 22."""
REACH = 3.0
"""An edge at most this many face sizes away may be where the face came in."""
TOUCH = 0.5
"""A face at most this many sizes from the edge has only just come in."""


CUT_ERROR = 0.25
"""Of what is cut off from a face by the edge, this share may be missing from its box on the other side: the
networks know whole faces."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The edge that a face came in over."""

    inward: int
    """1: from the left edge, so it moves to the right; -1: from the right edge."""
    way: float
    """Face sizes from the edge to where the face was first seen."""

    def back(self, box: Box, age_s: float) -> Box:
        """The first box (pixels), drawn out over where the face was up to `age_s` before."""
        return _drawn_out(box, -self.inward, min(self.way, SPEED * age_s))

    def on(self, box: Box, age_s: float) -> Box:
        """The only box that was seen, drawn out over where the face may be `age_s` later."""
        return _drawn_out(box, self.inward, min(REACH, SPEED * age_s)) if self.way <= TOUCH else box


def entry_of(box: Box, frame_width: int) -> Entry | None:
    """How a face came in whose first box (pixels) this is; None where it may have come from anywhere."""
    size = max(box[2] - box[0], 1.0)
    left, right = box[0] / size, (frame_width - box[2]) / size
    if min(left, right) > REACH:
        return None
    return Entry(1, max(0.0, left)) if left <= right else Entry(-1, max(0.0, right))


def completed(box: Box, frame_width: int) -> Box:
    """A box (pixels) that an edge cuts, drawn out into the picture."""
    size = max(box[2] - box[0], 1.0)
    box = _drawn_out(box, 1, CUT_ERROR * min(1.0, max(0.0, -box[0] / size)))
    return _drawn_out(box, -1, CUT_ERROR * min(1.0, max(0.0, (box[2] - frame_width) / size)))


def _drawn_out(box: Box, direction: int, sizes: float) -> Box:
    far = sizes * (box[2] - box[0])
    return (box[0] - far, box[1], box[2], box[3]) if direction < 0 else (box[0], box[1], box[2] + far, box[3])
