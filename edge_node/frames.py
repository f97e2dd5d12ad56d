"""The two kinds of frame. Camera pixels live in RawFrame; only MaskedFrame may leave the node.

`MaskedFrame` is constructed by `edge_node.privacy.veil` alone (held by tests/test_architecture.py),
so a sink, which takes nothing else, cannot be handed pixels that have not passed the veil.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from vision.detections import Image


@dataclass(frozen=True, slots=True)
class RawFrame:
    """One captured frame. Never leaves the node, is never written anywhere."""

    seq: int
    """Counts captured frames from 0, without gaps, over reconnects of the camera too."""
    captured_at: float
    """Monotonic seconds (time.monotonic) at which the frame reached this process."""
    pts_s: float
    """Presentation time in seconds on the source's own clock, never going backwards."""
    image: Image
    """(H, W, 3) uint8 BGR; nobody writes to it."""


class ReleaseReason(StrEnum):
    """Why a frame left as it did."""

    COVERED = "covered"
    """An analysis at or after its capture time has finished."""
    LATE = "late"
    """No analysis came within max_delay_ms: veiled in full."""
    GAP = "gap"
    """The analyses before and after it are too far apart to tell where faces were: veiled in full, where
    every frame is kept."""
    DISORDERED = "disordered"
    """It came after a later one, so its place among the analyses is unknown: veiled in full."""
    NO_SOURCE = "no-source"
    """The camera is lost: the last frame, veiled in full."""
    FAULT = "fault"
    """Something in the frame's way went wrong: veiled in full."""


@dataclass(frozen=True, slots=True)
class ShownFace:
    """A face that is visible in a masked frame, for captions: who, where."""

    track: int
    name: str
    box_xyxy: tuple[float, float, float, float]
    identity: str = ""
    """The hub's id of this person."""


@dataclass(frozen=True, slots=True)
class MaskedFrame:
    """One anonymized frame: the only thing that a sink accepts."""

    seq: int
    captured_at: float
    pts_s: float
    image: Image
    """(H, W, 3) uint8 BGR, veiled."""
    reason: ReleaseReason
    shown: tuple[ShownFace, ...] = ()
    veiled_count: int = 0
    """Veiled regions; 0 in a frame that is veiled in full."""

    @property
    def fully_veiled(self) -> bool:
        return self.reason is not ReleaseReason.COVERED


class FrameSink(Protocol):
    """Where masked frames go. `push` returns at once: a slow sink drops (and counts), never blocks."""

    def push(self, frame: MaskedFrame) -> None: ...

    def close(self) -> None: ...
