"""How much to send: what each viewer's way can carry, one rate and size for all, keyframes on demand. Pure.

Owns the rules by which a slow viewer lowers the rate for everybody (when it is not far behind the others)
or misses frames alone (when it is). `now` is monotonic seconds. Called by `stream.webrtc`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

MIN_BPS, MAX_BPS = 300_000, 8_000_000
FULL_MIN_BPS = 2_000_000
BITS_PER_PIXEL = 0.13
"""At the best: 3.0 Mbit/s for 720p at 25 frames a second, 8 for 1080p at 30."""
NEEDED_BITS_PER_PIXEL = 0.04
"""Below this a picture of half the size looks better than one full of blocks."""
HEIGHTS = (1080, 720, 540, 360)
ACCEPTABLE_SHARE = 0.5
"""A viewer with less than this share of the median viewer's rate does not slow the others down."""
HEADROOM = 0.9
"""Share of an estimate that is used."""
CHANGE_SHARE = 0.1
CHANGE_EVERY_S = 2.0
"""A new rate or size is a new encoder, and so a keyframe: not for less, nor sooner."""
UP_MARGIN = 1.3
"""A larger size needs this much more than it must have, so that it is not changed to and fro."""
WARM_UP_S = 4.0
"""Browsers begin with a low estimate and have not measured anything yet."""
LOSS_HIGH, LOSS_LOW = 0.10, 0.02
LOSS_RECOVERY = 1.05
"""Loss: down by half of its share above the high mark, up by 5 % a report below the low one, as in
Google's congestion control (draft-ietf-rmcat-gcc, section 6)."""
BURST_S = 0.5
"""What a slow viewer may have had in advance: enough for a keyframe."""
KEYFRAME_GAP_S = 0.5


class ViewerRate:
    """What one viewer's way carries, from its reports; unlimited until it reports trouble."""

    def __init__(self, now: float) -> None:
        self._began = now
        self._remb_bps: float | None = None
        self._remb_limit = math.inf
        self._loss_limit = math.inf
        self._credit_bytes = math.inf
        self._spent_at = now

    @property
    def limit_bps(self) -> float:
        return min(self._remb_limit, self._loss_limit)

    def on_estimate(self, bps: float, now: float) -> None:
        """The browser's own estimate (REMB). One that rises says only that no more was sent; one that
        falls says that the way is full, and is believed from then on."""
        last, self._remb_bps = self._remb_bps, bps
        if now - self._began < WARM_UP_S:
            return
        if self._remb_limit < math.inf or (last is not None and bps < 0.97 * last):
            self._remb_limit = bps

    def on_loss(self, fraction: float, sending_bps: float) -> None:
        """Share of packets that did not arrive, 0..1, from a receiver report."""
        if fraction > LOSS_HIGH:
            lowered = min(self._loss_limit, sending_bps) * (1 - 0.5 * fraction)
            self._loss_limit = max(MIN_BPS / 2, lowered)
        elif fraction < LOSS_LOW:
            self._loss_limit *= LOSS_RECOVERY
            if self._loss_limit > 2 * MAX_BPS:
                self._loss_limit = math.inf

    def may_send(self, size_bytes: int, sending_bps: float, now: float) -> bool:
        """Whether a frame fits what this viewer's way carries. Always, where the stream fits it."""
        limit = self.limit_bps
        if limit >= sending_bps:
            self._credit_bytes = math.inf
            return True
        burst = limit * BURST_S / 8
        earned = (now - self._spent_at) * limit / 8
        self._spent_at = now
        self._credit_bytes = min(self._credit_bytes + earned, burst)
        if self._credit_bytes <= 0:
            return False
        self._credit_bytes -= size_bytes  # may become a debt: a keyframe larger than the burst still goes
        return True


@dataclass(frozen=True, slots=True)
class Target:
    """What to encode."""

    width: int
    height: int
    bitrate_bps: int


class RateControl:
    """One rate and size for all viewers of an encode."""

    def __init__(self) -> None:
        self._target: Target | None = None
        self._source = (0, 0)
        self._changed_at = -math.inf

    @property
    def bitrate_bps(self) -> int:
        """At present; the most there is before the first frame."""
        return self._target.bitrate_bps if self._target is not None else MAX_BPS

    def step(
        self,
        limits_bps: Sequence[float],
        source: tuple[int, int],
        fps: float,
        now: float,
        ceiling_bps: float = math.inf,
    ) -> Target:
        """What to encode for viewers with these limits, from pictures of (width, height). The ceiling is a
        person's, and holds whatever the others could take."""
        current = self._target
        if current is not None and current.bitrate_bps > max(ceiling_bps, MIN_BPS):
            self._changed_at = -math.inf
            current = None
        if current is not None and source == self._source and now - self._changed_at < CHANGE_EVERY_S:
            return current
        wish = best_rate(source, fps)
        wish = min(wish, HEADROOM * slowest_acceptable(limits_bps), ceiling_bps)
        bitrate = round(max(MIN_BPS, wish))
        shown = current.height if current is not None and source == self._source else None
        width, height = _size(source, fps, bitrate, shown)
        wanted = Target(width, height, bitrate)
        if current is not None and (width, height) == (current.width, current.height):
            change = abs(bitrate - current.bitrate_bps) / current.bitrate_bps
            if change < CHANGE_SHARE:
                return current
        self._target, self._source, self._changed_at = wanted, source, now
        return wanted


def best_rate(source: tuple[int, int], fps: float) -> float:
    """Bits a second at which a picture of (width, height), 1080p at most, looks as it should."""
    width, height = _scaled(source, min(source[1], HEIGHTS[0]))
    return min(max(BITS_PER_PIXEL * width * height * fps, FULL_MIN_BPS), MAX_BPS)


def slowest_acceptable(limits_bps: Sequence[float]) -> float:
    """The rate for all: that of the slowest viewer who is not far behind the others."""
    if not limits_bps:
        return math.inf
    usual = median(min(limit, MAX_BPS / HEADROOM) for limit in limits_bps)
    return min(limit for limit in limits_bps if limit >= ACCEPTABLE_SHARE * usual)


def _size(source: tuple[int, int], fps: float, bitrate: float, shown: int | None) -> tuple[int, int]:
    """The largest size for which the rate is enough. `shown` is the present height, None at first."""
    own = min(source[1], HEIGHTS[0])
    for height in (own, *(h for h in HEIGHTS if h < own)):
        width, height = _scaled(source, height)
        needed = NEEDED_BITS_PER_PIXEL * width * height * fps
        if shown is not None and height > shown:
            needed *= UP_MARGIN
        if bitrate >= needed:
            break
    return width, height


def _scaled(source: tuple[int, int], height: int) -> tuple[int, int]:
    """(width, height) at this height, both even."""
    width = source[0] * height / max(1, source[1])
    return max(2, 2 * round(width / 2)), max(2, 2 * round(height / 2))


class KeyframeGate:
    """Gathers the viewers' wishes for a keyframe: one for all of them, and not too often."""

    def __init__(self, gap_s: float = KEYFRAME_GAP_S) -> None:
        self._gap_s = gap_s
        self._sent_at = -math.inf
        self._wished_for = math.inf

    def ask(self, now: float, patience_s: float = 0.0) -> None:
        """A viewer cannot go on without one; it can wait for this long."""
        self._wished_for = min(self._wished_for, now + patience_s)

    def is_due(self, now: float) -> bool:
        return now >= max(self._wished_for, self._sent_at + self._gap_s)

    def sent(self, now: float) -> None:
        """A keyframe has gone out, asked for or not."""
        self._sent_at = now
        self._wished_for = math.inf
