"""How much there is time to look at in a frame. Pure; owned by `edge_node.analysis`.

More looks find more faces, and a skipped frame loses some. So looks and glances are given up where that keeps
the analysis at the camera's pace, and kept where it falls behind whatever it gives up.
"""

from __future__ import annotations

from dataclasses import dataclass

LOOKS = (2, 4, 6)
"""Two at once cost hardly more than one, see `vision.centerface`."""
LOOKS_BEHIND = 4
"""Where frames are skipped anyway."""
FAR_BEHIND = 0.2
"""From this share of skipped frames on."""
MORE_AFTER = 25
"""Frames analyzed in a row after which more looks are tried."""
WEIGHT = 0.05
"""Of the newest frame in the share of those skipped."""
LATE_S = 0.012
"""A frame that waited so long is not glanced at, if the one before was: half of an analysis is saved, and a
look-back of two frames has a glance in it still."""


@dataclass(frozen=True, slots=True)
class Effort:
    """What a frame gets beside the refining of known faces."""

    glances: bool
    """Whether the veil-only detector looks at the whole picture."""
    looks: int
    """Its close looks at most."""


class EffortControl:
    """Told of each analyzed frame, in order."""

    def __init__(self) -> None:
        self._looks = LOOKS[-1]
        self._last_seq = 0
        self._in_a_row = 0
        self._skipped_share = 0.0
        self._has_glanced = False

    def for_frame(self, seq: int, age_s: float, is_eventful: bool) -> Effort:
        """What the frame with this number gets, which was captured so long ago. is_eventful: who is missed in
        it may be gone, or elsewhere, in the next."""
        is_behind = seq > self._last_seq + 1
        self._last_seq = seq
        self._in_a_row = 0 if is_behind else self._in_a_row + 1
        self._skipped_share += WEIGHT * (is_behind - self._skipped_share)
        is_far_behind = self._skipped_share > FAR_BEHIND
        if is_far_behind:
            self._looks = LOOKS_BEHIND
        elif is_behind:
            self._looks = max(LOOKS[0], self._looks - 2)
        elif self._in_a_row % MORE_AFTER == 0:
            self._looks = min(LOOKS[-1], self._looks + 2)
        # After a gap a glance is due, however late.
        can_wait = self._has_glanced and not (is_eventful or is_behind or is_far_behind)
        self._has_glanced = not (can_wait and age_s > LATE_S)
        return Effort(self._has_glanced, self._looks)
