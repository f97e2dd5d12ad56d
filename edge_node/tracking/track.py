"""What the tracker says about one face at one analysis: an immutable view, made for other parts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]
"""left, top, right, bottom in pixels."""


class TrackState(StrEnum):
    TENTATIVE = "tentative"
    """Seen, but not yet often enough to be asked about. Veiled."""
    CONFIRMED = "confirmed"
    LOST = "lost"
    """Not seen in the latest analysis: coasting along its motion. Veiled."""


class Evidence(StrEnum):
    """Where the box of an observation comes from, best first."""

    DETECTED = "detected"
    """A full scan found it."""
    REFINED = "refined"
    """The refining networks confirmed the predicted box."""
    FOUND = "found"
    """The veil-only detector found it: good enough to veil, not to show."""
    COASTED = "coasted"
    """Nothing confirmed it: predicted only."""
    BACKFILLED = "backfilled"
    """Of a region only: the face was first seen after this instant, and is carried back."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One face at one analysis."""

    path: int
    """The moving thing, from its first sight to its removal. What the timeline interpolates."""
    track: int
    """Who leases are for. A suspected identity switch ends the track and starts a new one on the
    same path; neither id is ever reused."""
    state: TrackState
    evidence: Evidence
    box_xyxy: Box
    score: float
    unseen_s: float
    """Seconds since the box was last confirmed; 0 where it is fresh."""
    trusted: bool
    """Nothing about this observation is in doubt: it may be shown if a lease allows it."""
    landmarks: NDArray[np.float32] | None = None
    """(5, 2) pixels where the box is fresh."""
    watched: bool = True
    """Looked at for long enough to be shown; the hub may be asked about it before."""
    sure: bool = True
    """A detector was once sure that this is a face; else it is veiled in doubt."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """Everything one analysis of one frame found."""

    seq: int
    """Of the analyzed frame."""
    at: float
    """Its captured_at."""
    observations: tuple[Observation, ...]
    cut: bool = False
    """The shot changed since the analysis before: nothing is carried over from it."""
    suspected: int = 0
    """Faces that look like a photo or a screen held up; they are not trusted."""
    frame_width: int | None = None
    """Pixels, where known."""
    is_calm: bool = False
    """Nobody can have come into view: all were confirmed, and nothing else was promised or has changed."""
