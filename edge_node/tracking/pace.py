"""The tracker's clock: the camera's, but never slower than its frames are counted. Pure.

Frames that were held up in a driver or on the line come in a burst, a tenth of a millisecond apart: by their
times a face that took half a second to cross the picture did so at once. Owned by `edge_node.analysis`.
"""

from __future__ import annotations

from dataclasses import dataclass

WEIGHT = 0.05
"""Of the newest interval in the usual one between frames."""
LEAST = 0.8
"""Of the usual time for so many frames passes at least. Less than 1: cameras are not quite even."""


@dataclass(slots=True)
class Pace:
    """How far apart frames are, and what time it is by that."""

    _now: float = 0.0
    _captured_at: float | None = None
    _seq: int = 0
    _frame_s: float = 0.0

    def at(self, captured_at: float, seq: int) -> float:
        """Seconds for the frame `seq`, captured at `captured_at` by the clock; both only grow."""
        if self._captured_at is None:
            self._now = captured_at
        elif seq > self._seq:
            passed_s, frames = captured_at - self._captured_at, seq - self._seq
            self._now += max(passed_s, LEAST * frames * self._frame_s)
            self._learn(passed_s / frames)
        self._captured_at, self._seq = captured_at, seq
        return self._now

    def _learn(self, interval_s: float) -> None:
        if not self._frame_s:
            self._frame_s = max(interval_s, 0.0)
            return
        # One long wait, and the burst after it, say little about the camera.
        near = min(max(interval_s, self._frame_s / 2), self._frame_s * 2)
        self._frame_s += WEIGHT * (near - self._frame_s)
