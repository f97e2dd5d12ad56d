"""[I/O] From whatever the file holds to the present tables, and the hub key that opens them.

A new file is given its tables; one of schema 1, which kept templates and notes in plain, is encrypted in
one transaction and written anew, so that no plain byte stays. Called by `people.PeopleStore` at opening.
"""

from __future__ import annotations

import logging
import secrets

from sqlalchemy import Connection, delete, func, insert, select, text, update

from hub.store import sealing
from hub.store.database import Database, schema_of
from hub.store.errors import StoreError
from hub.store.schema import (
    SCHEMA_VERSION,
    consents,
    identities,
    identity_keys,
    meta,
    metadata,
    templates,
    vault,
)
from hub.vault import KeySource, Vault

log = logging.getLogger(__name__)

REWRITE_DUE = "rewrite_due"
"""Set in `meta` until the pages that held plain bytes are overwritten."""


def open_tables(database: Database, source: KeySource, *, is_alone: bool) -> Vault:
    """Make or migrate the tables, and find the hub key. Raises StoreError, VaultError.

    is_alone: nobody else uses the store, so that it may be changed; otherwise only the present schema
    opens.
    """
    with database.transaction() as db:
        schema = schema_of(db, meta)
        if schema is not None and schema > SCHEMA_VERSION:
            raise StoreError(
                f"{database.path} was written by a newer Veilcast (schema {schema}): update this one"
            )
        if schema != SCHEMA_VERSION and not is_alone:
            raise StoreError(f"{database.path} is of an older Veilcast: start the hub of this version once")
        if schema is None:
            metadata.create_all(db)
            db.execute(insert(meta), [_entry("schema", SCHEMA_VERSION), _entry("version", 0)])
            key = source.take_or_create()
            db.execute(insert(vault).values(key_id=key.id))
        elif schema == 1:
            key = _encrypt(db, source)
        else:
            key = _find_key(db, source)
    if is_alone:
        source.settle(key.id)
        _rewrite_if_due(database)
    return key


def _entry(key: str, value: int) -> dict[str, object]:
    return {"key": key, "value": value}


def _find_key(db: Connection, source: KeySource) -> Vault:
    key_id = db.scalar(select(vault.c.key_id))
    if key_id is None:
        raise StoreError("the store does not say which key it needs: it is damaged, bring back a copy of it")
    if db.scalar(select(func.count()).select_from(identity_keys)):
        return source.find(key_id)
    # Nobody is enrolled, so nothing is lost by another key.
    key = source.take_or_create()
    db.execute(update(vault).values(key_id=key.id))
    return key


def _encrypt(db: Connection, source: KeySource) -> Vault:
    """Schema 1 to 2: the same rows, sealed."""
    key = source.take_or_create()
    for name in ("templates", "consents"):
        db.execute(text(f"ALTER TABLE {name} RENAME TO old_{name}"))
    db.execute(text("DROP INDEX templates_by_model"))
    db.execute(text("DROP INDEX consents_by_identity"))
    metadata.create_all(db)
    db.execute(delete(vault))
    db.execute(insert(vault).values(key_id=key.id))
    for (identity,) in db.execute(select(identities.c.id)).all():
        of_identity, wrapped = key.new_key(identity)
        db.execute(insert(identity_keys).values(identity=identity, wrapped=wrapped))
        old = "SELECT * FROM old_templates WHERE identity = :identity ORDER BY id"
        for row in db.execute(text(old), {"identity": identity}).all():
            embedding = sealing.from_bytes([row.embedding], len(row.embedding) // 4)[0]
            new = sealing.NewTemplate(embedding, row.model_id, row.source, row.quality)
            sealed = sealing.template_row(of_identity, identity, new, row.added_at, secrets.token_hex(8))
            db.execute(insert(templates).values(sealed))
        old = "SELECT * FROM old_consents WHERE identity = :identity"
        for row in db.execute(text(old), {"identity": identity}).all():
            values = {k: v for k, v in row._mapping.items() if k != "note"}
            db.execute(insert(consents).values(sealing.consent_row(of_identity, values, row.note)))
    for name in ("templates", "consents"):
        db.execute(text(f"DROP TABLE old_{name}"))
    db.execute(update(meta).where(meta.c.key == "schema").values(value=SCHEMA_VERSION))
    db.execute(insert(meta).values(_entry(REWRITE_DUE, 1)))
    return key


def _rewrite_if_due(database: Database) -> None:
    with database.transaction() as db:
        is_due = db.scalar(select(meta.c.value).where(meta.c.key == REWRITE_DUE))
    if not is_due:
        return
    try:
        database.rewrite()
    except StoreError as exc:
        log.error("plain bytes of an older version stay in the store until the next start: %s", exc)
        return
    with database.transaction() as db:
        db.execute(delete(meta).where(meta.c.key == REWRITE_DUE))
