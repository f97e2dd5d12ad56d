"""Erasing one identity inside a transaction, and wrapping the keys of the others anew.

A key that is overwritten makes every other copy of what it sealed unreadable; the rows go as well. Ids of
erased identities stay in `ended`, so that no backup brings them back. Called by `people.PeopleStore`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from hub.store import sealing
from hub.store.schema import consents, ended, identities, identity_keys, photos, templates, vault
from hub.vault import IdentityKey, KeySource, Vault, VaultError
from protocol.messages import Person

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Erased:
    """What was erased. The embeddings are for checking that nobody is found by them, then dropped."""

    person: Person
    embeddings: tuple[tuple[str, bytes], ...]
    """(model id, float32 little-endian) of each template."""
    rows_left: int
    """In all tables, counted afterward: 0."""
    is_log_empty: bool
    """Nothing of it stays readable in the write-ahead log."""
    is_old_key_destroyed: bool
    """The hub key that wrapped the identity's key is gone as well."""


def embeddings(db: Connection, key: IdentityKey, identity: str) -> tuple[tuple[str, bytes], ...]:
    rows = db.execute(select(templates).where(templates.c.identity == identity)).all()
    return tuple((row.model_id, sealing.embedding_of(key, row)) for row in rows)


def destroy(db: Connection, identity: str, now: float) -> None:
    """Overwrite the key and all that it sealed, delete every row, remember the id."""
    for table, column in (
        (identity_keys, identity_keys.c.wrapped),
        (templates, templates.c.embedding),
        (templates, templates.c.source),
        (photos, photos.c.jpeg),
        (consents, consents.c.note),
    ):
        zeros = func.zeroblob(func.length(column))
        db.execute(update(table).where(table.c.identity == identity).values({column: zeros}))
    for table in (photos, templates, consents, identity_keys):
        db.execute(delete(table).where(table.c.identity == identity))
    db.execute(delete(identities).where(identities.c.id == identity))
    db.execute(insert(ended).values(id=identity, kind="identity", at=now))


def rows_of(db: Connection, identity: str) -> int:
    """How many rows any table holds of an identity."""
    columns = (
        identities.c.id,
        identity_keys.c.identity,
        templates.c.identity,
        photos.c.identity,
        consents.c.identity,
    )
    counts = (db.scalar(select(func.count()).where(column == identity)) for column in columns)
    return sum(count or 0 for count in counts)


def rewrap(db: Connection, present: Vault, keys: KeySource) -> Vault | None:
    """Wrap everybody's key with a new hub key where the hub keeps its key itself; None where not.

    That this cannot be done must not keep anyone from being erased.
    """
    if not keys.can_rotate:
        return None
    try:
        new = keys.prepare()
    except VaultError as exc:
        log.error("the hub key is not renewed: %s", exc)
        return None
    rewrap_all(db, present, new)
    return new


def rewrap_all(db: Connection, present: Vault, new: Vault) -> None:
    """Wrap every key with the new hub key. Raises VaultError."""
    wrapped = [
        {"whose": row.identity, "anew": new.wrap(row.identity, present.unwrap(row.identity, row.wrapped))}
        for row in db.execute(select(identity_keys)).all()
    ]
    if wrapped:
        whose = identity_keys.c.identity == bindparam("whose")
        db.execute(update(identity_keys).where(whose).values(wrapped=bindparam("anew")), wrapped)
    db.execute(update(vault).values(key_id=new.id))
