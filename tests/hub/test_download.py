"""Fetching over real TLS on loopback: whole files, cut ones taken up again, and what is refused."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hub.download import MAX_FRUITLESS, Wanted, download
from tests.hub.file_server import FileServer, file_server
from vision.errors import ModelError

CONTENT = np.random.default_rng(0).integers(0, 256, 300_000, np.uint8).tobytes()
OTHER = CONTENT[::-1]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FileServer]:
    with file_server(CONTENT, tmp_path) as running:
        yield running


def wanted(server: FileServer, tmp_path: Path, max_bytes: int = 400_000, url: str = "") -> Wanted:
    return Wanted(url or server.url, tmp_path / "kept" / "w.h5", max_bytes, server.context)


def get(task: Wanted) -> list[tuple[int, int | None]]:
    """Fetch without waiting between attempts; returns the progress."""
    seen: list[tuple[int, int | None]] = []
    download(task, lambda done, total: seen.append((done, total)), pause=lambda seconds: None)
    return seen


def test_a_file_arrives_whole_and_says_how_far_it_is(server: FileServer, tmp_path: Path) -> None:
    task = wanted(server, tmp_path)
    seen = get(task)
    assert task.target.read_bytes() == CONTENT
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert not task.part.exists()
    assert not task.notes.exists()


def test_a_cut_connection_is_taken_up_where_it_ended(server: FileServer, tmp_path: Path) -> None:
    server.cuts = [100_000, 50_000]
    task = wanted(server, tmp_path)
    get(task)
    assert task.target.read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == [None, "bytes=100000-", "bytes=150000-"]


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(server: FileServer, tmp_path: Path) -> None:
    server.cuts = [100_000]
    server.statuses = []
    task = wanted(server, tmp_path)

    def stop(done: int, total: int | None) -> None:
        if done >= 100_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(task, stop)
    kept = task.part.stat().st_size
    assert 0 < kept <= 100_000
    server.cuts = []
    assert get(task)[0] == (kept, len(CONTENT))
    assert task.target.read_bytes() == CONTENT


def test_halves_of_two_files_are_never_joined(server: FileServer, tmp_path: Path) -> None:
    server.cuts = [100_000]
    task = wanted(server, tmp_path)

    def replace_file(seconds: float) -> None:
        server.content, server.etag = OTHER, '"two"'

    download(task, lambda done, total: None, pause=replace_file)
    assert task.target.read_bytes() == OTHER


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_strong_tag_it_starts_over(server: FileServer, tmp_path: Path, etag: str | None) -> None:
    server.etag = etag
    server.cuts = [100_000]
    task = wanted(server, tmp_path)
    get(task)
    assert task.target.read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == [None, None]


def test_a_part_of_another_address_is_not_continued(server: FileServer, tmp_path: Path) -> None:
    task = wanted(server, tmp_path)
    task.part.parent.mkdir()
    task.part.write_bytes(b"x" * 1000)
    task.notes.write_text('{"url": "https://elsewhere/weights.h5", "etag": "\\"one\\""}')
    get(task)
    assert task.target.read_bytes() == CONTENT


def test_damaged_notes_start_over(server: FileServer, tmp_path: Path) -> None:
    task = wanted(server, tmp_path)
    task.part.parent.mkdir()
    task.part.write_bytes(b"x" * 1000)
    task.notes.write_text("[]")
    get(task)
    assert task.target.read_bytes() == CONTENT


def test_a_part_that_is_longer_than_the_file_starts_over(server: FileServer, tmp_path: Path) -> None:
    server.cuts = [200_000]
    task = wanted(server, tmp_path)

    def shorten(seconds: float) -> None:
        server.content = CONTENT[:100_000]

    download(task, lambda done, total: None, pause=shorten)
    assert task.target.read_bytes() == CONTENT[:100_000]


def test_another_part_than_was_asked_for_is_refused(server: FileServer, tmp_path: Path) -> None:
    server.cuts, server.wrong_range = [100_000], True
    with pytest.raises(ModelError, match="another part"):
        get(wanted(server, tmp_path))


def test_a_server_that_stays_away_is_given_up_and_what_came_is_kept(
    server: FileServer, tmp_path: Path
) -> None:
    server.cuts = [100_000]
    task = wanted(server, tmp_path)
    pauses: list[float] = []

    def break_down(seconds: float) -> None:
        pauses.append(seconds)
        server.statuses = [503]

    with pytest.raises(ModelError, match=r"100000 bytes are kept.*models import"):
        download(task, lambda done, total: None, pause=break_down)
    assert len(pauses) == MAX_FRUITLESS
    assert pauses == sorted(pauses)
    assert task.part.stat().st_size == 100_000
    assert not task.target.exists()


def test_a_missing_file_is_not_asked_for_again(server: FileServer, tmp_path: Path) -> None:
    server.statuses = [404]
    with pytest.raises(ModelError, match="answers 404"):
        get(wanted(server, tmp_path))
    assert len(server.requests) == 1


@pytest.mark.parametrize("sends_length", [True, False])
def test_a_file_that_is_too_large_is_refused(server: FileServer, tmp_path: Path, sends_length: bool) -> None:
    server.sends_length = sends_length
    task = wanted(server, tmp_path, max_bytes=200_000)
    with pytest.raises(ModelError, match="more than"):
        get(task)
    assert not task.target.exists()
    assert not task.part.exists() or task.part.stat().st_size <= 200_000


def test_a_file_of_unknown_length_arrives(server: FileServer, tmp_path: Path) -> None:
    server.sends_length = False
    task = wanted(server, tmp_path)
    assert get(task)[0] == (0, None)
    assert task.target.read_bytes() == CONTENT


def test_few_redirects_are_followed(server: FileServer, tmp_path: Path) -> None:
    server.redirects = {"/0": "/1", "/1": "/weights.h5"}
    task = wanted(server, tmp_path, url=server.url.replace("weights.h5", "0"))
    get(task)
    assert task.target.read_bytes() == CONTENT


def test_many_redirects_are_not(server: FileServer, tmp_path: Path) -> None:
    server.redirects = {f"/{i}": f"/{i + 1}" for i in range(20)}
    with pytest.raises(ModelError, match="302"):
        get(wanted(server, tmp_path, url=server.url.replace("weights.h5", "0")))
    assert len(server.requests) < 10


@pytest.mark.parametrize("place", ["http://127.0.0.1:1/w.h5", "file:///etc/hostname", "ftp://127.0.0.1/w"])
def test_a_redirect_away_from_https_is_refused(server: FileServer, tmp_path: Path, place: str) -> None:
    server.redirects = {"/weights.h5": place}
    with pytest.raises(ModelError, match=r"leads away from https|is not allowed"):
        get(wanted(server, tmp_path))


@pytest.mark.parametrize("url", ["http://127.0.0.1/w.h5", "file:///etc/hostname", "w.h5"])
def test_only_https_is_fetched(server: FileServer, tmp_path: Path, url: str) -> None:
    with pytest.raises(ModelError, match="only https"):
        get(wanted(server, tmp_path, url=url))


def test_a_server_that_does_not_prove_who_it_is_is_refused(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not prove who it is"):
        get(Wanted(server.url, tmp_path / "w.h5", 400_000))
    assert not server.requests


def test_two_fetches_of_one_file_do_not_meet(server: FileServer, tmp_path: Path) -> None:
    task = wanted(server, tmp_path)
    task.target.parent.mkdir()
    with task.target.with_name("w.h5.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ModelError, match="being fetched already"):
            get(task)


def test_a_folder_that_cannot_be_made_is_one_clear_line(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("in the way")
    with pytest.raises(ModelError, match="cannot be written"):
        get(wanted(server, tmp_path))
