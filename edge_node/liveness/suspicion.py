"""How much one face is suspected to be a photo or a screen: cues over time, with hysteresis.

Pure: values in, a number out. Owned by `watch`, one `Suspicion` a path. Zones are in cells of a quarter of a
face box about the face's center (`motion`); `python -m benchmarks presentation` measures what they catch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import exp

import numpy as np
from numpy.typing import NDArray

from edge_node.liveness.motion import CELLS, CoMotion, Map

FADE_S = 2.0
"""What was seen of a cell counts half as much after 1.4 s."""
MIN_WEIGHT = 5.0
"""A cell is known from this much evidence on (gray levels, faded)."""
FOLLOWS, STAYS = 0.2, -0.15
"""From these values on a cell is said to move with the face, or with the scene."""
RISE, FALL = 0.35, 0.08
"""Share of the way to the present score, for each comparison: caught within a second, forgiven slowly."""
STRAY, STRAY_MOVED = 0.003, 0.015
"""Points of a plane stray by so many face boxes, and by this share of how far it moved."""
HELD_MOVES = 0.12
"""Face boxes between two looks, for something held to be looked at: people who walk by move further."""
STILL_MOVED, STILL_STRAY = 0.004, 0.002
"""Nobody holds still to within this, in face boxes, for as long as..."""
STILL_S = (4.0, 6.0)
"""... this: suspicious from the first on, surely a picture at the second."""

Mask = NDArray[np.bool_]


def _zone(rows: tuple[int, int], *columns: tuple[int, int]) -> Mask:
    mask = np.zeros((CELLS, CELLS), np.bool_)
    for first, last in columns:
        mask[rows[0] : rows[1], first:last] = True
    return mask


CORNERS = _zone((0, 5), (0, 3), (9, 12))
"""Above the shoulders and beside the head: hair rarely reaches there, a sheet does."""
BESIDE = _zone((3, 9), (2, 4), (8, 10))
"""Just beside the face: partly hair and ears, and all of a small sheet."""
CLOSE = _zone((3, 9), (3, 4), (8, 9))
"""The part of it next to the face, jaw included: all of the tightest sheet, and hair at most of a head."""
BELOW = _zone((9, 12), (3, 9))
"""Neck and chest; below a small sheet there is something else."""
ABOVE = _zone((0, 2), (4, 8))
"""Above the hair."""
FACE = _zone((4, 8), (4, 8))


@dataclass(slots=True)
class Suspicion:
    """0 is nobody's doubt, 1 is surely held up."""

    limit: float = 0.6
    value: float = 0.0
    is_suspected: bool = False
    """True from `limit` on, until the value has fallen below half of it."""
    _sum: Map = field(default_factory=lambda: np.zeros((CELLS, CELLS), np.float32))
    _weight: Map = field(default_factory=lambda: np.zeros((CELLS, CELLS), np.float32))
    _stray: float = 0.0
    _moved: float = 0.0
    _comparisons: int = 0
    _still_s: float = 0.0
    _pattern: float = 0.0

    def forget_motion(self) -> None:
        """The path may follow another face now: what moved with the old one says nothing. Doubt stays."""
        self._sum[:] = 0.0
        self._weight[:] = 0.0
        self._comparisons, self._still_s = 0, 0.0

    def take(self, seen: CoMotion, passed_s: float, pattern: float | None) -> None:
        """A comparison of two looks `passed_s` apart; the strength of a display's pattern where known."""
        fade = exp(-passed_s / FADE_S)
        self._sum = self._sum * np.float32(fade) + seen.weight * seen.with_face
        self._weight = self._weight * np.float32(fade) + seen.weight
        share = 1.0 if not self._comparisons else 1.0 - fade
        self._stray += share * (seen.stray - self._stray)
        self._moved += share * (seen.moved - self._moved)
        self._comparisons += 1
        is_still = seen.moved < STILL_MOVED and seen.stray < STILL_STRAY
        self._still_s = self._still_s + passed_s if is_still else 0.0
        if pattern is not None:
            self._pattern += 0.3 * (pattern - self._pattern) if self._pattern else pattern
        score = max(self._sheet(), _ramp(self._still_s, *STILL_S), _ramp(self._pattern, 4.0, 5.0))
        self.value += (RISE if score > self.value else FALL) * (score - self.value)
        if self.value >= self.limit:
            self.is_suspected = True
        elif self.value < self.limit / 2:
            self.is_suspected = False

    def _sheet(self) -> float:
        """How much what moves with the face has the shape of a sheet, 0..1."""
        known = self._weight >= MIN_WEIGHT
        if not known[FACE].any():
            return 0.0
        cells = self._sum / np.maximum(self._weight, 1e-6)
        face = float(cells[FACE & known].mean())
        # A photo moves as one plane: its points stray only as far as they are measured badly.
        expected = STRAY + STRAY_MOVED * min(self._moved, HELD_MOVES)
        rigid = 1.0 - _ramp(self._stray / expected, 1.2, 1.6)
        plane = _ramp(face, 0.5, 0.65) * rigid
        corners = _share(cells > FOLLOWS, CORNERS & known, 14)
        beside = _share(cells > FOLLOWS, BESIDE & known, 12)
        below = _share(cells < STAYS, BELOW & known, 8)
        above = _share(cells > FOLLOWS, ABOVE & known, 4)
        large = _ramp(corners, 0.35, 0.45)
        small = _ramp(below, 0.2, 0.4) * _ramp(beside, 0.65, 0.8)
        tall = _ramp(above, 0.4, 0.7) * _ramp(beside, 0.6, 0.75)
        close = _share(cells > FOLLOWS, CLOSE & known, 8)
        tight = _ramp(below, 0.5, 0.8) * _ramp(close, 0.75, 0.9)
        return plane * max(large, small, tall, tight)


def _share(is_so: Mask, where: Mask, at_least: int) -> float:
    """Share of the known cells of a zone for which something holds; 0 where too few are known."""
    count = int(where.sum())
    return float((is_so & where).sum()) / count if count >= at_least else 0.0


def _ramp(value: float, low: float, high: float) -> float:
    """0 up to `low`, 1 from `high` on, straight between."""
    return min(1.0, max(0.0, (value - low) / (high - low)))
