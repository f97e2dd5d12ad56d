"""[I/O] Fetches one large file over HTTPS: bounded, resumable, whole or not at all. Called by `hub.models`.

Only https, also behind redirects, of which a few are followed. A connection that is cut is taken up again
where it ended (Range, and If-Range so that halves of two files are never joined), in this call or a later
one: what has arrived waits as NAME.part beside the target. Whether the file is the right one is for the
caller to check, by its digest.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from vision.errors import ModelError

MAX_REDIRECTS = 5
MAX_FRUITLESS = 4
"""Attempts in a row that bring no byte."""
FIRST_PAUSE_S = 1.0
TIMEOUT_S = 30.0
"""Without a byte for so long, a connection counts as cut."""
CHUNK_BYTES = 1 << 16
Progress = Callable[[int, int | None], None]
"""Called with the bytes that have arrived and how many there will be, where the server says so."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to fetch. `context` is for servers that the system does not know."""

    url: str
    target: Path
    max_bytes: int
    context: ssl.SSLContext | None = None

    @property
    def part(self) -> Path:
        return self.target.with_name(self.target.name + ".part")

    @property
    def notes(self) -> Path:
        """Beside the part: which version of the file it is of."""
        return self.target.with_name(self.target.name + ".part.json")


class _CutError(Exception):
    """The connection ended too early; what arrived is kept."""


def download(wanted: Wanted, progress: Progress, pause: Callable[[float], None] = time.sleep) -> None:
    """Fetch a file; afterwards `target` is whole. Raises ModelError; what has arrived stays for the next
    call."""
    if urlsplit(wanted.url).scheme != "https":
        raise ModelError(f"{wanted.url}: only https is fetched")
    try:
        wanted.target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _held(wanted):
            _fetch_all(wanted, progress, pause)
            wanted.part.replace(wanted.target)
            wanted.notes.unlink(missing_ok=True)
    except OSError as exc:
        raise ModelError(f"{wanted.part}: cannot be written: {exc.strerror or exc}") from exc


def _fetch_all(wanted: Wanted, progress: Progress, pause: Callable[[float], None]) -> None:
    opener = _opener(wanted.context)
    fruitless = 0
    while True:
        before = _size(wanted.part)
        try:
            _fetch_some(opener, wanted, progress)
            return
        except _CutError as exc:
            fruitless = 0 if _size(wanted.part) > before else fruitless + 1
            if fruitless == MAX_FRUITLESS:
                raise ModelError(
                    f"{_host(wanted.url)} cannot be reached: {exc}. Try again later; "
                    f"{_size(wanted.part)} bytes are kept. Without internet: veilcast-hub models import"
                ) from exc
        pause(FIRST_PAUSE_S * 2**fruitless)


def _fetch_some(opener: urllib.request.OpenerDirector, wanted: Wanted, progress: Progress) -> None:
    """One connection. Raises _CutError where it ended too early."""
    have = _size(wanted.part)
    tag = _noted_tag(wanted) if have else None
    headers = {"User-Agent": "veilcast", "Accept-Encoding": "identity"}
    request = urllib.request.Request(wanted.url, headers=headers)  # noqa: S310 - https, checked
    if have and tag:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", tag)
    try:
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            start = _start_of(answer, have)
            total = _total_of(answer, start)
            if total is not None and total > wanted.max_bytes:
                raise ModelError(f"{wanted.url}: {total} bytes are more than the expected {wanted.max_bytes}")
            _note_tag(wanted, answer.headers.get("ETag"))
            _receive(answer, wanted, start, total, progress)
    except urllib.error.HTTPError as exc:
        exc.close()
        if exc.code == 416:  # what we have is not a beginning of what is there
            wanted.part.unlink()
            raise _CutError("it has a shorter file now") from exc
        if exc.code in (408, 429) or exc.code >= 500:
            raise _CutError(f"it answers {exc.code}") from exc
        raise ModelError(f"{wanted.url}: the server answers {exc.code} {exc.reason}") from exc
    except urllib.error.URLError as exc:
        if isinstance(exc.reason, ssl.SSLCertVerificationError):
            raise ModelError(
                f"{_host(wanted.url)} does not prove who it is: {exc.reason.verify_message}"
            ) from exc
        raise _CutError(str(exc.reason)) from exc
    except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as exc:
        raise _CutError(str(exc) or type(exc).__name__) from exc


def _receive(answer: Any, wanted: Wanted, start: int, total: int | None, progress: Progress) -> None:
    """Append what comes to the part, from `start` on."""
    have = start
    with wanted.part.open("r+b" if start else "wb") as file:
        file.truncate(start)
        file.seek(start)
        progress(have, total)
        while chunk := _chunk(answer):
            have += len(chunk)
            if have > (wanted.max_bytes if total is None else total):
                raise ModelError(f"{wanted.url}: the server sends more than it should")
            file.write(chunk)
            progress(have, total)
        file.flush()
        os.fsync(file.fileno())
    if total is not None and have < total:
        raise _CutError(f"it stopped after {have} of {total} bytes")


def _chunk(answer: Any) -> bytes:
    """What is there, at most CHUNK_BYTES: waiting for more would lose what came before a cut."""
    chunk: bytes = answer.read1(CHUNK_BYTES)
    return chunk


def _start_of(answer: Any, have: int) -> int:
    """Where the answer begins in the file: behind what is there, or at 0 where the server starts over."""
    if answer.status != 206:
        return 0
    found = str(answer.headers.get("Content-Range", ""))
    if not found.startswith(f"bytes {have}-"):
        raise ModelError(f"the server answers with another part ({found[:60]!r}) than was asked for")
    return have


def _total_of(answer: Any, start: int) -> int | None:
    length = str(answer.headers.get("Content-Length", ""))
    return start + int(length) if length.isascii() and length.isdigit() and len(length) < 16 else None


def _noted_tag(wanted: Wanted) -> str | None:
    """The strong entity tag of what has arrived; without one it cannot be continued."""
    try:
        noted = json.loads(wanted.notes.read_text())
        url, tag = str(noted["url"]), str(noted["etag"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # then the file is fetched from its beginning
    return tag if url == wanted.url and tag.startswith('"') else None


def _note_tag(wanted: Wanted, tag: str | None) -> None:
    wanted.notes.write_text(json.dumps({"url": wanted.url, "etag": tag or ""}))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _host(url: str) -> str:
    return urlsplit(url).hostname or url


@contextmanager
def _held(wanted: Wanted) -> Iterator[IO[bytes]]:
    """One fetch of a file at a time."""
    with wanted.target.with_name(wanted.target.name + ".lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise ModelError(f"{wanted.target.name} is being fetched already") from exc
        yield lock


class _FewRedirects(urllib.request.HTTPRedirectHandler):
    max_redirections = MAX_REDIRECTS
    max_repeats = 2

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if urlsplit(newurl).scheme != "https":
            raise ModelError(f"{_host(req.full_url)} leads away from https, to {newurl[:100]}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(context: ssl.SSLContext | None) -> urllib.request.OpenerDirector:
    """Knows https and the system's proxies, and no other kind of address."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPSHandler(context=context or ssl.create_default_context()),
        _FewRedirects(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener
