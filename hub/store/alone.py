"""[I/O] Who may change the store: one program at a time, kept apart by a lock on a file beside it.

The kernel lets go of the lock however its holder ends. Used by the hub and by commands that change what a
running hub holds in memory.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from hub.store.errors import InUseError, StoreError
from hub.store.people import PeopleStore
from hub.vault import key_source


class OwnedStore(PeopleStore):
    """A store that nobody else may open for changes until it is closed."""

    def __init__(self, path: Path, environment: Mapping[str, str]) -> None:
        """environment: where a hub key may be given. Raises InUseError, StoreError, VaultError."""
        self._lock = _lock(path)
        try:
            super().__init__(path, keys=key_source(path.parent, environment))
        except BaseException:
            os.close(self._lock)
            raise
        self._is_open = True

    def close(self) -> None:
        super().close()
        if self._is_open:
            self._is_open = False
            os.close(self._lock)


@contextmanager
def reading(path: Path, environment: Mapping[str, str]) -> Iterator[PeopleStore]:
    """The store for looking, also while a hub runs. Raises StoreError, VaultError."""
    try:
        store: PeopleStore = OwnedStore(path, environment)
    except InUseError:
        store = PeopleStore(path, keys=key_source(path.parent, environment), is_alone=False)
    try:
        yield store
    finally:
        store.close()


def _lock(path: Path) -> int:
    """The descriptor that holds the lock. A file of its own: SQLite has locks on the store itself."""
    lock = path.with_name(path.name + ".lock")
    try:
        lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise StoreError(f"cannot open {lock}: {exc.strerror}") from exc
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        os.close(descriptor)
        raise InUseError(f"a running hub holds {path}: stop it first, then start it again") from exc
    except OSError as exc:
        os.close(descriptor)
        raise StoreError(f"cannot lock {lock}: {exc.strerror}") from exc
    return descriptor
