"""[I/O] Who is let in: the public keys in a folder, read again only when something in it has changed.

Reading hundreds of keys takes longer than an answer may; looking at their dates does not. Owned by
`hub.server`.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from protocol.errors import KeyFileError
from protocol.keys import Peer, scan_public_keys

log = logging.getLogger(__name__)

SETTLED_S = 2.0
"""A file that was changed so shortly before it was read may have changed again within the same tick of the
file system's clock: it is read once more."""
Stamp = tuple[tuple[str, int, int, int, int], ...]


class AllowList:
    """`peers` is what the last `read` found. `wall` gives UTC epoch seconds, as the file system does."""

    def __init__(self, folder: Path, wall: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._wall = wall
        self._stamp: Stamp | None = None
        self._problems: list[str] = []
        self.peers: Mapping[bytes, Peer] = {}
        """By public key in Z85."""
        self.readings = 0

    def read(self) -> None:
        """Bring `peers` up to date. What cannot be read lets nobody in, and is logged once."""
        stamp = self._look()
        if stamp is not None and stamp == self._stamp:
            return
        now = self._wall()
        self.readings += 1
        try:
            self.peers, problems = scan_public_keys(self._folder)
        except KeyFileError as exc:
            self.peers, problems = {}, [str(exc)]
        for problem in problems:
            if problem not in self._problems:  # once, not every second
                log.error("allow-list: %s", problem)
        self._problems = problems
        # Seen before reading: a change meanwhile makes the next look differ.
        self._stamp = stamp if stamp is not None and _is_settled(stamp, now) else None

    def _look(self) -> Stamp | None:
        """What changes when a key is added, removed or replaced; None where nothing can be seen."""
        try:
            with os.scandir(self._folder) as entries:
                seen = [(entry.name, entry.stat()) for entry in entries]
        except OSError:
            return None
        return tuple(sorted((n, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for n, s in seen))


def _is_settled(stamp: Stamp, now: float) -> bool:
    latest = max((max(mtime, ctime) for *_, mtime, ctime in stamp), default=0)
    return latest < (now - SETTLED_S) * 1e9
