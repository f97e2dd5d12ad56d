"""Watches a node from outside, as a browser does, and judges afterwards what it let out.

`Viewer` keeps every picture of the MJPEG stream with the time of its arrival; nothing is decoded while
the fault lasts. `judge` then compares each picture with the frame whose number it carries: strangers
must never be seen, and nobody at all in pictures that a `Ban` covers. Called by `tests.faults.real`.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from av.error import FFmpegError

from benchmarks.leak_check import check, is_plate
from tests.faults.footage import Footage, read_code
from vision.detections import Image

RETRY_S = 0.05
TIMEOUT_S = 30.0
"""A node that is stopped for seconds keeps its viewers."""
MAX_PICTURES = 6_000
"""Four minutes: no fault takes as long."""


@dataclass(frozen=True, slots=True)
class Ban:
    """Pictures that arrive from `begin` to `end` (monotonic seconds) may show nobody."""

    begin: float
    end: float
    after: int = -1
    """Only pictures of later frames than this: earlier ones were on their way already."""

    def covers(self, at: float, n: int) -> bool:
        return self.begin <= at <= self.end and n > self.after


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of the pictures of one fault."""

    pictures: int
    face_frames: int
    leaks: int
    shown: int
    """Times that the known person was seen where she may be: the judge is not blind."""
    first_leak: str = ""

    def __add__(self, other: Verdict) -> Verdict:
        return Verdict(
            self.pictures + other.pictures,
            self.face_frames + other.face_frames,
            self.leaks + other.leaks,
            self.shown + other.shown,
            self.first_leak or other.first_leak,
        )


class Viewer:
    """Reads `/stream.mjpg` in a thread of its own, again and again where it breaks off."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stopping = threading.Event()
        self._pictures: list[tuple[float, bytes]] = []
        self._thread = threading.Thread(target=self._run, name="viewer", daemon=True)
        self._thread.start()

    @property
    def count(self) -> int:
        return len(self._pictures)

    def newest(self) -> int:
        """The number of the newest frame that arrived whole; -1 before the first."""
        for _, jpeg in reversed(self._pictures):
            n = read_code(_decoded(jpeg))
            if n is not None:
                return n
        return -1

    def close(self) -> list[tuple[float, bytes]]:
        """Stop; everything that arrived, with its time."""
        self._stopping.set()
        self._thread.join(TIMEOUT_S)
        return self._pictures

    def _run(self) -> None:
        while not self._stopping.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_S)
            try:
                connection.request("GET", "/stream.mjpg")
                self._read(connection.getresponse())
            except (OSError, http.client.HTTPException, ValueError):
                self._stopping.wait(RETRY_S)  # the node is down: that is what is being tried
            finally:
                connection.close()

    def _read(self, answer: http.client.HTTPResponse) -> None:
        while not self._stopping.is_set():
            length = _length_of(answer)
            jpeg = answer.read(length)
            if len(jpeg) < length or len(self._pictures) >= MAX_PICTURES:
                return
            self._pictures.append((time.monotonic(), jpeg))


def _length_of(answer: http.client.HTTPResponse) -> int:
    """Reads the head of the next part. Raises ValueError at the end of the stream."""
    length = -1
    while line := answer.readline(1_000):
        name, _, value = line.strip().partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
        if not name and length >= 0:
            return length
    raise ValueError("the stream has ended")


def judge(
    footage: Footage, pictures: Iterable[tuple[float, Image]], known: str, bans: Iterable[Ban]
) -> Verdict:
    """Compare pictures (arrival time, (H, W, 3) BGR) with the frames they show.

    Raises RuntimeError for a picture that neither names its frame nor is a plate: it cannot be judged.
    """
    bans = list(bans)
    plain, _ = footage.frame(0)
    count = faces_seen = leaks = shown = 0
    first = ""
    for at, image in pictures:
        count += 1
        n = read_code(image)
        if n is None:
            if not is_plate(plain, image):
                raise RuntimeError(f"picture {count} cannot be told: it has no number and is no plate")
            continue
        source, faces = footage.frame(n)
        is_banned = any(ban.covers(at, n) for ban in bans)
        for one in faces:
            verdict = check(source, image, one.face)
            if verdict is None:
                continue
            may_show = one.identity == known and not is_banned
            shown += may_show and verdict.leaked
            faces_seen += not may_show
            if verdict.leaked and not may_show:
                leaks += 1
                whose = "the known person" if one.identity == known else "a stranger"
                first = first or f"{whose} in frame {n} ({verdict.window}, {verdict.score:.2f})"
    return Verdict(count, faces_seen, leaks, shown, first)


def decoded(pictures: Iterable[tuple[float, bytes]]) -> Iterator[tuple[float, Image]]:
    """JPEGs as pixels."""
    for at, jpeg in pictures:
        yield at, _decoded(jpeg)


def recorded(path: Path) -> Iterator[tuple[float, Image]]:
    """The pictures of a recording as far as it can be played; their times mean nothing here.

    Raises RuntimeError where that is not one picture.
    """
    count = 0
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                count += 1
                yield 0.0, np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
    except FFmpegError as exc:
        if not count:  # later it is where the file breaks off
            raise RuntimeError(f"the recording {path.name} cannot be played: {exc.strerror}") from exc


def _decoded(jpeg: bytes) -> Image:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise RuntimeError("the stream holds a picture that is no JPEG")
    return np.asarray(image, np.uint8)
