"""Secrets of other services (a broker's password, a webhook's key): in files, not in settings. [I/O]"""

from __future__ import annotations

from pathlib import Path

from edge_node.errors import ConfigError

MAX_BYTES = 4096


def read_secret(path: str, setting: str) -> str:
    """The first line of the file, "" where no path is set. `setting` names it in errors.

    Raises ConfigError where it cannot be read, is empty, or others may read it.
    """
    if not path:
        return ""
    file = Path(path).expanduser()
    try:
        with file.open("rb") as opened:
            mode = file.stat().st_mode & 0o777
            data = opened.read(MAX_BYTES + 1)
    except OSError as exc:
        raise ConfigError(f"{setting}: {file} cannot be read: {exc.strerror}") from exc
    if mode & 0o077:
        raise ConfigError(f"{setting}: others may read {file} (mode {mode:04o}); run: chmod 600 {file}")
    try:
        line = data.decode().partition("\n")[0].strip()
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{setting}: {file} is no text") from exc
    if not line or len(data) > MAX_BYTES:
        raise ConfigError(f"{setting}: the first line of {file} must hold the secret, at most 4096 bytes")
    return line
