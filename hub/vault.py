"""Encryption of what is kept about people: a key per identity, each wrapped by the key of the hub.

Owns the ciphers and where the hub's key comes from (a file, an environment variable or a systemd
credential); knows no tables and no names. AES-256-GCM throughout, with random nonces. What is sealed is
bound to what it is about, so that rows cannot be swapped. Used by `hub.store` and `hub.backup`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hub.secret_files import (
    MAX_SECRET_BYTES,
    SecretFileError,
    overwrite,
    read_secret,
    sync_folder,
    write_secret,
)
from hub.store.errors import StoreError

VAULT_VARIABLE = "VEILCAST_VAULT_KEY"
"""Environment variable that holds the hub key: 64 hexadecimal digits."""
VAULT_FILE = "vault.key"
"""In the state folder, and the name of the systemd credential."""
KEY_BYTES = 32
NONCE_BYTES = 12
_FORMAT = b"\x01"
_KEY_LINE = re.compile(r'^\s*(?:key\s*=\s*")?([0-9a-f]{64})"?\s*$', re.MULTILINE)


class VaultError(StoreError):
    """A key is missing or wrong, or something sealed cannot be opened. Nothing is changed by it."""


class IdentityKey:
    """The key of one identity: whoever destroys every copy of it has destroyed all it sealed."""

    def __init__(self, key: bytes) -> None:
        self.raw = key
        self._cipher = AESGCM(key)

    def seal(self, plain: bytes, *about: str) -> bytes:
        """Encrypt; opens again only with the same words `about` what it is."""
        return _seal(self._cipher, plain, about)

    def open(self, sealed: bytes, *about: str) -> bytes:
        """Decrypt. Raises VaultError where the bytes, or what they are about, are not those sealed."""
        return _open(self._cipher, sealed, about)


class Vault:
    """The hub's key. Printing it shows no secret."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key of {len(key)} bytes")
        self._cipher = AESGCM(key)
        self.id = hashlib.sha256(b"veilcast vault key id\0" + key).hexdigest()[:16]
        """Tells keys apart and gives nothing of them away."""

    def new_key(self, identity: str) -> tuple[IdentityKey, bytes]:
        """A random key for an identity, and the same wrapped, to be kept."""
        key = IdentityKey(AESGCM.generate_key(8 * KEY_BYTES))
        return key, self.wrap(identity, key)

    def wrap(self, identity: str, key: IdentityKey) -> bytes:
        return _seal(self._cipher, key.raw, ("identity key", identity))

    def unwrap(self, identity: str, wrapped: bytes) -> IdentityKey:
        """Raises VaultError."""
        return IdentityKey(_open(self._cipher, wrapped, ("identity key", identity)))


def _seal(cipher: AESGCM, plain: bytes, about: tuple[str, ...]) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return _FORMAT + nonce + cipher.encrypt(nonce, plain, _bound(about))


def _open(cipher: AESGCM, sealed: bytes, about: tuple[str, ...]) -> bytes:
    if sealed[:1] == _FORMAT and len(sealed) > 1 + NONCE_BYTES:
        try:
            return cipher.decrypt(sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :], _bound(about))
        except InvalidTag:
            pass  # told below, without the cause: it says nothing more
    raise VaultError(f"a stored {about[0]} cannot be opened: the store is damaged or was edited")


def _bound(about: tuple[str, ...]) -> bytes:
    """Each word with its length, so that no two lists of words give the same bytes."""
    return b"".join(len(word).to_bytes(4) + word for word in (text.encode() for text in about))


# --- where the hub's key comes from ---------------------------------------------------------------


class KeySource(Protocol):
    """A place that holds the hub's key."""

    place: str
    """In words, for error lines."""
    can_rotate: bool

    def take_or_create(self) -> Vault:
        """The key for a store that holds nothing encrypted yet. Raises VaultError."""
        ...

    def find(self, key_id: str) -> Vault:
        """The key of this id. Raises VaultError where it is not there."""
        ...

    def settle(self, key_id: str) -> None:
        """Finish or undo a rotation that was cut short; only for whoever holds the store alone."""
        ...

    def prepare(self) -> Vault:
        """A new key, kept beside the present one. Raises VaultError."""
        ...

    def finish(self) -> None:
        """Destroy the present key and put the prepared one in its place. Raises VaultError."""
        ...


class GivenKey:
    """A key that somebody else keeps: an environment variable or a systemd credential."""

    can_rotate = False

    def __init__(self, text: str, place: str) -> None:
        self.place = place
        self._text = text

    def take_or_create(self) -> Vault:
        return Vault(_parsed(self._text, self.place))

    def find(self, key_id: str) -> Vault:
        vault = self.take_or_create()
        if vault.id != key_id:
            raise _wrong_key(self.place, vault.id, key_id)
        return vault

    def settle(self, key_id: str) -> None:
        """Nothing is left half done here."""

    def prepare(self) -> Vault:
        raise VaultError(f"{self.place} is not written by the hub: veilcast-hub vault rotate --to FILE")

    def finish(self) -> None:
        raise VaultError(f"{self.place} is not written by the hub")


