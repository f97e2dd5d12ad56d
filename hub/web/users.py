"""[I/O] Users, their sessions and one-time links, in `users.db` of the state folder.

Of every secret but the password only a SHA-256 digest is kept; they are 256 random bits, so that is enough.
What changes a user is written down in the same transaction for the audit log (`happened`), also by a
command while the hub is stopped. Blocking. Times are UTC epoch seconds, given by the caller.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from hub.store.database import Database, schema_of
from hub.store.errors import ConflictError, NotFoundError, StoreError
from hub.web.access import Role, User
from hub.web.user_tables import SCHEMA_VERSION, devices, happenings, links, meta, metadata, sessions, users

USERS_FILE = "users.db"
"""In the state folder."""
NAME_PATTERN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}")
MAX_DEVICES = 16
"""Browsers that are remembered for one user; the oldest is forgotten first."""
MAX_SESSIONS = 32
"""Open at once for one user; the oldest ends first."""
LINK_S = 3_600.0
"""How long a one-time link opens."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user as kept. `password` is the argon2 text, None before it was set by a link."""

    id: str
    user: User
    password: str | None


@dataclass(frozen=True, slots=True)
class Lifetime:
    """When sessions end."""

    idle_s: float = 3_600.0
    longest_s: float = 43_200.0


@dataclass(frozen=True, slots=True)
class Happening:
    """Something for the audit log: who did what when, with plain JSON facts."""

    id: int
    at: float
    by: str
    what: str
    facts: dict[str, Any]


def check_name(name: str) -> str:
    """Raises ConflictError where this can be no user's name."""
    if not NAME_PATTERN.fullmatch(name):
        raise ConflictError("A user's name has 1 to 64 letters, digits, '_', '.', '-' and '@'.")
    return name


