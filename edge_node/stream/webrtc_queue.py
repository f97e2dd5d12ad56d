"""What waits for one viewer: a few coded frames, and the rule that a gap ends with a keyframe. Pure.

Owns the bound on what waits and the count of what was left out. A coded frame builds on the one before,
so after any gap nothing is handed out until the next keyframe. Used by `stream.webrtc_peer`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import av

CAPACITY = 8
"""Frames: a third of a second at 25 a second. More would be delay that never goes away."""


@dataclass(frozen=True, slots=True)
class CodedFrame:
    """One masked frame, coded once, sent to everybody."""

    packet: av.Packet[Any]
    """pts in 1/90000 s, counted from the start of the sink's clock."""
    is_key: bool
    captured_at: float
    """Monotonic seconds."""
    size_bytes: int
    width: int = 0
    height: int = 0
    """Of the coded picture, pixels."""


class FrameQueue:
    """Frames for one viewer, in order, without a hole that a decoder would stumble over."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._frames: deque[CodedFrame] = deque()
        self._capacity = capacity
        self.needs_key = True
        """Nothing is handed out until a keyframe comes."""
        self._has_begun = False
        self.dropped = 0
        """Frames that this viewer missed, since the first keyframe."""

    def offer(self, frame: CodedFrame, fits: bool = True) -> bool:
        """Take a frame; `fits` says whether the viewer's way can carry it. False where it was left out."""
        if frame.is_key and fits:
            self.dropped += len(self._frames)  # a keyframe needs nothing that waits before it
            self._frames.clear()
            self.needs_key = False
            self._has_begun = True
        elif self.needs_key:
            self.dropped += self._has_begun
            return False
        elif not fits or len(self._frames) >= self._capacity:
            self.dropped += len(self._frames) + 1
            self._frames.clear()
            self.needs_key = True
            return False
        self._frames.append(frame)
        return True

    def take(self) -> CodedFrame | None:
        return self._frames.popleft() if self._frames else None
