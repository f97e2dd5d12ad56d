"""How many close looks there is time for at a frame. Pure; owned by `edge_node.analysis`.

More looks find more faces, and a skipped frame loses some. So looks are given up where that keeps the
analysis at the camera's pace, and kept where it falls behind whatever it gives up.
"""

from __future__ import annotations

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


class Effort:
    """Told the number of each analyzed frame, in order."""

    def __init__(self) -> None:
        self._looks = LOOKS[-1]
        self._last_seq = 0
        self._in_a_row = 0
        self._skipped_share = 0.0

    def looks(self, seq: int) -> int:
        """Close looks for the frame with this number."""
        is_behind = seq > self._last_seq + 1
        self._last_seq = seq
        self._in_a_row = 0 if is_behind else self._in_a_row + 1
        self._skipped_share += WEIGHT * (is_behind - self._skipped_share)
        if self._skipped_share > FAR_BEHIND:
            self._looks = LOOKS_BEHIND
        elif is_behind:
            self._looks = max(LOOKS[0], self._looks - 2)
        elif self._in_a_row % MORE_AFTER == 0:
            self._looks = min(LOOKS[-1], self._looks + 2)
        return self._looks
