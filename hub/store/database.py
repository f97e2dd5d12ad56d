"""[I/O] The SQLite file: opening, transactions, one clear line for what goes wrong, and no traces.

Owns the engine and its pragmas, knows none of the tables. Used by the rest of `hub.store`.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, create_engine, event, select, text
from sqlalchemy.exc import DatabaseError, IntegrityError

from hub.store.errors import ConflictError, StoreError

log = logging.getLogger(__name__)

BUSY_S = 5.0
"""How long to wait for another program that holds the store."""
WHAT_TO_DO = {
    "SQLITE_FULL": "free some space and try again",
    "SQLITE_BUSY": "another program holds it: end that one and try again",
    "SQLITE_READONLY": "make it writable for this user",
    "SQLITE_NOTADB": "move it away or bring back a copy of it",
    "SQLITE_CORRUPT": "bring back a copy of it",
    "SQLITE_IOERR": "look after the disk",
}
"""By SQLite's name of the error, without what follows the second part (SQLITE_BUSY_SNAPSHOT)."""


class Database:
    """One SQLite file, mode 0600, in a folder made with mode 0700. Raises StoreError."""

    def __init__(self, path: Path, busy_s: float = BUSY_S) -> None:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            opened = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                os.fchmod(opened, 0o600)  # SQLite gives its side files the same mode
            finally:
                os.close(opened)
        except OSError as exc:
            raise StoreError(f"cannot open the store {path}: {exc.strerror}") from exc
        self.path = path
        self._busy_s = busy_s
        self._engine = create_engine(f"sqlite:///{path}")
        event.listen(self._engine, "connect", self._prepare)
        event.listen(self._engine, "begin", _begin)

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """All or nothing, alone in writing. Raises ConflictError, StoreError."""
        with self._one_line(), self._engine.begin() as db:
            yield db

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """One unchanging view for reading, while others go on writing. Raises StoreError."""
        with self._one_line(), self._engine.connect().execution_options(is_reader=True) as db:
            yield db

    def empty_log(self) -> bool:
        """So that nothing deleted stays readable in the write-ahead log; whether that was possible.

        The deletion itself has been committed: a failure here must not look like one of that.
        """
        try:
            is_busy, *_ = self._alone("PRAGMA wal_checkpoint(TRUNCATE)")
        except StoreError as exc:
            log.error("what was erased is still in the store's write-ahead log: %s", exc)
            return False
        if is_busy:
            log.warning("what was erased stays in the store's write-ahead log until the hub ends")
        return not is_busy

    def rewrite(self) -> None:
        """Write the whole file anew, so that no free page holds old bytes. Raises StoreError."""
        self._alone("VACUUM")
        if not self.empty_log():
            raise StoreError(f"the store {self.path} is in use: its old bytes cannot be removed yet")

    def _alone(self, statement: str) -> tuple[Any, ...]:
        """Run a statement outside of any transaction; its first row. Raises StoreError."""
        raw = self._engine.raw_connection()
        try:
            row: tuple[Any, ...] | None = raw.cursor().execute(statement).fetchone()
        except sqlite3.Error as exc:
            raise StoreError(self._clear_line(exc)) from exc
        finally:
            raw.close()
        return row or ()

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError as exc:
            raise ConflictError("that name is taken") from exc
        except DatabaseError as exc:
            # SQLAlchemy's own text would repeat the values.
            raise StoreError(self._clear_line(exc.orig)) from exc

    def _clear_line(self, cause: BaseException | None) -> str:
        """What is wrong, in the driver's words, and what to do."""
        name = "_".join(getattr(cause, "sqlite_errorname", "").split("_")[:2])
        advice = WHAT_TO_DO.get(name)
        return f"the store {self.path} cannot be used: {cause}" + (f"; {advice}" if advice else "")

    def _prepare(self, connection: Any, _record: object) -> None:
        pragmas = ("foreign_keys=ON", "journal_mode=WAL", "synchronous=FULL", "secure_delete=ON")
        for pragma in (f"busy_timeout={round(1_000 * self._busy_s)}", *pragmas):
            connection.execute(f"PRAGMA {pragma}")


def schema_of(db: Connection, meta: Table) -> Any:
    """The schema's number that the file's `meta` (key, value) holds; None for a file without tables."""
    there = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = :name"
    if not db.scalar(text(there), {"name": meta.name}):
        return None
    return db.scalar(select(meta.c.value).where(meta.c.key == "schema"))


def _begin(db: Connection) -> None:
    # The driver by itself begins none before it reads or makes tables. At once for writing: a reader that
    # becomes a writer could be refused half-way.
    is_reader = db.get_execution_options().get("is_reader")
    db.exec_driver_sql("BEGIN" if is_reader else "BEGIN IMMEDIATE")
