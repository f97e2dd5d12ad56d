"""Identities, their templates and consents, in SQLite. All or nothing: each method is one transaction.

Blocking; the hub calls it from its inference thread or an executor. Times are UTC epoch seconds and are
given by the caller. Embeddings become bytes and back in `_to_bytes` and `_from_bytes` alone.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import sqlite3
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, create_engine, delete, event, func, insert, select, update
from sqlalchemy.exc import DatabaseError, IntegrityError

from hub.embedding.port import Embeddings
from hub.gallery import Gallery
from hub.policy import LiveConsent
from hub.store.errors import ConflictError, NotFoundError, StoreError
from hub.store.schema import SCHEMA_VERSION, consents, identities, meta, metadata, templates
from protocol import limits
from protocol.messages import Consent, Person, Template

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


@dataclass(frozen=True, slots=True)
class NewTemplate:
    """A template to keep: embedding (D,) of length 1, and where it came from."""

    embedding: NDArray[np.float32]
    model_id: str
    source: str
    quality: float


@dataclass(frozen=True, slots=True)
class NewConsent:
    """A consent to record."""

    cameras: tuple[str, ...] = ()
    until: float | None = None
    note: str = ""


class PeopleStore:
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
        self._path = path
        self._busy_s = busy_s
        self._engine = create_engine(f"sqlite:///{path}")
        event.listen(self._engine, "connect", self._prepare)
        event.listen(self._engine, "begin", _begin)
        with self._transaction() as db:
            metadata.create_all(db)
            found = db.scalar(select(meta.c.value).where(meta.c.key == "schema"))
            if found is None:
                db.execute(
                    insert(meta), [{"key": "schema", "value": SCHEMA_VERSION}, {"key": "version", "value": 0}]
                )
            elif found > SCHEMA_VERSION:
                raise StoreError(f"{path} was written by a newer Veilcast (schema {found}): update this one")

    def close(self) -> None:
        self._engine.dispose()

    # --- people -----------------------------------------------------------------------------

    def add(self, name: str, new: Sequence[NewTemplate], consent: NewConsent | None, now: float) -> Person:
        """Enrol a person, or add templates to a known one; a consent replaces the live one.

        Raises ConflictError where the person would hold more than limits.MAX_TEMPLATES.
        """
        with self._transaction() as db:
            row = self._find(db, name)
            if row is None:
                identity = secrets.token_hex(8)
                values = {"id": identity, "name": name, "name_key": _key(name), "added_at": now}
                db.execute(insert(identities).values(**values))
            else:
                identity = row.id
            held = db.scalar(
                select(func.count()).select_from(templates).where(templates.c.identity == identity)
            )
            if (held or 0) + len(new) > limits.MAX_TEMPLATES:
                raise ConflictError(f"one person holds at most {limits.MAX_TEMPLATES} photos")
            for template in new:
                db.execute(
                    insert(templates).values(
                        identity=identity, model_id=template.model_id, source=template.source,
                        embedding=_to_bytes(template.embedding), quality=template.quality, added_at=now,
                    )
                )  # fmt: skip
            if consent is not None:
                self._grant(db, identity, consent, now)
            self._changed(db)
            return self._person(db, self._get(db, name), now)

    def remove(self, name: str, now: float) -> Person:
        """Forget a person: identity, templates, consents. Returns who it was. Raises NotFoundError."""
        with self._transaction() as db:
            row = self._get(db, name)
            person = self._person(db, row, now)
            db.execute(delete(identities).where(identities.c.id == row.id))  # the rest cascades
            self._changed(db)
        self._empty_log()
        return person

    def show(self, name: str, now: float) -> Person:
        """Raises NotFoundError."""
        with self._transaction() as db:
            return self._person(db, self._get(db, name), now)

    def page(self, after: str, limit: int, now: float) -> tuple[list[Person], bool]:
        """Up to `limit` people in order of their names, after the name `after`; whether more follow."""
        with self._transaction() as db:
            query = select(identities).order_by(identities.c.name_key).limit(limit + 1)
            if after:
                query = query.where(identities.c.name_key > _key(after))
            rows = db.execute(query).all()
            return [self._person(db, row, now) for row in rows[:limit]], len(rows) > limit

    # --- consents ---------------------------------------------------------------------------

    def grant(self, name: str, consent: NewConsent, now: float) -> Person:
        """Record a consent in place of the live one. Raises NotFoundError, ConflictError."""
        with self._transaction() as db:
            row = self._get(db, name)
            self._grant(db, row.id, consent, now)
            self._changed(db)
            return self._person(db, row, now)

    def withdraw(self, name: str, now: float) -> Person:
        """End every live consent of a person. Raises NotFoundError."""
        with self._transaction() as db:
            row = self._get(db, name)
            self._withdraw(db, row.id, now)
            self._changed(db)
            return self._person(db, row, now)

    # --- what recognition needs ---------------------------------------------------------------

    def load(self, model_id: str, dimension: int, now: float) -> tuple[Gallery, dict[str, LiveConsent]]:
        """The gallery of one model and the consents that live at `now`, by identity."""
        with self._transaction() as db:
            version = db.scalar(select(meta.c.value).where(meta.c.key == "version")) or 0
            rows = db.execute(
                select(templates.c.identity, templates.c.embedding)
                .where(templates.c.model_id == model_id)
                .order_by(templates.c.id)
            ).all()
            live = db.execute(
                select(consents, identities.c.name)
                .join(identities, identities.c.id == consents.c.identity)
                .where(consents.c.withdrawn_at.is_(None))
                .where((consents.c.until.is_(None)) | (consents.c.until > now))
            ).all()
        owners = [row.identity for row in rows]
        embeddings = _from_bytes([row.embedding for row in rows], dimension)
        by_identity = {
            row.identity: LiveConsent(
                row.identity, row.name, frozenset(_cameras(row.cameras)), row.until, row.id
            )
            for row in live
        }
        return Gallery(version, dimension, owners, embeddings), by_identity

    def count_other_models(self, model_id: str) -> int:
        """People who hold templates, but none of this model: they are not recognized until re-enrolled."""
        with self._transaction() as db:
            known = select(templates.c.identity).where(templates.c.model_id == model_id)
            query = select(func.count(func.distinct(templates.c.identity))).where(
                templates.c.identity.not_in(known)
            )
            return db.scalar(query) or 0

    # --- inside a transaction -----------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as db:
                yield db
        except IntegrityError as exc:
            raise ConflictError("that name is taken") from exc
        except DatabaseError as exc:
            # SQLAlchemy's own text would repeat the values.
            raise StoreError(self._clear_line(exc.orig)) from exc

    def _clear_line(self, cause: BaseException | None) -> str:
        """What is wrong, in the driver's words, and what to do."""
        name = "_".join(getattr(cause, "sqlite_errorname", "").split("_")[:2])
        advice = WHAT_TO_DO.get(name)
        return f"the store {self._path} cannot be used: {cause}" + (f"; {advice}" if advice else "")

    def _empty_log(self) -> None:
        """So that nothing deleted stays readable in the write-ahead log.

        The deletion itself has been committed: a failure here must not look like one of that.
        """
        raw = self._engine.raw_connection()  # outside of any transaction
        try:
            is_busy, *_ = raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as exc:
            log.error("what was erased is still in the store's write-ahead log: %s", self._clear_line(exc))
            return
        finally:
            raw.close()
        if is_busy:
            log.warning("what was erased stays in the store's write-ahead log until the hub ends")

    def _prepare(self, connection: Any, _record: object) -> None:
        pragmas = ("foreign_keys=ON", "journal_mode=WAL", "synchronous=FULL", "secure_delete=ON")
        for pragma in (f"busy_timeout={round(1_000 * self._busy_s)}", *pragmas):
            connection.execute(f"PRAGMA {pragma}")

    def _find(self, db: Connection, name: str) -> Row[Any] | None:
        return db.execute(select(identities).where(identities.c.name_key == _key(name))).one_or_none()

    def _get(self, db: Connection, name: str) -> Row[Any]:
        row = self._find(db, name)
        if row is None:
            raise NotFoundError(f"nobody named {name} is enrolled")
        return row

    def _grant(self, db: Connection, identity: str, consent: NewConsent, now: float) -> None:
        held = db.scalar(select(func.count()).select_from(consents).where(consents.c.identity == identity))
        if (held or 0) >= limits.MAX_CONSENTS:
            raise ConflictError(f"one person's history holds at most {limits.MAX_CONSENTS} consents")
        self._withdraw(db, identity, now)
        db.execute(
            insert(consents).values(
                id=secrets.token_hex(8), identity=identity, granted_at=now, until=consent.until,
                withdrawn_at=None, cameras=json.dumps(list(consent.cameras)), note=consent.note,
            )
        )  # fmt: skip

    def _withdraw(self, db: Connection, identity: str, now: float) -> None:
        db.execute(
            update(consents)
            .where(consents.c.identity == identity)
            .where(consents.c.withdrawn_at.is_(None))
            .values(withdrawn_at=now)
        )

    def _changed(self, db: Connection) -> None:
        db.execute(update(meta).where(meta.c.key == "version").values(value=meta.c.value + 1))

    def _person(self, db: Connection, row: Row[Any], now: float) -> Person:
        history = db.execute(
            select(consents).where(consents.c.identity == row.id).order_by(consents.c.granted_at)
        ).all()
        kept = db.execute(
            select(templates.c.model_id, templates.c.source, templates.c.quality, templates.c.added_at)
            .where(templates.c.identity == row.id)
            .order_by(templates.c.id)
        ).all()
        live = any(c.withdrawn_at is None and (c.until is None or c.until > now) for c in history)
        return Person(
            identity=row.id, name=row.name, added_at=row.added_at, consented=live,
            consents=tuple(
                Consent(
                    id=c.id, granted_at=c.granted_at, until=c.until, withdrawn_at=c.withdrawn_at,
                    cameras=_cameras(c.cameras), note=c.note,
                )
                for c in history
            ),
            templates=tuple(
                Template(model_id=t.model_id, source=t.source, quality=t.quality, added_at=t.added_at)
                for t in kept
            ),
        )  # fmt: skip


def _begin(db: Connection) -> None:
    # The driver by itself begins none before it reads or makes tables. At once for writing: a reader that
    # becomes a writer could be refused half-way.
    db.exec_driver_sql("BEGIN IMMEDIATE")


def _key(name: str) -> str:
    """Equal for names that people read as equal: letter case, composed and decomposed accents."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _cameras(text: str) -> tuple[str, ...]:
    # An empty list means every camera, so a damaged one must not pass for it.
    try:
        names = json.loads(text)
    except ValueError as exc:
        raise StoreError("a stored consent cannot be read: the store is damaged") from exc
    if not isinstance(names, list) or not all(isinstance(n, str) and n for n in names):
        raise StoreError("a stored consent cannot be read: the store is damaged")
    return tuple(names)


def _to_bytes(embedding: NDArray[np.float32]) -> bytes:
    return np.ascontiguousarray(embedding, "<f4").tobytes()


def _from_bytes(blobs: Sequence[bytes], dimension: int) -> Embeddings:
    if any(len(blob) != 4 * dimension for blob in blobs):
        raise StoreError("a stored template has the wrong size: the store is damaged")
    joined = np.frombuffer(b"".join(blobs), "<f4").astype(np.float32)
    return joined.reshape(len(blobs), dimension)
