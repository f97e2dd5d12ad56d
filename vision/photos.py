"""[I/O] Reads one image file into pixels, upright, within limits.

Size on disk and size in pixels are checked before anything is decoded; a damaged file and one that is
something else are told apart. Knows nothing of faces. Called by `enrollment.examine` and, for uploads, by
the hub.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from vision.detections import Image
from vision.errors import PhotoError
from vision.reasons import Reason, Refused

MAX_FILE_BYTES = 64 * 1024 * 1024
"""The largest JPEGs of phones with 200-megapixel cameras take about 50 MB."""
MAX_PIXELS = 100_000_000
"""300 MB decoded: what a small computer can still hold."""
MIN_SIDE_PX = 60
"""A picture smaller than the smallest face that the gate takes."""

_DAMAGED = "this {} file is damaged or cut short: copy it again"
_FOREIGN = {
    b"ftyphei": "HEIC", b"ftypmif1": "HEIF", b"ftypavif": "AVIF",
}  # fmt: skip


def read_photo(path: Path) -> Image:
    """Pixels (H, W, 3) BGR of a JPEG, PNG or WebP file, turned upright by its EXIF orientation.

    Raises PhotoError with the reason.
    """
    data = _read_file(path)
    with _quiet_codecs():
        return decode_photo(data)


def decode_photo(data: bytes) -> Image:
    """The same of a file's bytes. Raises PhotoError."""
    if not data:
        raise _refused(Reason.EMPTY, "the file is empty")
    if len(data) > MAX_FILE_BYTES:
        text = f"the file is larger than {MAX_FILE_BYTES // 2**20} MB: make it smaller"
        raise _refused(Reason.TOO_LARGE, text)
    kind, size = _inspect(data)
    if size is None:
        raise _refused(Reason.CORRUPT, _DAMAGED.format(kind))
    width, height = size
    if width * height > MAX_PIXELS:
        text = f"{width}x{height} pixels; at most {MAX_PIXELS // 1_000_000} megapixels are read"
        raise _refused(Reason.TOO_LARGE, f"{text}: make it smaller")
    if min(width, height) < MIN_SIDE_PX:
        raise _refused(Reason.TOO_SMALL, f"the picture has only {width}x{height} pixels")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as exc:
        raise _refused(Reason.CORRUPT, _DAMAGED.format(kind)) from exc
    if image is None:
        raise _refused(Reason.CORRUPT, _DAMAGED.format(kind))
    return np.asarray(image, np.uint8)


def _refused(reason: Reason, text: str) -> PhotoError:
    return PhotoError(Refused(reason, text))


def _read_file(path: Path) -> bytes:
    try:
        if not path.exists():
            raise _refused(Reason.UNREADABLE, "there is no such file")
        if path.is_dir():
            text = "this is a folder: give photos, or use add-folder for a folder per person"
            raise _refused(Reason.UNREADABLE, text)
        if not path.is_file():
            raise _refused(Reason.UNREADABLE, "this is no regular file")
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise _refused(Reason.UNREADABLE, f"cannot be read: {exc.strerror}") from exc


def _inspect(data: bytes) -> tuple[str, tuple[int, int] | None]:
    """Format and (width, height), from the first bytes; None where they do not say."""
    if data[:3] == b"\xff\xd8\xff":
        return "JPEG", _jpeg_size(data)
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG", _png_size(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP", _webp_size(data)
    for mark, name in _FOREIGN.items():
        if data[4 : 4 + len(mark)] == mark:
            raise _refused(Reason.NOT_A_PHOTO, f"{name} is not read: save it as JPEG")
    raise _refused(Reason.NOT_A_PHOTO, "neither JPEG, PNG nor WebP")


def _png_size(data: bytes) -> tuple[int, int] | None:
    if data[12:16] != b"IHDR" or len(data) < 24:
        return None
    return _positive(int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big"))


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """From the first chunk (RFC 9649)."""
    if len(data) < 30:
        return None
    little = int.from_bytes
    match data[12:16]:
        case b"VP8X":
            return little(data[24:27], "little") + 1, little(data[27:30], "little") + 1
        case b"VP8L":
            bits = little(data[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            size = little(data[26:28], "little") & 0x3FFF, little(data[28:30], "little") & 0x3FFF
            return _positive(*size)
        case _:
            return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """From the first frame header (ITU-T T.81, B.2.2)."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height = int.from_bytes(data[at + 5 : at + 7], "big")
            return _positive(int.from_bytes(data[at + 7 : at + 9], "big"), height)
        else:
            at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
    return None


def _positive(width: int, height: int) -> tuple[int, int] | None:
    return (width, height) if width > 0 and height > 0 else None


@contextmanager
def _quiet_codecs() -> Iterator[None]:
    """The codecs' C code writes complaints straight to descriptor 2, across progress bar and report;
    whatever matters of them comes back as a failed decode."""
    saved = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