def new_secret() -> str:
    """256 random bits, for a cookie or a link."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> bytes:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()


class UserStore:
    """Open until `close`; several programs may have it open. Raises StoreError."""

    def __init__(self, state: Path) -> None:
        self._database = Database(state / USERS_FILE)
        try:
            with self._database.transaction() as db:
                _open_tables(db, self._database.path)
        except StoreError:
            self._database.close()
            raise

    def close(self) -> None:
        self._database.close()

    # --- users --------------------------------------------------------------------------------

    def all(self) -> list[Account]:
        """Everybody, by name."""
        with self._database.snapshot() as db:
            return [_account(row) for row in db.execute(select(users).order_by(users.c.name_key))]

    def find(self, name: str) -> Account | None:
        with self._database.snapshot() as db:
            row = _find(db, name)
            return None if row is None else _account(row)

    def has_admin(self) -> bool:
        """Somebody can sign in and say who else may."""
        with self._database.snapshot() as db:
            return _admins(db) > 0

    def add(self, user: User, password: str | None, by: str, now: float) -> Account:
        """Raises ConflictError where the name is taken."""
        check_name(user.name)
        with self._database.transaction() as db:
            if _find(db, user.name) is not None:
                raise ConflictError(f"There is a user {user.name} already.")
            values = {"id": secrets.token_hex(8), "name": user.name, "name_key": user.name.casefold()}
            db.execute(insert(users).values(**values, **_terms(user), password=password, added_at=now))
            _note(db, by, "add-user", now, user=user.name, role=user.role.value)
        return Account(values["id"], user, password)

    def remove(self, name: str, by: str, now: float) -> None:
        """And end all sessions. Raises NotFoundError; ConflictError for the last admin."""
        with self._database.transaction() as db:
            row = _known(db, name)
            db.execute(delete(users).where(users.c.id == row.id))
            _keep_an_admin(db, row)
            _note(db, by, "remove-user", now, user=row.name)

    def set_role(self, user: User, by: str, now: float) -> None:
        """Role, cameras and names from now on. Raises NotFoundError; ConflictError for the last admin."""
        with self._database.transaction() as db:
            row = _known(db, user.name)
            db.execute(update(users).where(users.c.id == row.id).values(**_terms(user)))
            _keep_an_admin(db, row)
            _note(db, by, "set-role", now, user=row.name, role=user.role.value)

    def set_password(self, account: Account, password: str, by: str, now: float) -> None:
        """And end all sessions, links and remembered browsers."""
        with self._database.transaction() as db:
            _set_password(db, account.id, password)
            _note(db, by, "change-password", now, user=account.user.name)

    def rehash(self, account: Account, password: str) -> None:
        """The same password at other costs, unless it was changed meanwhile."""
        with self._database.transaction() as db:
            is_same = (users.c.id == account.id) & (users.c.password == account.password)
            db.execute(update(users).where(is_same).values(password=password))

    # --- links --------------------------------------------------------------------------------

    def new_link(self, name: str | None, by: str, now: float) -> str:
        """A code with which a user sets the password; name None: the first admin. Older ones are void.

        Raises NotFoundError, and ConflictError for a first admin where there is one.
        """
        code = new_secret()
        with self._database.transaction() as db:
            if name is None and _admins(db):
                raise ConflictError("There is an admin already: give the name of a user.")
            owner = None if name is None else _known(db, name)
            user = None if owner is None else owner.id
            db.execute(delete(links).where(links.c.user.is_(None) if user is None else links.c.user == user))
            db.execute(insert(links).values(digest=digest(code), user=user, ends_at=now + LINK_S))
            if owner is not None:
                _note(db, by, "reset-link", now, user=owner.name)
        return code

    def link_of(self, code: str, now: float) -> tuple[str, Account | None] | None:
        """("first", None) or ("reset", whose): what a code is good for; None where for nothing."""
        with self._database.snapshot() as db:
            found = _link(db, code, now)
            if found is None:
                return None
            if found.user is None:
                return ("first", None)
            return ("reset", _account(db.execute(select(users).where(users.c.id == found.user)).one()))

    def use_link(self, code: str, name: str, password: str, now: float) -> Account | None:
        """Set a password by a code, which is void from then on; None where it is not good.

        name: of the first admin, who is made; taken only where the code is for that. Raises ConflictError.
        """
        with self._database.transaction() as db:
            found = _link(db, code, now)
            if found is None:
                return None
            db.execute(delete(links).where(links.c.digest == digest(code)))
            if found.user is None:
                return _first_admin(db, check_name(name), password, now)
            _set_password(db, found.user, password)
            row = db.execute(select(users).where(users.c.id == found.user)).one()
            _note(db, f"user {row.name}", "set-password", now, user=row.name)
            return _account(row)

    # --- sessions -----------------------------------------------------------------------------

    def open_session(self, account: Account, replaced: str | None, now: float) -> str:
        """A new id; the one that the browser had before is void."""
        token = new_secret()
        with self._database.transaction() as db:
            if replaced is not None:
                db.execute(delete(sessions).where(sessions.c.digest == digest(replaced)))
            values = {"user": account.id, "began_at": now, "seen_at": now}
            db.execute(insert(sessions).values(digest=digest(token), **values))
            _keep_newest(db, sessions, sessions.c.began_at, account.id, MAX_SESSIONS)
        return token

    def session(self, token: str, lifetime: Lifetime, now: float) -> Account | None:
        """Who has this session; None where it is over. Seen at most once a minute."""
        key = digest(token)
        joined = select(users, sessions.c.began_at, sessions.c.seen_at).join(sessions)
        with self._database.snapshot() as db:
            row = db.execute(joined.where(sessions.c.digest == key)).one_or_none()
        if row is None:
            return None
        if not _lasts(row.began_at, lifetime.longest_s, now) or not _lasts(row.seen_at, lifetime.idle_s, now):
            return None
        if now - row.seen_at > min(60.0, lifetime.idle_s / 4):
            with self._database.transaction() as db:
                db.execute(update(sessions).where(sessions.c.digest == key).values(seen_at=now))
        return _account(row)

    def end_session(self, token: str) -> None:
        with self._database.transaction() as db:
            db.execute(delete(sessions).where(sessions.c.digest == digest(token)))

    def sweep(self, lifetime: Lifetime, now: float) -> None:
        """Forget what is over."""
        is_over = (sessions.c.seen_at < now - lifetime.idle_s) | (
            sessions.c.began_at < now - lifetime.longest_s
        )
        with self._database.transaction() as db:
            db.execute(delete(sessions).where(is_over))
            db.execute(delete(links).where(links.c.ends_at <= now))

    # --- browsers that have signed in before --------------------------------------------------

    def remember_device(self, account: Account, now: float) -> str:
        """A secret for the browser: it is not slowed down by those who guess elsewhere."""
        token = new_secret()
        with self._database.transaction() as db:
            db.execute(insert(devices).values(digest=digest(token), user=account.id, at=now))
            _keep_newest(db, devices, devices.c.at, account.id, MAX_DEVICES)
        return token

    def knows_device(self, account: Account | None, token: str) -> bool:
        """The same work where there is no such user."""
        with self._database.snapshot() as db:
            owner = db.scalar(select(devices.c.user).where(devices.c.digest == digest(token)))
        return account is not None and bool(owner == account.id)

    # --- for the audit log, and for commands --------------------------------------------------

    def happened(self) -> list[Happening]:
        """What the audit log has not been told yet, oldest first, some at a time."""
        with self._database.snapshot() as db:
            rows = db.execute(select(happenings).order_by(happenings.c.id).limit(64)).all()
        return [Happening(r.id, r.at, r.by, r.what, json.loads(r.facts)) for r in rows]

    def told(self, ids: Collection[int]) -> None:
        with self._database.transaction() as db:
            db.execute(delete(happenings).where(happenings.c.id.in_(ids)))

    @property
    def url(self) -> str:
        """Where the hub last served its pages; empty before the first time."""
        with self._database.snapshot() as db:
            return db.scalar(select(meta.c.value).where(meta.c.key == "url")) or ""

    def set_url(self, url: str) -> None:
        with self._database.transaction() as db:
            db.execute(delete(meta).where(meta.c.key == "url"))
            db.execute(insert(meta).values(key="url", value=url))


def _open_tables(db: Connection, path: Path) -> None:
    found = schema_of(db, meta)
    if found is None:
        metadata.create_all(db)
        db.execute(insert(meta).values(key="schema", value=str(SCHEMA_VERSION)))
        return
    if found != str(SCHEMA_VERSION):
        raise StoreError(f"{path} was written by a newer Veilcast (schema {found}): update this one")


def _terms(user: User) -> dict[str, object]:
    cameras = None if user.cameras is None else json.dumps(sorted(user.cameras))
    return {"role": user.role.value, "cameras": cameras, "sees_names": user.sees_names}


def _account(row: Row[Any]) -> Account:
    try:
        cameras = None if row.cameras is None else frozenset(map(str, json.loads(row.cameras)))
        user = User(row.name, Role(row.role), cameras, bool(row.sees_names))
    except (ValueError, TypeError) as exc:  # never more rights than were written down
        raise StoreError("a stored user cannot be read: the store is damaged") from exc
    return Account(row.id, user, row.password)


def _find(db: Connection, name: str) -> Row[Any] | None:
    return db.execute(select(users).where(users.c.name_key == name.casefold())).one_or_none()


def _known(db: Connection, name: str) -> Row[Any]:
    row = _find(db, name)
    if row is None:
        raise NotFoundError(f"there is no user {name}; veilcast-hub users list shows who is")
    return row


def _lasts(since: float, longest_s: float, now: float) -> bool:
    """A clock that was set back lengthens nothing, but for a minute."""
    return -60.0 < now - since < longest_s


def _link(db: Connection, code: str, now: float) -> Row[Any] | None:
    is_good = (links.c.digest == digest(code)) & (links.c.ends_at > now)
    found = db.execute(select(links).where(is_good)).one_or_none()
    return None if found is not None and found.user is None and _admins(db) else found


def _admins(db: Connection) -> int:
    """Who have a password."""
    can_sign_in = (users.c.role == Role.ADMIN.value) & users.c.password.is_not(None)
    return db.scalar(select(func.count()).select_from(users).where(can_sign_in)) or 0


def _keep_an_admin(db: Connection, before: Row[Any]) -> None:
    if before.role == Role.ADMIN.value and before.password is not None and not _admins(db):
        raise ConflictError(f"{before.name} is the last admin who can sign in: make another one first")


def _first_admin(db: Connection, name: str, password: str, now: float) -> Account:
    user = User(name, Role.ADMIN)
    row = _find(db, name)
    if row is not None:  # added by a command, with a link that was never used
        if row.role != Role.ADMIN.value:
            raise ConflictError(f"There is a user {name} already, who is no admin: take another name.")
        _set_password(db, row.id, password)
        _note(db, f"user {row.name}", "set-password", now, user=row.name)
        return Account(row.id, user, password)
    values = {"id": secrets.token_hex(8), "name": name, "name_key": name.casefold(), "added_at": now}
    db.execute(insert(users).values(**values, **_terms(user), password=password))
    _note(db, "first link", "add-user", now, user=name, role=user.role.value)
    return Account(str(values["id"]), user, password)


def _set_password(db: Connection, user: str, password: str) -> None:
    db.execute(update(users).where(users.c.id == user).values(password=password))
    for table in (sessions, devices, links):
        db.execute(delete(table).where(table.c.user == user))


def _keep_newest(db: Connection, table: Any, age: Any, user: str, most: int) -> None:
    newest = select(table.c.digest).where(table.c.user == user).order_by(age.desc()).limit(most)
    db.execute(delete(table).where((table.c.user == user) & table.c.digest.not_in(newest)))


def _note(db: Connection, by: str, what: str, now: float, **facts: object) -> None:
    db.execute(insert(happenings).values(at=now, by=by, what=what, facts=json.dumps(facts)))
