"""Passwords: which are taken, how they are kept (argon2id), and work that costs the same for unknown users.

Blocking: a hash takes some ten milliseconds of one core and 64 MiB. `hub.web.accounts` calls it in a thread.
"""

from __future__ import annotations

import unicodedata

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from hub.errors import HubError

MIN_CHARS = 12
"""Long enough to be several words; rules about digits and signs make passwords worse, not better."""
MAX_BYTES = 1_024
"""What arrives is bounded; no person types more."""


class PasswordError(HubError):
    """The password cannot be taken: one line that says why."""


def check_new(name: str, password: str) -> None:
    """Whether a password may become that of the user `name`. Raises PasswordError."""
    text = _normal(password)
    if len(text) < MIN_CHARS:
        raise PasswordError(f"A password has at least {MIN_CHARS} characters: several words are good.")
    if len(text.encode()) > MAX_BYTES:
        raise PasswordError("That password is too long.")
    if len(set(text.casefold())) < 5 or (
        len(name) > 3 and text.casefold().replace(name.casefold(), "") == ""
    ):
        raise PasswordError("That password is too easy to guess: take several words.")


class Passwords:
    """Hashes and checks. Safe to call from several threads."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        """hasher: cheaper in tests; RFC 9106's second choice (64 MiB, 3 passes) otherwise."""
        self._hasher = hasher or PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
        assert self._hasher.type is Type.ID, "argon2id, against both kinds of attack"
        self._nobody = self._hasher.hash("nobody has this password")

    def hash(self, password: str) -> str:
        """For the store; with its salt and costs."""
        return self._hasher.hash(_normal(password))

    def verify(self, kept: str | None, password: str) -> bool:
        """Whether this is the password. `kept` None: there is none, and finding that out takes as long."""
        is_known = kept is not None
        if len(password.encode("utf-8", "replace")) > 4 * MAX_BYTES:
            is_known, password = False, ""
        try:
            self._hasher.verify(kept if is_known and kept is not None else self._nobody, _normal(password))
        except (VerificationError, InvalidHashError):
            return False
        return is_known

    def is_outdated(self, kept: str) -> bool:
        """It was hashed at other costs: to be hashed again now that the password is at hand."""
        return self._hasher.check_needs_rehash(kept)


def _normal(password: str) -> str:
    """The same password from every keyboard: composed and decomposed signs are one."""
    return unicodedata.normalize("NFKC", password)
