"""Where recordings lie: names of segments, what is old enough to go, whether the disk has room. [I/O]

Owns the file names and the only deletions of the recorder: its own segments, never the open one, never
another file of the folder. The rules are pure functions of a listing. Called by `stream.recorder`.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from edge_node.stream.errors import RecordError

log = logging.getLogger(__name__)

SUFFIX = ".mkv"
GB = 1_000_000_000
ROOM_MARGIN = 1.1
"""Recording goes on when this much more than the limit is free: not to and fro at the limit itself."""


@dataclass(frozen=True, slots=True)
class RecordPlan:
    """How long and how much. 0 is no limit everywhere."""

    segment_s: float = 0.0
    """Length of a file in a folder."""
    keep_s: float = 0.0
    keep_bytes: int = 0
    """Of all segments of this node together."""
    min_free_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Segment:
    """A finished file."""

    path: Path
    ended_at: float
    """Seconds since 1970, as the file system says."""
    size_bytes: int


def outdated(segments: Iterable[Segment], plan: RecordPlan, now: float, open_bytes: int = 0) -> list[Segment]:
    """The segments that must go, oldest first. `open_bytes` of the file being written count, too."""
    oldest_first = sorted(segments, key=lambda s: (s.ended_at, s.path.name))
    too_much = open_bytes + sum(s.size_bytes for s in oldest_first) - plan.keep_bytes
    gone = []
    for segment in oldest_first:
        is_old = plan.keep_s > 0 and now - segment.ended_at > plan.keep_s
        if not is_old and (plan.keep_bytes <= 0 or too_much <= 0):
            break
        gone.append(segment)
        too_much -= segment.size_bytes
    return gone


class Shelf:
    """One file, or a folder of segments, at `path`. Raises RecordError where it cannot be used."""

    def __init__(
        self,
        path: Path,
        plan: RecordPlan,
        node: str,
        free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.path = path
        self.is_folder = path.suffix == "" or (path.is_dir() and path.suffix.lower() != SUFFIX)
        self._plan = plan
        self._node = node
        self._free_bytes = free_bytes
        self._clock = clock
        self._open: Path | None = None
        self._pattern = re.compile(rf"{re.escape(node)}-\d{{8}}T\d{{6}}Z(-\d+)?\{SUFFIX}")
        if self.is_folder:
            _prepare_folder(path)
        else:
            kept = prepare(path)
            if kept is not None:
                log.info("the earlier recording was kept as %s", kept)

    def next_path(self) -> Path:
        """The file to write now; the last one is finished. One that is there is never written over."""
        if self.is_folder:
            stem = f"{self._node}-{self._clock():%Y%m%dT%H%M%SZ}"
            path = self.path / f"{stem}{SUFFIX}"
        else:
            stem, path = self.path.stem, self.path
        number = 1
        while path == self._open or (path.exists() and path.is_file() and path.stat().st_size):
            number += 1
            path = self.path.parent / f"{stem}-{number}{SUFFIX}"
            if self.is_folder:
                path = self.path / f"{stem}-{number}{SUFFIX}"
        self._open = path
        return path

    def is_full(self, length_s: float) -> bool:
        """Whether a file that holds `length_s` is long enough."""
        return self.is_folder and 0 < self._plan.segment_s <= length_s

    def has_room(self, is_waiting: bool) -> bool:
        """Whether there is room to record; somebody who `is_waiting` for it wants a little more.

        Raises OSError where the disk cannot be asked.
        """
        limit = self._plan.min_free_bytes
        if limit <= 0:
            return True
        return self._free_bytes(self._folder) >= limit * (ROOM_MARGIN if is_waiting else 1.0)

    def tidy(self) -> int:
        """Delete what is too old or too much; how many files. A file that cannot be deleted is told."""
        if not self.is_folder:
            return 0
        gone = 0
        open_bytes = _size(self._open)
        for segment in outdated(self.segments(), self._plan, self._clock().timestamp(), open_bytes):
            try:
                segment.path.unlink(missing_ok=True)
                gone += 1
            except OSError as exc:
                log.warning("the old recording %s cannot be deleted: %s", segment.path, exc.strerror)
        return gone

    def segments(self) -> list[Segment]:
        """This node's finished segments."""
        found = []
        for path in self.path.iterdir():
            if path == self._open or not self._pattern.fullmatch(path.name) or path.is_symlink():
                continue
            try:
                status = path.stat()
            except FileNotFoundError:
                continue  # deleted by somebody else meanwhile
            found.append(Segment(path, status.st_mtime, status.st_size))
        return found

    @property
    def limit_words(self) -> str:
        return f"less than {self._plan.min_free_bytes / GB:g} GB is free"

    @property
    def _folder(self) -> Path:
        return self.path if self.is_folder else self.path.parent


def _size(path: Path | None) -> int:
    try:
        return path.stat().st_size if path is not None else 0
    except OSError:
        return 0  # not written yet


def _prepare_folder(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except FileExistsError:
        raise RecordError(f"{path} is a file; give a folder, or a name that ends in {SUFFIX}") from None
    except FileNotFoundError:
        raise RecordError(f"there is no folder {path.parent} to record to; create it first") from None
    except OSError as exc:
        raise RecordError(f"the folder {path} cannot be made: {exc.strerror}; choose another place") from exc
    if not os.access(path, os.W_OK | os.X_OK):
        raise RecordError(f"no permission to write to {path}; choose another place")


def prepare(path: Path) -> Path | None:
    """Check that a recording can be written to `path`; an earlier one there is moved aside.

    Returns where the earlier one is now, None where there was none. Raises RecordError.
    """
    if path.suffix.lower() != SUFFIX:
        raise RecordError(
            f"recordings are Matroska files: call it {path.stem or 'out'}.mkv, not {path.name!r}"
        )
    if path.is_dir():
        raise RecordError(f"{path} is a folder; give the name of a file")
    if not path.parent.is_dir():
        raise RecordError(f"there is no folder {path.parent} to record to; create it first")
    if not os.access(path.parent, os.W_OK | os.X_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise RecordError(f"no permission to write {path}; choose another place")
    if not path.is_file() or not path.stat().st_size:
        return None
    number = 1
    while (kept := path.with_name(f"{path.stem}.{number}{path.suffix}")).exists():
        number += 1
    try:
        return path.rename(kept)
    except OSError as exc:
        raise RecordError(f"{path} exists and cannot be moved aside: {exc.strerror}") from exc
