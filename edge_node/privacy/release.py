"""Holds every captured frame until it is known where its faces are, or its time is up.

Pure; owned by the release thread. Frames leave in order of capture, each exactly once, each with a
reason: covered by an analysis, or veiled in full. This is promise 2: there are no "last known boxes".
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from edge_node.frames import RawFrame, ReleaseReason

DISORDER_S = 5.0
"""A frame whose source time lies this much or less before an earlier frame's is out of order; one further
back comes from a clock that was set."""
CALM_AFTER_S = 0.5
"""So long every analysis must have been calm before a frame is captured that waits for less."""
PACE_SHARE = 0.1
"""Weight of the newest interval in the pace of the analyses."""


@dataclass(frozen=True, slots=True)
class ReleaseSettings:
    """Bounds of the wait."""

    max_delay_s: float = 0.5
    """A frame that no analysis covers within this time leaves fully veiled."""
    lookback_s: float = 0.0
    """A frame waits for an analysis this much later than itself, so that a face found a little
    too late is still veiled backwards. Added to every frame's delay."""
    lookback_analyses: float = 0.0
    """And for so many analyses, at the pace that they come in: who appears is seldom seen at the first, so
    a slower machine looks back further. Half of `max_delay_s` at most."""
    calm_lookback_analyses: float | None = None
    """For so many analyses, and none of the rest of the look-back, waits a frame that came when it had been
    calm for a while, as long as it stays calm: nobody can have come into view. None: like any other."""
    capacity: int = 48
    """Frames held at most (a 1080p frame takes 6 MB). When full the oldest leaves fully veiled."""


@dataclass(frozen=True, slots=True)
class Release:
    """A frame that leaves now."""

    frame: RawFrame
    reason: ReleaseReason


class ReleaseBuffer:
    """First in, first out, with a reason."""

    def __init__(self, settings: ReleaseSettings | None = None) -> None:
        self._settings = settings or ReleaseSettings()
        self._frames: deque[RawFrame] = deque()
        self._overflowed: deque[RawFrame] = deque()
        self._newest_pts_s = float("-inf")
        self._disordered: set[int] = set()
        """Numbers of waiting frames."""
        self._analyzed_at = float("-inf")
        self._analysis_every_s = 0.0
        self._calm_since: float | None = None
        """Capture time of the first of the analyses in a row that were calm, up to the newest."""

    def __len__(self) -> int:
        return len(self._frames) + len(self._overflowed)

    @property
    def max_delay_s(self) -> float:
        """The longest that a frame waits."""
        return self._settings.max_delay_s

    @property
    def oldest_at(self) -> float | None:
        """Capture time of the oldest waiting frame."""
        head = self._overflowed or self._frames
        return head[0].captured_at if head else None

    def push(self, frame: RawFrame) -> None:
        """Take in the next captured frame."""
        if 0 < self._newest_pts_s - frame.pts_s <= DISORDER_S:
            self._disordered.add(frame.seq)
        else:
            self._newest_pts_s = frame.pts_s
        self._frames.append(frame)
        if len(self._frames) > self._settings.capacity:
            self._overflowed.append(self._frames.popleft())
            self._disordered.discard(self._overflowed[-1].seq)

    def note(self, at: float, is_calm: bool) -> None:
        """An analysis of the frame captured then is done; told of all, in order."""
        if not is_calm:
            self._calm_since = None
        elif self._calm_since is None:
            self._calm_since = at

    def poll(self, now: float, covered_until: float, is_last: bool = False) -> list[Release]:
        """The frames that leave now, in order.

        covered_until: capture time of the newest analyzed frame. is_last: the source has ended, so
        no later analysis will come and the look-back is cut short.
        """
        self._note_pace(covered_until)
        released = [Release(f, ReleaseReason.LATE) for f in self._overflowed]
        self._overflowed.clear()
        while self._frames:
            frame = self._frames[0]
            lookback_s = 0.0 if is_last else self._lookback_of(frame)
            if frame.captured_at + lookback_s <= covered_until:
                reason = ReleaseReason.COVERED
            elif now - frame.captured_at >= self._settings.max_delay_s:
                # The look-back alone must not cost the picture: the frame itself is covered.
                is_covered = frame.captured_at <= covered_until
                reason = ReleaseReason.COVERED if is_covered else ReleaseReason.LATE
            else:
                break
            if frame.seq in self._disordered and reason is ReleaseReason.COVERED:
                reason = ReleaseReason.DISORDERED
            self._disordered.discard(frame.seq)
            released.append(Release(self._frames.popleft(), reason))
        return released

    def _lookback_of(self, frame: RawFrame) -> float:
        s = self._settings
        full_s = max(s.lookback_s, min(s.lookback_analyses * self._analysis_every_s, s.max_delay_s / 2))
        if s.calm_lookback_analyses is None or self._calm_since is None:
            return full_s
        if frame.captured_at < self._calm_since + CALM_AFTER_S:
            return full_s
        return min(full_s, s.calm_lookback_analyses * self._analysis_every_s)

    def _note_pace(self, covered_until: float) -> None:
        if covered_until <= self._analyzed_at:
            return
        interval_s = min(covered_until - self._analyzed_at, self._settings.max_delay_s)
        if self._analyzed_at > float("-inf"):
            self._analysis_every_s += PACE_SHARE * (interval_s - self._analysis_every_s)
        self._analyzed_at = covered_until

    def next_deadline(self) -> float | None:
        """When `poll` must be called even if no analysis comes; None where nothing waits."""
        if self._overflowed:
            return self._overflowed[0].captured_at
        if not self._frames:
            return None
        return self._frames[0].captured_at + self._settings.max_delay_s
