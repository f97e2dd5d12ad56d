"""Where pictures come from: the port that every source implements.

Owns the words for what can go wrong with a source; which implementation serves is chosen in
`capture.opening`. Does not pace, retry or number frames: that is `capture.grabber`, the only caller of
`read`.

SourceError     cannot be opened as asked; trying again would not help (an error for a person)
SourceLost      there is no picture at present; it may come back
SourceEnded     a file has been read to its end
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol
from urllib.parse import urlsplit, urlunsplit

from edge_node.errors import StartError
from vision.detections import Image

NETWORK_TIMEOUT_S = 5.0
"""Silence after which a network camera counts as lost: longer than a key-frame interval."""
MAX_PIXELS = 7680 * 4320
"""8K. A larger picture is a mistake or an attack: one frame of it would be 100 MB."""
STUMBLE_S = 0.5
"""Time stamps this much out of order are a stumble; further back, the clock was set anew."""
NUDGE_S = 0.001
"""The finest step that a recording keeps (Matroska counts milliseconds)."""


class SourceError(StartError):
    """The source cannot be used; the message says why and what to do."""


class SourceLost(Exception):  # noqa: N818 - an event, not a mistake
    """No picture comes at present; opening the source again may help."""


class SourceEnded(Exception):  # noqa: N818 - an event, not a mistake
    """The file is at its end."""


class SourceKind(StrEnum):
    """What stands behind a source."""

    DEMO = "demo"
    CAMERA = "camera"
    FILE = "file"
    NETWORK = "network"


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known of a source once it is open."""

    width: int
    height: int
    fps: float
    """Nominal frames a second; 0 where the source does not say."""
    kind: SourceKind
    label: str
    """For people and log lines; holds no user name, password or query."""
    is_live: bool
    """Frames come when they come. Otherwise the reader paces them by their pts."""


@dataclass(frozen=True, slots=True)
class CapturedImage:
    """One picture of a source."""

    image: Image
    """(H, W, 3) uint8 BGR."""
    pts_s: float
    """Seconds on the source's own clock, never going backwards within one source."""


class FrameSource(Protocol):
    """A camera, a file or a drawn scene. Used by one thread; `close` may be called twice."""

    @property
    def info(self) -> SourceInfo: ...

    @property
    def skipped(self) -> int:
        """Frames that could not be decoded and were left out."""
        ...

    def read(self) -> CapturedImage:
        """The next picture; waits for it. Raises SourceLost, SourceEnded or SourceError."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """Wishes; a source that cannot follow one says so in its `info`."""

    loop: bool = True
    """Start a file again at its end."""
    width: int = 1280
    height: int = 720
    fps: float = 25.0
    """Size and rate asked of a local camera and used for the demo scene."""
    seed: int = 1
    """Of the demo scene."""
    rtsp_transport: str = "tcp"
    """`tcp` loses nothing and passes firewalls; `udp` is for cameras that know nothing else."""
    timeout_s: float = NETWORK_TIMEOUT_S
    rotate: int = 0
    """Degrees clockwise by which every picture is turned: 0, 90, 180 or 270."""


def label_of(url: str) -> str:
    """The URL without user name, password, query and fragment: cameras take secrets in all of them."""
    try:
        parts = urlsplit(url)
        # Everything before the last @ goes: passwords with an unescaped @ or / exist in the field.
        host = parts.netloc.rpartition("@")[2]
        if "@" in parts.path:
            return f"{parts.scheme}://{parts.path.rpartition('@')[2]}"
        return urlunsplit((parts.scheme, host, parts.path, "", ""))
    except ValueError:
        return f"{url.split('://', 1)[0]}://…"


class SourceClock:
    """Turns a source's time stamps into ones that never go backwards.

    A stamp that stumbles (equal to the last or slightly before it) is nudged past it. One that jumps
    back (a restarted stream, joined files) continues one frame after the last, and what follows keeps
    its distance to it. A missing one counts as one frame later.
    """

    def __init__(self, step_s: float) -> None:
        self._step_s = step_s
        self._offset_s = 0.0
        self._last_s: float | None = None
        self._is_restarted = False

    def stamp(self, pts_s: float | None) -> float:
        """The stamp to use for a frame that claims `pts_s` (None where it claims nothing)."""
        last = self._last_s
        if last is None:
            now = 0.0 if pts_s is None else pts_s
        elif pts_s is None:
            now = last + self._step_s
        elif self._is_restarted or pts_s + self._offset_s < last - STUMBLE_S:
            now = last + self._step_s
            self._offset_s = now - pts_s
            self._is_restarted = False
        else:
            now = max(pts_s + self._offset_s, last + NUDGE_S)
        self._last_s = now
        return now

    def restart(self) -> None:
        """The source begins again: its next stamp, whatever it is, follows the last one."""
        self._is_restarted = True
