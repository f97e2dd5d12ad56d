"""How much there is time to look at in a frame. Pure; owned by `edge_node.analysis`.

More looks find more faces, and a skipped frame loses some. So looks and glances are given up where that keeps
the analysis at the camera's pace, and kept where it falls behind whatever it gives up. Where nothing has
changed but the people who are followed, every other glance is left out: a look-back of two frames has one
in it still.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

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


class Glance(Enum):
    """Whether the veil-only detector looks at the whole picture."""

    NOW = "now"
    IF_LOST = "if lost"
    """Only where one of the known faces cannot be confirmed without."""
    NOT = "not"


@dataclass(frozen=True, slots=True)
class Effort:
    """What a frame gets beside the refining of known faces."""

    glance: Glance
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

    def for_frame(self, seq: int, age_s: float, is_eventful: bool, is_calm: Callable[[], bool]) -> Effort:
        """What the frame with this number gets, which was captured so long ago. is_eventful: who is missed in
        it may be gone, or elsewhere, in the next. is_calm: whether all in it are known already, by all that
        can be told without a glance; asked only where that matters, as it takes time to tell."""
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
        glance = Glance.NOW
        if can_wait and age_s > LATE_S:
            glance = Glance.NOT
        elif can_wait and is_calm():
            glance = Glance.IF_LOST
        self._has_glanced = glance is Glance.NOW
        return Effort(glance, self._looks)
