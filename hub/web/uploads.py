"""Uploaded photos, through the same gate as those of `veilcast-enroll`. [I/O]

Owns one thread and the detector in it, which is loaded with the first photo. Nothing of a photo but
the face's crop goes any further, and nothing is written.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from aiohttp import web

from protocol.messages import Landmarks, Photo, clip
from vision.crops import encode_crop
from vision.detections import Detector
from vision.detector import Mtcnn
from vision.errors import PhotoError
from vision.photos import decode_photo
from vision.portrait import portrait_of
from vision.reasons import Reason, Refused

MAX_WAITING = 8
"""Photos that wait for the detector, of all pages together; each takes some tenths of a second."""


@dataclass(frozen=True, slots=True)
class UploadedPhoto:
    """What of a photo goes on to the desk that enrols."""

    photo: Photo
    jpeg: bytes


class PhotoDesk:
    """Until `close`, in one event loop."""

    def __init__(self, detector: Detector | None = None) -> None:
        self._detector = detector
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="photos")
        self._room = asyncio.Semaphore(MAX_WAITING)

    async def examine(self, name: str, data: bytes) -> UploadedPhoto | Refused:
        """The person's face in a photo, or why there is none to enrol. Raises ModelError."""
        async with self._room:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, self._examine, name, data)

    async def close(self, _: web.Application) -> None:
        """Wait for the photo under way."""
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)

    def _examine(self, name: str, data: bytes) -> UploadedPhoto | Refused:
        try:
            image = decode_photo(data)
        except PhotoError as exc:
            return exc.refused
        if self._detector is None:
            self._detector = Mtcnn()
        verdict = portrait_of(image, self._detector)
        if isinstance(verdict, Refused):
            return verdict
        a, b, c, d, e = ((float(x), float(y)) for x, y in verdict.crop.landmarks)
        points: Landmarks = (a, b, c, d, e)
        quality = min(1.0, max(0.0, verdict.quality.overall))
        photo = Photo(landmarks=points, quality=quality, source=shown_name(name))
        return UploadedPhoto(photo, encode_crop(verdict.crop))


def shown_name(name: str) -> str:
    """A file's name as a browser gives it, without folders and what cannot be printed."""
    last = name.replace("\\", "/").rpartition("/")[2] or "photo"
    return clip("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in last))


__all__ = ["PhotoDesk", "Reason", "Refused", "UploadedPhoto", "shown_name"]
