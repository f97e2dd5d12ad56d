"""Signing in and out, slowed down for those who guess; passwords by link; the audit log told of all of it.

Lives in the hub's event loop. Hashing and the store run in threads. Owns the brakes; who may call what is
`hub.web.auth`'s part.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

from hub.errors import DeclinedError
from hub.store.errors import StoreError
from hub.web.access import User
from hub.web.brakes import Brake, BrakeSettings, address_key
from hub.web.passwords import Passwords, check_new
from hub.web.users import NAME_PATTERN, Account, Lifetime, UserStore, digest

log = logging.getLogger(__name__)
R = TypeVar("R")

BY_ADDRESS = BrakeSettings(free=10, longest_s=900.0)
BY_ACCOUNT = BrakeSettings(free=10, longest_s=60.0)
"""A short wait: others who guess must not keep the user out. A browser that has signed in before passes."""
BY_DEVICE = BrakeSettings(free=10, longest_s=60.0)
HASHED_AT_ONCE = 2
MAX_WAITING = 16
"""Attempts that wait for a hash, each some 50 ms; more are told to come again."""
SWEEP_EVERY_S = 60.0
WRONG = "Name or password is wrong."


class Audit(Protocol):
    """Who writes it down (hub.audit.desk)."""

    def note(self, by: str, what: str, **facts: object) -> None: ...

    async def recorded(self, by: str, what: str, **facts: object) -> None:
        """Returns once it is on the disk. Raises DeclinedError where that is not possible now."""
        ...


class LoginRefusedError(Exception):
    """One sentence for whoever wants to sign in; `wait_s` where trying again makes sense only then."""

    def __init__(self, text: str, wait_s: float = 0.0) -> None:
        super().__init__(text)
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What the browser is given."""

    account: Account
    session: str
    device: str


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks, as far as that is known before the password."""

    address: str
    session: str | None = None
    device: str | None = None


class Accounts:
    """From construction to `close`. `wall` gives UTC epoch seconds, `clock` monotonic ones."""

    def __init__(
        self,
        store: UserStore,
        audit: Audit,
        lifetime: Lifetime,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        passwords: Passwords | None = None,
    ) -> None:
        self._store = store
        self._audit = audit
        self._lifetime = lifetime
        self._wall = wall
        self._clock = clock
        self._passwords = passwords or Passwords()
        self._addresses, self._names = Brake(BY_ADDRESS), Brake(BY_ACCOUNT)
        self._devices = Brake(BY_DEVICE)
        self._strangers = asyncio.Semaphore(HASHED_AT_ONCE)
        self._known = asyncio.Semaphore(1)
        self._waiting = 0
        self._braked = 0
        """Attempts refused unread since the last one that was looked at."""
        self._hashing = ThreadPoolExecutor(HASHED_AT_ONCE + 1, thread_name_prefix="passwords")
        self._storing = ThreadPoolExecutor(1, thread_name_prefix="users")

    async def close(self) -> None:
        await self.tell_audit()
        for pool in (self._hashing, self._storing):
            await asyncio.to_thread(pool.shutdown)
        self._store.close()

    # --- sessions -----------------------------------------------------------------------------

    async def login(self, name: str, password: str, client: Client) -> SignedIn:
        """Raises LoginRefusedError, which does not tell whether the user exists."""
        account = await self._in_store(self._find, name)
        device = await self._known_device(account, client)
        now = self._clock()
        brakes = self._brakes(name, client, device)
        wait_s = max(brake.wait_s(key, now) for brake, key in brakes)
        if wait_s > 0:
            self._braked += 1
            raise LoginRefusedError(f"Too many attempts. Try again in {_words(wait_s)}.", wait_s)
        for brake, key in brakes:
            brake.begin(key, now)
        kept = None if account is None else account.password
        is_right = await self._verify(kept, password, is_known=device is not None)
        braked, self._braked = self._braked, 0
        facts: dict[str, object] = {"address": client.address, **({"braked": braked} if braked else {})}
        if account is None or not is_right:
            user = "" if account is None else account.user.name  # else it could be a password, typed there
            self._audit.note("web", "login", result="refused", user=user, **facts)
            raise LoginRefusedError(WRONG)
        for brake, key in brakes:
            brake.passed(key)
        signed_in = await self._open(account, client.session, device)
        self._audit.note(account.user.peer.name, "login", **facts)
        if self._passwords.is_outdated(account.password or ""):
            text = await self._hash(password)
            await self._in_store(self._store.rehash, account, text)
        return signed_in

    async def find(self, session: str) -> User | None:
        """Whose session this is; None where it is over."""
        account = await self._in_store(self._store.session, session, self._lifetime, self._wall())
        return None if account is None else account.user

    async def logout(self, session: str, user: User) -> None:
        await self._in_store(self._store.end_session, session)
        self._audit.note(user.peer.name, "logout")

    # --- passwords ----------------------------------------------------------------------------

    async def link_of(self, code: str) -> tuple[str, str] | None:
        """("first", "") or ("reset", name of the user): what a one-time code is good for now."""
        found = await self._in_store(self._store.link_of, code, self._wall())
        if found is None:
            return None
        kind, account = found
        return kind, "" if account is None else account.user.name

    async def use_link(self, code: str, name: str, password: str, client: Client) -> SignedIn | None:
        """Set a password and sign in; None where the code is not good.

        Raises PasswordError and ConflictError, and the code stays good.
        """
        found = await self.link_of(code)
        if found is None:
            return None
        kind, owner = found
        check_new(name if kind == "first" else owner, password)
        text = await self._hash(password)
        account = await self._in_store(self._store.use_link, code, name, text, self._wall())
        if account is None:
            return None
        await self.tell_audit()
        self._names.passed(account.user.name.casefold())
        signed_in = await self._open(account, client.session, None)
        self._audit.note(account.user.peer.name, "login", address=client.address, by_link=True)
        return signed_in

    async def change_password(self, user: User, old: str, new: str, client: Client) -> SignedIn:
        """All sessions end, and a new one begins. Raises LoginRefusedError, PasswordError."""
        check_new(user.name, new)
        key, now = f"change {user.name.casefold()}", self._clock()
        wait_s = self._devices.wait_s(key, now)
        if wait_s > 0:
            raise LoginRefusedError(f"Too many attempts. Try again in {_words(wait_s)}.", wait_s)
        self._devices.begin(key, now)
        account = await self._in_store(self._find, user.name)
        kept = None if account is None else account.password
        if not await self._verify(kept, old, is_known=True) or account is None:
            self._audit.note(user.peer.name, "change-password", result="refused", address=client.address)
            raise LoginRefusedError("The present password is wrong.")
        self._devices.passed(key)
        text = await self._hash(new)
        await self._in_store(self._store.set_password, account, text, user.peer.name, self._wall())
        await self.tell_audit()
        return await self._open(account, client.session, None)

    # --- the audit log, and what is over ------------------------------------------------------

    async def keep(self) -> None:
        """Tell the audit log what commands have changed, and forget what is over, until cancelled."""
        sweep_at = 0.0
        while True:
            try:
                await self.tell_audit()
                if self._clock() >= sweep_at:
                    sweep_at = self._clock() + SWEEP_EVERY_S
                    await self._in_store(self._store.sweep, self._lifetime, self._wall())
            except StoreError as exc:
                log.error("users: %s", exc)
            await asyncio.sleep(1.0)

    async def tell_audit(self) -> None:
        """What has happened to users stays in the store until the audit log has it on the disk."""
        while happened := await self._in_store(self._store.happened):
            for one in happened:
                try:
                    await self._audit.recorded(one.by, one.what, changed_at=one.at, **one.facts)
                except DeclinedError as exc:
                    log.warning("changes of users wait for the audit log: %s", exc)
                    return
            await self._in_store(self._store.told, [one.id for one in happened])

    # --- parts --------------------------------------------------------------------------------

    def _find(self, name: str) -> Account | None:
        return self._store.find(name) if NAME_PATTERN.fullmatch(name) else None

    async def _known_device(self, account: Account | None, client: Client) -> str | None:
        """The browser's secret, if this user has signed in with it; looked up for nobody as well."""
        if client.device is None:
            return None
        is_known = await self._in_store(self._store.knows_device, account, client.device)
        return client.device if is_known else None

    def _brakes(self, name: str, client: Client, device: str | None) -> list[tuple[Brake, str]]:
        """Who is slowed down. A known browser answers for itself alone."""
        if device is not None:
            return [(self._devices, digest(device).hex())]
        user = name.casefold() if NAME_PATTERN.fullmatch(name) else ""
        return [(self._addresses, address_key(client.address)), (self._names, user)]

    async def _verify(self, kept: str | None, password: str, *, is_known: bool) -> bool:
        lane = self._known if is_known else self._strangers
        if not is_known and self._waiting >= MAX_WAITING:
            raise LoginRefusedError("Many are signing in. Try again in a moment.", 2.0)
        self._waiting += 1
        try:
            async with lane:
                return await self._in(self._hashing, self._passwords.verify, kept, password)
        finally:
            self._waiting -= 1

    async def _hash(self, password: str) -> str:
        async with self._known:
            return await self._in(self._hashing, self._passwords.hash, password)

    async def _open(self, account: Account, replaced: str | None, device: str | None) -> SignedIn:
        now = self._wall()
        session = await self._in_store(self._store.open_session, account, replaced, now)
        if device is None:
            device = await self._in_store(self._store.remember_device, account, now)
        return SignedIn(account, session, device)

    async def _in_store(self, function: Callable[..., R], *args: object) -> R:
        return await self._in(self._storing, function, *args)

    async def _in(self, pool: ThreadPoolExecutor, function: Callable[..., R], *args: object) -> R:
        return await asyncio.get_running_loop().run_in_executor(pool, function, *args)


def _words(seconds: float) -> str:
    whole = math.ceil(seconds)
    return f"{whole} s" if whole < 120 else f"{math.ceil(whole / 60)} minutes"
