"""[I/O] Small files that hold a secret of the hub: written whole and private, read only where private.

Knows nothing of what is in them. Used by `hub.signing` and `hub.vault`.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from hub.errors import HubError
from protocol.new_file import write_new

MAX_SECRET_BYTES = 4_096
"""A key file has a few hundred bytes; what is larger is something else."""


class SecretFileError(HubError):
    """A secret file is readable by others, or cannot be read or written."""


def read_secret(path: Path) -> bytes | None:
    """What the file holds; None where there is none. Raises SecretFileError."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise SecretFileError(
                    f"{path}: others can read this secret key (mode {mode:04o}); run: chmod 600 {path}"
                )
            data = file.read(MAX_SECRET_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise SecretFileError(f"{path}: cannot be read: {exc.strerror}") from exc
    if len(data) > MAX_SECRET_BYTES:
        raise SecretFileError(f"{path}: too large for a key file")
    return data


def write_secret(path: Path, data: bytes) -> None:
    """Write a new file (mode 0600, its folder made), whole or not at all, never over another.

    Raises SecretFileError.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_new(path, data)
        sync_folder(path.parent)
    except FileExistsError as exc:
        raise SecretFileError(f"{path}: exists already and is not overwritten") from exc
    except OSError as exc:
        raise SecretFileError(f"{path}: cannot be written: {exc.strerror}") from exc


def overwrite(path: Path) -> None:
    """Replace what the file holds by zeros on the disk; where there is none, nothing. Raises SecretFileError.

    What a solid-state disk or a snapshot keeps of the old bytes is beyond a program.
    """
    try:
        with path.open("r+b") as file:
            file.write(bytes(os.fstat(file.fileno()).st_size))
            file.flush()
            os.fsync(file.fileno())
    except FileNotFoundError:
        return
    except OSError as exc:
        raise SecretFileError(f"{path}: cannot be overwritten: {exc.strerror}") from exc


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
