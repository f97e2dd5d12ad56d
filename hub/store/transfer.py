"""[I/O] The rows of a store as records of a backup, and back into a store: all of them or none.

What was erased or withdrawn here since a backup was made stays so, however old the backup. Rows stay sealed
as they are; only the keys of the identities are wrapped anew. Used by `hub.people_commands`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import Connection, delete, func, insert, select, update

from hub import backup
from hub.backup import AnyRecord, BackupError
from hub.store import sealing
from hub.store.errors import ConflictError
from hub.store.people import PeopleStore, count_change, name_key
from hub.store.schema import consents, ended, identities, identity_keys, meta, photos, templates
from hub.vault import IdentityKey

Mode = Literal["empty", "merge", "replace"]
Table = Any


@dataclass(slots=True)
class Restored:
    """What a restore did, in people."""

    people: int = 0
    kept: int = 0
    """Enrolled here already, under that name or id, and left as they are."""
    left_out: int = 0
    """Erased since."""
    still_here: int = 0
    """Erased according to the backup, and enrolled here: left as they are."""
    made_at: float = 0.0


def records_of(store: PeopleStore, now: float) -> Iterator[AnyRecord]:
    """Everything, from one unchanging view. Raises StoreError, VaultError."""
    with store.database.snapshot() as db:
        version = db.scalar(select(meta.c.value).where(meta.c.key == "version")) or 0
        people = db.scalar(select(func.count()).select_from(identities)) or 0
        yield backup.Head(made_at=now, version=version, people=people)
        for row in db.execute(select(ended)).all():
            yield backup.Ended(id=row.id, kind=row.kind, at=row.at, receipt=row.receipt)
        whole = (
            select(identities, identity_keys.c.wrapped).join(identity_keys).order_by(identities.c.name_key)
        )
        for row in db.execute(whole).all():
            key = store.vault.unwrap(row.id, row.wrapped)
            yield backup.Identity(id=row.id, name=row.name, added_at=row.added_at, key=key.raw)
            yield from _rows(db, row.id)


def _rows(db: Connection, identity: str) -> Iterator[AnyRecord]:
    kept: tuple[tuple[Table, type[AnyRecord], Any], ...] = (
        (templates, backup.TemplateRow, templates.c.id),
        (photos, backup.PhotoRow, photos.c.template),
        (consents, backup.ConsentRow, consents.c.granted_at),
    )
    for table, kind, order in kept:
        for row in db.execute(select(table).where(table.c.identity == identity).order_by(order)):
            fields = kind.__struct_fields__
            yield kind(**{name: row._mapping[name] for name in fields})


@dataclass(slots=True)
class _Restore:
    """One restore under way, inside its transaction."""

    db: Connection
    store: PeopleStore
    now: float
    end_consents: bool
    done: Restored = field(default_factory=Restored)
    erased: set[str] = field(default_factory=set)
    withdrawn: dict[str, float] = field(default_factory=dict)
    key: IdentityKey | None = None
    """Of the identity whose rows come; None where they are passed over."""
    identity: str = ""

    def take(self, record: AnyRecord) -> None:
        match record:
            case backup.Head():
                self.done.made_at = record.made_at
                version = func.max(meta.c.value, record.version) + 1
                self.db.execute(update(meta).where(meta.c.key == "version").values(value=version))
            case backup.Ended():
                self._take_ended(record)
            case backup.Identity():
                self._take_identity(record)
            case backup.TemplateRow() | backup.PhotoRow() | backup.ConsentRow():
                self._take_row(record)

    def remember(self, id_: str, kind: str, at: float, receipt: str | None) -> None:
        known = self.db.scalar(select(func.count()).select_from(ended).where(ended.c.id == id_))
        if not known:
            self.db.execute(insert(ended).values(id=id_, kind=kind, at=at, receipt=receipt))
        if kind == "identity":
            self.erased.add(id_)
        else:
            self.withdrawn.setdefault(id_, at)

    def _take_ended(self, record: backup.Ended) -> None:
        self.remember(record.id, record.kind, record.at, record.receipt)
        here = select(func.count()).select_from(identities).where(identities.c.id == record.id)
        self.done.still_here += bool(self.db.scalar(here))

    def _take_identity(self, record: backup.Identity) -> None:
        self.identity, self.key = record.id, None
        if record.id in self.erased:
            self.done.left_out += 1
            return
        folded = name_key(record.name)
        here = select(func.count()).where((identities.c.id == record.id) | (identities.c.name_key == folded))
        if self.db.scalar(here):
            self.done.kept += 1
            return
        self.key = IdentityKey(record.key)
        values = {"id": record.id, "name": record.name, "name_key": folded, "added_at": record.added_at}
        self.db.execute(insert(identities).values(**values))
        wrapped = self.store.vault.wrap(record.id, self.key)
        self.db.execute(insert(identity_keys).values(identity=record.id, wrapped=wrapped))
        self.done.people += 1

    def _take_row(self, record: backup.TemplateRow | backup.PhotoRow | backup.ConsentRow) -> None:
        if record.identity != self.identity:
            raise BackupError("the backup is damaged: its parts are not in order")
        if self.key is None:
            return
        values = {name: getattr(record, name) for name in record.__struct_fields__}
        row = _Row(values)
        # Each is opened once: what cannot be used must not take the place of what can.
        match record:
            case backup.TemplateRow():
                sealing.embedding_of(self.key, row)
                sealing.source_of(self.key, row)
                self.db.execute(insert(templates).values(values))
            case backup.PhotoRow():
                sealing.photo_of(self.key, row)
                self.db.execute(insert(photos).values(values))
            case backup.ConsentRow():
                self.db.execute(
                    insert(consents).values(self._consent(values, sealing.note_of(self.key, row)))
                )

    def _consent(self, values: dict[str, Any], note: str) -> dict[str, Any]:
        """The row, with its end where it has ended since."""
        assert self.key is not None, "rows that are passed over do not come here"
        if values["withdrawn_at"] is None:
            at = self.withdrawn.get(values["id"], self.now if self.end_consents else None)
            values = {**values, "withdrawn_at": at}
        return sealing.consent_row(self.key, {k: v for k, v in values.items() if k != "note"}, note)


class _Row:
    """Values with the manners of a row."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._mapping = values

    def __getattr__(self, name: str) -> Any:
        return self._mapping[name]


