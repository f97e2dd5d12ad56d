"""Writing a file that nobody else may see half-written, overwritten or, while it is made, read. [I/O]

Keys, receipts, exports: called by `protocol.keys`, `hub.secret_files` and `enrollment.subjects`.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_new(path: Path, data: bytes, mode: int = 0o600) -> None:
    """All of the bytes under the final name, or nothing; never over a file that is there.

    Its folder must exist. Raises FileExistsError, OSError.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)  # unlike a rename, fails where the name is taken
    finally:
        draft.unlink()
