"""Exact templates that do not fit into memory: in a file without a name, each row under a key of its own.

The keys are only ever in memory, with the snapshot that holds the template: a template that is erased cannot
be opened any more once the last snapshot with it is gone, and nothing of the file can after the process has
ended. Used by `hub.compact_index`; reads may run beside a write.
"""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from numpy.typing import NDArray

from hub.embedding.port import Embeddings
from hub.store.errors import StoreError

KEY_BYTES = 16
TAG_BYTES = 16
NONCE = bytes(12)
"""A constant is safe here: no key seals twice."""

Slots = NDArray[np.int64]
Keys = NDArray[np.uint8]


class SealedRows:
    """Rows of `dimension` float32, written once each and never moved. Raises StoreError."""

    def __init__(self, dimension: int, folder: Path | None = None) -> None:
        """folder: on a disk with room for all rows; the system's temporary one where nothing is said."""
        self._row_bytes = 4 * dimension + TAG_BYTES
        self._dimension = dimension
        self._rows = 0
        self._writing = threading.Lock()
        try:
            self._file, name = tempfile.mkstemp(prefix="gallery-", dir=folder)
            Path(name).unlink()
        except OSError as exc:
            raise StoreError(f"no room for a gallery in {folder or tempfile.gettempdir()}: {exc}") from exc
        weakref.finalize(self, os.close, self._file)

    def append(self, rows: Embeddings) -> tuple[Slots, Keys]:
        """Seal rows (N, D); where each of them is (N,) and its key (N, KEY_BYTES)."""
        keys = np.frombuffer(os.urandom(KEY_BYTES * len(rows)), np.uint8).reshape(len(rows), KEY_BYTES)
        plain = np.ascontiguousarray(rows, "<f4")
        sealed = b"".join(
            AESGCM(key.tobytes()).encrypt(NONCE, row.tobytes(), None)
            for key, row in zip(keys, plain, strict=True)
        )
        with self._writing:
            first = self._rows
            self._write(sealed, first * self._row_bytes)
            self._rows += len(rows)
        return np.arange(first, first + len(rows), dtype=np.int64), keys

    def read(self, slots: Slots, keys: Keys) -> Embeddings:
        """(N, D) rows of slots (N,) with their keys (N, KEY_BYTES)."""
        size = self._row_bytes
        return np.frombuffer(b"".join(self._opened(slots, keys, size)), "<f4").reshape(len(slots), -1)

    def _opened(self, slots: Slots, keys: Keys, size: int) -> Iterable[bytes]:
        offsets = [size * slot for slot in slots.tolist()]
        for offset in offsets:
            # So that a disk fetches what is not in memory side by side.
            os.posix_fadvise(self._file, offset, size, os.POSIX_FADV_WILLNEED)
        for offset, key in zip(offsets, keys, strict=True):
            try:
                # A row that was passed over could be someone who must not be shown: it is an error.
                yield AESGCM(key.tobytes()).decrypt(NONCE, os.pread(self._file, size, offset), None)
            except (OSError, InvalidTag) as exc:
                raise StoreError("the gallery's file is damaged: start the hub again") from exc

    def _write(self, data: bytes, offset: int) -> None:
        view = memoryview(data)
        try:
            while view:
                written = os.pwrite(self._file, view, offset)
                view, offset = view[written:], offset + written
        except OSError as exc:
            raise StoreError(f"the gallery's file cannot be written: {exc.strerror}; free some disk") from exc