def restore(
    store: PeopleStore,
    records: Iterable[AnyRecord],
    mode: Mode,
    now: float,
    *,
    erased: Iterable[tuple[str, str]] = (),
    end_consents: bool = False,
    on_person: Callable[[], None] = lambda: None,
) -> Restored:
    """Bring back what a backup holds, in one transaction.

    erased: (identity, receipt) of erasures elsewhere that count here too. end_consents: nobody is shown
    before a consent is granted anew. Raises ConflictError where people are enrolled and mode is "empty",
    BackupError, StoreError; then nothing is changed.
    """
    with store.database.transaction() as db:
        under_way = _Restore(db, store, now, end_consents)
        people = db.scalar(select(func.count()).select_from(identities)) or 0
        if people and mode == "empty":
            raise ConflictError(
                f"{people} people are enrolled here: --merge adds those of the backup that are not, "
                "--replace takes them out first"
            )
        for row in db.execute(select(ended)).all():
            under_way.remember(row.id, row.kind, row.at, row.receipt)
        for row in db.execute(select(consents).where(consents.c.withdrawn_at.is_not(None))).all():
            under_way.remember(row.id, "consent", row.withdrawn_at, None)
        for identity, receipt in erased:
            under_way.remember(identity, "identity", now, receipt)
        if mode == "replace":
            for table in (photos, templates, consents, identity_keys, identities):
                db.execute(delete(table))
        count_change(db)
        for record in records:
            under_way.take(record)
            if isinstance(record, backup.Identity):
                on_person()
    store.database.empty_log()
    return under_way.done