class KeyFile:
    """The key in a file with mode 0600. During a rotation the next one lies beside it."""

    can_rotate = True

    def __init__(self, path: Path) -> None:
        self.place = str(path)
        self._path = path
        self._next = path.with_name(path.name + ".next")

    def take_or_create(self) -> Vault:
        key = _read(self._path)
        if key is None:
            key = os.urandom(KEY_BYTES)
            _write(self._path, key)
        return Vault(key)

    def find(self, key_id: str) -> Vault:
        present = _read(self._path, is_leniently=self._next.exists())
        following = _read(self._next, is_leniently=True)
        for key in (present, following):
            if key is not None and Vault(key).id == key_id:
                return Vault(key)
        if present is None:
            raise VaultError(
                f"{self.place}: the key of the enrolled people (id {key_id}) is missing; "
                "bring it back, nobody can be recognized without it"
            )
        raise _wrong_key(self.place, Vault(present).id, key_id)

    def settle(self, key_id: str) -> None:
        following = _read(self._next, is_leniently=True)
        if following is not None and Vault(following).id == key_id:
            self.finish()
        elif self._next.exists():
            self._discard_next()

    def prepare(self) -> Vault:
        if self._next.exists():
            self._discard_next()
        key = os.urandom(KEY_BYTES)
        _write(self._next, key)
        return Vault(key)

    def finish(self) -> None:
        try:
            overwrite(self._path)
            self._next.replace(self._path)
            sync_folder(self._path.parent)
        except SecretFileError as exc:
            raise VaultError(str(exc)) from exc
        except OSError as exc:
            raise VaultError(f"{self.place}: cannot be replaced: {exc.strerror}") from exc

    def _discard_next(self) -> None:
        try:
            overwrite(self._next)
            self._next.unlink()
        except SecretFileError as exc:
            raise VaultError(str(exc)) from exc
        except OSError as exc:
            raise VaultError(f"{self._next}: cannot be removed: {exc.strerror}") from exc


def key_source(folder: Path, environment: Mapping[str, str]) -> KeySource:
    """Where the key of the hub in this folder is: environment, systemd credential, else its file.

    Raises VaultError where a credential cannot be read.
    """
    text = environment.get(VAULT_VARIABLE)
    if text is not None:
        return GivenKey(text, f"the environment variable {VAULT_VARIABLE}")
    credentials = environment.get("CREDENTIALS_DIRECTORY")
    if credentials:
        path = Path(credentials) / VAULT_FILE
        # systemd guards these by a mount of their own; their mode follows access lists, not ours.
        try:
            with path.open("rb") as file:
                data = file.read(MAX_SECRET_BYTES)
        except FileNotFoundError:
            return KeyFile(folder / VAULT_FILE)
        except OSError as exc:
            raise VaultError(f"the credential {path} cannot be read: {exc.strerror}") from exc
        return GivenKey(data.decode("ascii", "replace"), f"the credential {path}")
    return KeyFile(folder / VAULT_FILE)


def write_key_file(path: Path) -> Vault:
    """Make a new hub key in a new file (mode 0600). Raises VaultError."""
    key = os.urandom(KEY_BYTES)
    _write(path, key)
    return Vault(key)


def _read(path: Path, is_leniently: bool = False) -> bytes | None:
    """The key in a file; None where there is none, or, leniently, where it holds no key."""
    try:
        data = read_secret(path)
    except SecretFileError as exc:
        raise VaultError(str(exc)) from exc
    if data is None:
        return None
    text = data.decode("ascii", "replace")
    if is_leniently and _KEY_LINE.search(text) is None:
        return None
    return _parsed(text, str(path))


def _write(path: Path, key: bytes) -> None:
    text = (
        "# Veilcast vault key: it opens what the hub keeps about enrolled people (people.db).\n"
        "# Without it nobody can be recognized. Keep copies of the two apart.\n"
        f'key = "{key.hex()}"\n'
    )
    try:
        write_secret(path, text.encode())
    except SecretFileError as exc:
        raise VaultError(str(exc)) from exc


def _parsed(text: str, place: str) -> bytes:
    match = _KEY_LINE.search(text)
    if match is None:
        raise VaultError(f"{place} holds no key: 64 hexadecimal digits (0-9, a-f) are needed")
    return bytes.fromhex(match[1])


def _wrong_key(place: str, found: str, needed: str) -> VaultError:
    return VaultError(
        f"{place} holds key {found}, and the enrolled people were encrypted with key {needed}: "
        "bring that one back"
    )
