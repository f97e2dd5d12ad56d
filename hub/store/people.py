"""Identities, their templates and consents, in SQLite. All or nothing: each method is one transaction.

Blocking; the hub calls it from its inference thread or an executor. Times are UTC epoch seconds and are
given by the caller. What is sealed and how is in `sealing`, the file itself in `database`; erasing is in
`erase`.
"""

from __future__ import annotations

import json
import logging
import secrets
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from hub.gallery import Gallery
from hub.policy import LiveConsent
from hub.store import erase, sealing
from hub.store.database import BUSY_S, Database
from hub.store.erase import Erased
from hub.store.errors import ConflictError, NotFoundError, StoreError
from hub.store.migrate import open_tables
from hub.store.schema import consents, ended, identities, identity_keys, meta, photos, templates
from hub.store.sealing import NewConsent, NewTemplate
from hub.vault import VAULT_FILE, IdentityKey, KeyFile, KeySource, Vault, VaultError
from protocol import limits
from protocol.messages import Consent, Person, Template

__all__ = ["NewConsent", "NewTemplate", "PeopleStore"]


TEMPLATES_CHANGED = "templates"
"""Counts in `meta` how often templates came or went."""
OPENED_AT_ONCE = 1_000
REPORT_EVERY = 10_000
"""Templates, while very many are opened."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Opened:
    """The gallery of a model as of a count of changes."""

    count: int
    model_id: str
    gallery: Gallery


class PeopleStore:
    """The people of one hub. Raises StoreError, and VaultError where the hub key is missing or wrong."""

    def __init__(
        self,
        path: Path,
        busy_s: float = BUSY_S,
        keys: KeySource | None = None,
        *,
        is_alone: bool = True,
    ) -> None:
        """keys: where the hub key is; the file beside the store where nothing else is said.
        is_alone: nobody else uses the store now, so it may be migrated and half a rotation finished."""
        self._keys = keys or KeyFile(path.with_name(VAULT_FILE))
        self._database = Database(path, busy_s)
        self._opened: _Opened | None = None
        try:
            self._vault = open_tables(self._database, self._keys, is_alone=is_alone)
        except StoreError:
            self._database.close()
            raise

    @property
    def database(self) -> Database:
        return self._database

    @property
    def vault(self) -> Vault:
        return self._vault

    def close(self) -> None:
        self._database.close()

    # --- people -----------------------------------------------------------------------------

    def add(self, name: str, new: Sequence[NewTemplate], consent: NewConsent | None, now: float) -> Person:
        """Enrol a person, or add templates to a known one; a consent replaces the live one.

        Raises ConflictError where the person would hold more than limits.MAX_TEMPLATES.
        """
        with self._database.transaction() as db:
            row = self._find(db, name)
            if row is None:
                identity = secrets.token_hex(8)
                key, wrapped = self._vault.new_key(identity)
                values = {"id": identity, "name": name, "name_key": name_key(name), "added_at": now}
                db.execute(insert(identities).values(**values))
                db.execute(insert(identity_keys).values(identity=identity, wrapped=wrapped))
            else:
                identity, key = row.id, self._key(db, row.id)
            held = db.scalar(
                select(func.count()).select_from(templates).where(templates.c.identity == identity)
            )
            if (held or 0) + len(new) > limits.MAX_TEMPLATES:
                raise ConflictError(f"one person holds at most {limits.MAX_TEMPLATES} photos")
            for template in new:
                uid = secrets.token_hex(8)
                db.execute(insert(templates).values(sealing.template_row(key, identity, template, now, uid)))
                if template.photo is not None:
                    photo = sealing.photo_row(key, identity, uid, template.photo)
                    db.execute(insert(photos).values(photo))
            if consent is not None:
                self._grant(db, key, identity, consent, now)
            count = self._changed(db, are_templates=True)
            person = self._person(db, self._get(db, name), now)
        self._follow(count, lambda opened: _with(opened, person.identity, new))
        return person

    def remove(self, name: str, now: float) -> Erased:
        """Forget a person for good: key, templates, photos, consents. Raises NotFoundError.

        Where the hub key is a file, all other people's keys are wrapped anew and the old hub key is
        destroyed, so that no earlier copy of the store alone opens what was erased.
        """
        with self._database.transaction() as db:
            row = self._get(db, name)
            person = self._person(db, row, now)
            embeddings = erase.embeddings(db, self._key(db, row.id), row.id)
            erase.destroy(db, row.id, now)
            rotated = erase.rewrap(db, self._vault, self._keys)
            count = self._changed(db, are_templates=True)
        self._follow(count, lambda opened: opened.gallery.without(row.id))
        is_old_key_destroyed = rotated is not None and self._adopt(rotated)
        is_log_empty = self._database.empty_log()
        with self._database.snapshot() as db:
            left = erase.rows_of(db, row.id)
        return Erased(person, embeddings, left, is_log_empty, is_old_key_destroyed)

    def rotate(self, to: Vault | None = None) -> Vault:
        """Wrap every identity's key with a new hub key, and destroy the old one where it is a file.

        to: the new key where somebody else keeps it. Raises StoreError, VaultError.
        """
        with self._database.transaction() as db:
            vault = to or self._keys.prepare()
            erase.rewrap_all(db, self._vault, vault)
        if to is None:
            self._keys.finish()
        self._vault = vault
        self._database.empty_log()
        return vault

    def show(self, name: str, now: float) -> Person:
        """Raises NotFoundError."""
        with self._database.transaction() as db:
            return self._person(db, self._get(db, name), now)

    def page(self, after: str, limit: int, now: float) -> tuple[list[Person], bool]:
        """Up to `limit` people in order of their names, after the name `after`; whether more follow."""
        with self._database.transaction() as db:
            query = select(identities).order_by(identities.c.name_key).limit(limit + 1)
            if after:
                query = query.where(identities.c.name_key > name_key(after))
            rows = db.execute(query).all()
            return [self._person(db, row, now) for row in rows[:limit]], len(rows) > limit

    def names(self) -> dict[str, str]:
        """The name of everyone enrolled, by identity."""
        with self._database.transaction() as db:
            return {row.id: row.name for row in db.execute(select(identities.c.id, identities.c.name))}

    def photos(self, identity: str) -> dict[int, bytes]:
        """The kept photos of a person (JPEG crops), by the place of their template in `Person.templates`."""
        with self._database.transaction() as db:
            uids = db.scalars(
                select(templates.c.uid).where(templates.c.identity == identity).order_by(templates.c.id)
            ).all()
            rows = db.execute(select(photos).where(photos.c.identity == identity)).all()
            if not rows:
                return {}
            key = self._key(db, identity)
            return {uids.index(row.template): sealing.photo_of(key, row) for row in rows}

    # --- consents ---------------------------------------------------------------------------

    def grant(self, name: str, consent: NewConsent, now: float) -> Person:
        """Record a consent in place of the live one. Raises NotFoundError, ConflictError."""
        with self._database.transaction() as db:
            row = self._get(db, name)
            self._grant(db, self._key(db, row.id), row.id, consent, now)
            self._changed(db)
            return self._person(db, row, now)

    def withdraw(self, name: str, now: float) -> Person:
        """End every live consent of a person. Raises NotFoundError."""
        with self._database.transaction() as db:
            row = self._get(db, name)
            self._withdraw(db, self._key(db, row.id), row.id, now)
            self._changed(db)
            return self._person(db, row, now)

    # --- receipts ---------------------------------------------------------------------------

    def keep_receipt(self, identity: str, text: str) -> None:
        """Keep the signed receipt of an erasure."""
        with self._database.transaction() as db:
            db.execute(update(ended).where(ended.c.id == identity).values(receipt=text))

    def receipt(self, identity: str) -> str:
        """Raises NotFoundError."""
        with self._database.transaction() as db:
            text: str | None = db.scalar(select(ended.c.receipt).where(ended.c.id == identity))
        if text is None:
            raise NotFoundError("no receipt is kept for that identity")
        return text

    # --- what recognition needs ---------------------------------------------------------------

    def load(self, model_id: str, dimension: int, now: float) -> tuple[Gallery, dict[str, LiveConsent]]:
        """The gallery of one model and the consents that live at `now`, by identity."""
        with self._database.transaction() as db:
            version = db.scalar(select(meta.c.value).where(meta.c.key == "version")) or 0
            keys = self._all_keys(db)
            opened = self._opened = self._open(db, keys, model_id, dimension)
            live = db.execute(
                select(consents, identities.c.name)
                .join(identities, identities.c.id == consents.c.identity)
                .where(consents.c.withdrawn_at.is_(None))
                .where((consents.c.until.is_(None)) | (consents.c.until > now))
            ).all()
        by_identity = {}
        for row in live:
            cameras = frozenset(sealing.cameras_of(row.cameras))
            sealing.note_of(_key_of(keys, row), row)  # opens only where nobody has edited the terms
            by_identity[row.identity] = LiveConsent(row.identity, row.name, cameras, row.until, row.id)
        return opened.gallery.numbered(version), by_identity

    def count_other_models(self, model_id: str) -> int:
        """People who hold templates, but none of this model: they are not recognized until re-enrolled."""
        with self._database.transaction() as db:
            known = select(templates.c.identity).where(templates.c.model_id == model_id)
            query = select(func.count(func.distinct(templates.c.identity))).where(
                templates.c.identity.not_in(known)
            )
            return db.scalar(query) or 0

    # --- inside a transaction -----------------------------------------------------------------

    def _find(self, db: Connection, name: str) -> Row[Any] | None:
        return db.execute(select(identities).where(identities.c.name_key == name_key(name))).one_or_none()

    def _get(self, db: Connection, name: str) -> Row[Any]:
        row = self._find(db, name)
        if row is None:
            raise NotFoundError(f"nobody named {name} is enrolled")
        return row

    def _key(self, db: Connection, identity: str) -> IdentityKey:
        wrapped = db.scalar(select(identity_keys.c.wrapped).where(identity_keys.c.identity == identity))
        if wrapped is None:
            raise StoreError("the key of a stored person is missing: the store is damaged")
        return self._vault.unwrap(identity, wrapped)

    def _all_keys(self, db: Connection) -> dict[str, IdentityKey]:
        rows = db.execute(select(identity_keys)).all()
        return {row.identity: self._vault.unwrap(row.identity, row.wrapped) for row in rows}

    def _open(self, db: Connection, keys: dict[str, IdentityKey], model_id: str, dimension: int) -> _Opened:
        """The gallery of a model, opened anew only where somebody else has changed templates: a consent
        that ends must not wait for everybody's templates."""
        count = db.scalar(select(meta.c.value).where(meta.c.key == TEMPLATES_CHANGED)) or 0
        opened = self._opened
        about = (count, model_id, dimension)
        if opened is not None and (opened.count, opened.model_id, opened.gallery.dimension) == about:
            return opened
        of_model = templates.c.model_id == model_id
        total = db.scalar(select(func.count()).select_from(templates).where(of_model)) or 0
        query = select(templates).where(of_model).order_by(templates.c.id)
        gallery = Gallery.empty(dimension, folder=self._database.path.parent)
        rows = db.execute(query.execution_options(yield_per=OPENED_AT_ONCE))
        for part in rows.partitions():
            blobs = [sealing.embedding_of(_key_of(keys, row), row) for row in part]
            owners = [row.identity for row in part]
            gallery = gallery.with_templates(owners, sealing.from_bytes(blobs, dimension))
            if len(gallery) % REPORT_EVERY == 0:
                log.info("opening templates: %d of %d", len(gallery), total)
        return _Opened(count, model_id, gallery)

    def _follow(self, count: int, change: Callable[[_Opened], Gallery]) -> None:
        """Make a change of ours, the `count`-th of all, in the opened gallery, too; everything is opened
        anew where somebody else has changed it meanwhile."""
        opened, self._opened = self._opened, None
        if opened is None or opened.count != count - 1:
            return
        try:
            self._opened = _Opened(count, opened.model_id, change(opened))
        except StoreError as exc:
            # The change itself is made: who reads the gallery next opens it anew, and is told if that fails.
            log.warning("everybody's templates are opened anew: %s", exc)

    def _adopt(self, vault: Vault) -> bool:
        """Go on with the prepared hub key; whether the old one could be destroyed."""
        self._vault = vault
        try:
            self._keys.finish()
        except VaultError as exc:
            erase.log.error("the old hub key is not destroyed before the next start: %s", exc)
            return False
        return True

    def _grant(
        self, db: Connection, key: IdentityKey, identity: str, consent: NewConsent, now: float
    ) -> None:
        held = db.scalar(select(func.count()).select_from(consents).where(consents.c.identity == identity))
        if (held or 0) >= limits.MAX_CONSENTS:
            raise ConflictError(f"one person's history holds at most {limits.MAX_CONSENTS} consents")
        self._withdraw(db, key, identity, now)
        values = {
            "id": secrets.token_hex(8), "identity": identity, "granted_at": now, "until": consent.until,
            "withdrawn_at": None, "cameras": json.dumps(list(consent.cameras)),
        }  # fmt: skip
        db.execute(insert(consents).values(sealing.consent_row(key, values, consent.note)))

    def _withdraw(self, db: Connection, key: IdentityKey, identity: str, now: float) -> None:
        live = select(consents).where(consents.c.identity == identity, consents.c.withdrawn_at.is_(None))
        for row in db.execute(live).all():
            note = sealing.note_of(key, row)
            values = {k: v for k, v in row._mapping.items() if k != "note"} | {"withdrawn_at": now}
            sealed = sealing.consent_row(key, values, note)
            db.execute(update(consents).where(consents.c.id == row.id).values(sealed))

    def _changed(self, db: Connection, *, are_templates: bool = False) -> int:
        """How often templates have changed; 0 where they have not now."""
        db.execute(update(meta).where(meta.c.key == "version").values(value=meta.c.value + 1))
        if are_templates:
            count_change(db)
            return db.scalar(select(meta.c.value).where(meta.c.key == TEMPLATES_CHANGED)) or 0
        return 0

    def _person(self, db: Connection, row: Row[Any], now: float) -> Person:
        key = self._key(db, row.id)
        history = db.execute(
            select(consents).where(consents.c.identity == row.id).order_by(consents.c.granted_at)
        ).all()
        kept = db.execute(
            select(templates).where(templates.c.identity == row.id).order_by(templates.c.id)
        ).all()
        with_photo = set(db.scalars(select(photos.c.template).where(photos.c.identity == row.id)).all())
        live = any(c.withdrawn_at is None and (c.until is None or c.until > now) for c in history)
        return Person(
            identity=row.id, name=row.name, added_at=row.added_at, consented=live,
            consents=tuple(
                Consent(
                    id=c.id, granted_at=c.granted_at, until=c.until, withdrawn_at=c.withdrawn_at,
                    cameras=sealing.cameras_of(c.cameras), note=sealing.note_of(key, c),
                )
                for c in history
            ),
            templates=tuple(
                Template(
                    model_id=t.model_id, source=sealing.source_of(key, t), quality=t.quality,
                    added_at=t.added_at, photo_kept=t.uid in with_photo,
                )
                for t in kept
            ),
        )  # fmt: skip


def name_key(name: str) -> str:
    """Equal for names that people read as equal: letter case, composed and decomposed accents."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def count_change(db: Connection) -> None:
    """Templates have come or gone."""
    if not db.execute(
        update(meta).where(meta.c.key == TEMPLATES_CHANGED).values(value=meta.c.value + 1)
    ).rowcount:
        db.execute(insert(meta).values(key=TEMPLATES_CHANGED, value=1))


def _with(opened: _Opened, identity: str, new: Sequence[NewTemplate]) -> Gallery:
    blobs = [sealing.to_bytes(t.embedding) for t in new if t.model_id == opened.model_id]
    rows = sealing.from_bytes(blobs, opened.gallery.dimension)
    return opened.gallery.with_templates([identity] * len(blobs), rows)


def _key_of(keys: dict[str, IdentityKey], row: Any) -> IdentityKey:
    key = keys.get(row.identity)
    if key is None:
        raise StoreError("the key of a stored person is missing: the store is damaged")
    return key
