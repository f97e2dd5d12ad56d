"""CURVE keys as files: a key pair (0600, refused otherwise), a public key, a folder of allowed ones.

Files are small TOML texts that a person can read and tell apart. The hub's allow-list is a folder:
`NAME.node.pub` lets a node in, `NAME.admin.pub` someone who enrols; removing the file shuts them out.
Used by every program that connects; never logs a key.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import zmq
from zmq.utils import z85

from protocol.errors import KeyFileError
from protocol.messages import Role
from protocol.new_file import write_new

KeyRole = Literal["hub", "node", "admin"]
NAME_PATTERN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
"""Names become file names."""
MAX_FILE_BYTES = 4_096
"""A key file has a few hundred bytes; what is larger is something else."""
_ALLOWED_FILE = re.compile(r"(?P<name>.+)\.(?P<role>node|admin)\.pub")


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Both halves in Z85 (40 bytes each). Printing it shows no secret."""

    name: str
    role: KeyRole
    public: bytes
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The half that may be shown around, and whom its file says it belongs to."""

    name: str
    role: KeyRole
    public: bytes


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom an allowed key belongs to."""

    name: str
    role: Role


def check_name(name: str) -> str:
    """The name, if it can be one of a node, an admin or a hub. Raises KeyFileError otherwise."""
    if not NAME_PATTERN.fullmatch(name):
        raise KeyFileError(
            f"{name!r} cannot be a name: 1 to 64 letters, digits, '_', '.' and '-', "
            "and the first is no '.' or '-'"
        )
    return name


def create_keypair(path: Path, name: str, role: KeyRole) -> KeyPair:
    """Make a new key pair and write it to `path` (mode 0600, folder made, never overwriting).

    Raises KeyFileError where the file exists or cannot be written.
    """
    public, secret = zmq.curve_keypair()
    pair = KeyPair(check_name(name), role, public, secret)
    text = (
        f"# Veilcast key pair of {role} {name}. Whoever reads this file can act as it: keep it here.\n"
        f'name = "{name}"\nrole = "{role}"\n'
        f'public = "{public.decode()}"\nsecret = "{secret.decode()}"\n'
    )
    _write_new(path, text, 0o600)
    return pair


def write_public_key(path: Path, pair: KeyPair | PublicKey) -> None:
    """Write the public half, never overwriting. Raises KeyFileError where the file exists."""
    text = (
        f"# Veilcast public key of {pair.role} {pair.name}. No secret.\n"
        f'name = "{pair.name}"\nrole = "{pair.role}"\npublic = "{pair.public.decode()}"\n'
    )
    _write_new(path, text, 0o644)


def load_keypair(path: Path) -> KeyPair:
    """Read a key pair. Raises KeyFileError where it is missing, damaged or readable by others."""
    entries = _read(path, is_secret=True)
    name, role = _owner(path, entries)
    public, secret = _key(path, entries, "public"), _key(path, entries, "secret")
    if zmq.curve_public(secret) != public:
        raise KeyFileError(f"{path}: the two keys do not belong together; make a new pair")
    return KeyPair(name, role, public, secret)


def read_public_key(path: Path) -> PublicKey:
    """A public key file with its owner. Raises KeyFileError."""
    entries = _read(path, is_secret=False)
    name, role = _owner(path, entries)
    return PublicKey(name, role, _key(path, entries, "public"))


def load_public_key(path: Path) -> bytes:
    """The public key (Z85, 40 bytes) in a file. Raises KeyFileError."""
    return _key(path, _read(path, is_secret=False), "public")


def allowed_file(folder: Path, peer: Peer) -> Path:
    """Where the allow-list keeps this peer's public key."""
    return folder / f"{check_name(peer.name)}.{peer.role}.pub"


def scan_public_keys(folder: Path) -> tuple[dict[bytes, Peer], list[str]]:
    """The allow-list in a folder, and a line for each file that cannot be used.

    A file that cannot be used lets nobody in. Raises KeyFileError where the folder cannot be read.
    """
    peers: dict[bytes, Peer] = {}
    problems = []
    try:
        paths = sorted(folder.iterdir())
    except OSError as exc:
        raise KeyFileError(f"{folder}: cannot read the allow-list: {exc.strerror}") from exc
    for path in paths:
        if path.suffix != ".pub":
            continue
        match = _ALLOWED_FILE.fullmatch(path.name)
        if match is None:
            problems.append(f"{path}: name it NAME.node.pub or NAME.admin.pub")
            continue
        try:
            peer = Peer(check_name(match["name"]), "node" if match["role"] == "node" else "admin")
            public = load_public_key(path)
        except KeyFileError as exc:
            problems.append(str(exc))
            continue
        if public in peers:
            problems.append(f"{path}: the same key is already allowed as {peers[public].name}")
            continue
        peers[public] = peer
    return peers, problems


def load_public_keys(folder: Path) -> dict[bytes, Peer]:
    """The allow-list in a folder. Raises KeyFileError for the first file that cannot be used."""
    peers, problems = scan_public_keys(folder)
    if problems:
        raise KeyFileError(problems[0])
    return peers


def _read(path: Path, is_secret: bool) -> dict[str, str]:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if is_secret and mode & 0o077:
                raise KeyFileError(
                    f"{path}: others can read this secret key (mode {mode:04o}); run: chmod 600 {path}"
                )
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError as exc:
        hint = "veilcast-hub keys make-node (or make-admin) writes one"
        raise KeyFileError(f"{path}: there is no such key file; {hint}") from exc
    except OSError as exc:
        raise KeyFileError(f"{path}: cannot be read: {exc.strerror}") from exc
    if len(data) > MAX_FILE_BYTES:
        raise KeyFileError(f"{path}: too large for a key file")
    try:
        entries = tomllib.loads(data.decode())
    except ValueError as exc:  # broken UTF-8 and broken TOML; its text could repeat the key
        raise KeyFileError(f"{path}: not a key file") from exc
    return {key: value for key, value in entries.items() if isinstance(value, str)}


def _owner(path: Path, entries: dict[str, str]) -> tuple[str, KeyRole]:
    name = entries.get("name", "")
    if not NAME_PATTERN.fullmatch(name):
        raise KeyFileError(f"{path}: not a key file: it names nobody")
    match entries.get("role"):
        case "hub" | "node" | "admin" as role:
            return name, role
    raise KeyFileError(f'{path}: role must be "hub", "node" or "admin"')


def _key(path: Path, entries: dict[str, str], which: str) -> bytes:
    text = entries.get(which)
    if text is None:
        raise KeyFileError(f"{path}: no {which} key in this file")
    try:
        is_key = len(text) == 40 and len(z85.decode(text.encode("ascii"))) == 32
    except (ValueError, LookupError, OverflowError, struct.error):
        is_key = False
    if not is_key:
        raise KeyFileError(f"{path}: the {which} key is damaged")
    return text.encode("ascii")


def _write_new(path: Path, text: str, mode: int) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_new(path, text.encode(), mode)
    except FileExistsError as exc:
        raise KeyFileError(f"{path}: exists already and is not overwritten") from exc
    except OSError as exc:
        raise KeyFileError(f"{path}: cannot be written: {exc.strerror}") from exc
