"""The chain and its writer: every change is found and located, nothing acknowledged is lost."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.audit import chain
from hub.audit.chain import Tip, extend
from hub.audit.errors import AuditError, SealError
from hub.audit.files import AuditFiles, Head, write_all
from hub.audit.log import AuditLog
from hub.audit.reading import FolderSource, Reading

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
NOW = 1_800_000_000.0
DAY = 86_400.0
ROOT = Path(__file__).parent.parent.parent


def note(i: int = 0) -> dict[str, Any]:
    return {"kind": "note", "at": NOW, "text": f"note {i}"}


def start(reveal: str, at: float = NOW) -> dict[str, Any]:
    names = ("node", "camera", "session", "identity")
    return {"kind": "reveal-start", "at": at, "reveal": reveal, "track": 1, **dict.fromkeys(names, "x")}


def written(state: Path, count: int = 40, segment_bytes: int = 2_000) -> AuditFiles:
    """A closed log of several segments."""
    log = AuditLog(state, KEY, NOW, segment_bytes)
    for i in range(count):
        log.append([note(i)], NOW + i)
    log.close()
    return AuditFiles(state)


def read(state: Path, wanted: str = "") -> Reading:
    public = KEY.public_key()
    reading = Reading(FolderSource(AuditFiles(state), public), public, wanted)
    reading.verify()
    return reading


def texts(state: Path) -> list[str]:
    public = KEY.public_key()
    reading = Reading(FolderSource(AuditFiles(state), public), public)
    return [r["text"] for r in reading.records() if r["kind"] == "note"]


def all_lines(files: AuditFiles) -> list[bytes]:
    return b"".join(path.read_bytes() for _, path in files.segments()).splitlines(keepends=True)


def rewrite(files: AuditFiles, lines: list[bytes]) -> None:
    """Put the lines into the first segment, and leave no other: where they stand does not matter."""
    for _, path in files.segments()[1:]:
        path.unlink()
    files.segment(1).write_bytes(b"".join(lines))


# --- what holds -----------------------------------------------------------------------------------


def test_what_was_written_is_read_and_holds(tmp_path: Path) -> None:
    files = written(tmp_path)
    assert len(files.segments()) > 3
    reading = read(tmp_path)
    assert reading.problems == []
    assert (reading.unsigned, reading.torn_bytes) == (0, 0)
    assert texts(tmp_path) == [f"note {i}" for i in range(40)]
    assert files.folder.stat().st_mode & 0o777 == 0o700
    for path in (files.head, files.segment(1)):
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_log_goes_on_where_it_ended(tmp_path: Path) -> None:
    written(tmp_path, 5)
    log = AuditLog(tmp_path, KEY, NOW)
    assert not log.recovered.is_new
    assert log.recovered.record == {"unended": 0}
    log.append([note(5), note(6)], NOW)
    log.close()
    assert read(tmp_path).problems == []
    assert texts(tmp_path) == [f"note {i}" for i in range(7)]


def test_there_is_one_writer(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, KEY, NOW)
    with pytest.raises(AuditError, match="a hub runs"):
        AuditLog(tmp_path, KEY, NOW)
    log.close()
    AuditLog(tmp_path, KEY, NOW).close()


def test_checkpoints_come_as_often_as_promised(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, KEY, NOW)
    log.append([note(i) for i in range(1_000)], NOW)
    log.close()
    lines = all_lines(AuditFiles(tmp_path))
    at = [chain.record_of(line)["n"] for line in lines if chain.record_of(line)["kind"] == "checkpoint"]
    assert at[0] == 1
    assert all(b - a == chain.CHECKPOINT_EVERY for a, b in pairwise(at))
    assert read(tmp_path).problems == []


def test_reading_beside_a_writer_takes_what_is_signed_meanwhile(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, KEY, NOW, 2_000)
    log.append([note(0)], NOW)
    public = KEY.public_key()
    reading = Reading(FolderSource(AuditFiles(tmp_path), public), public)
    for i in range(1, 30):
        log.append([note(i)], NOW)
    assert sum(r["kind"] == "note" for r in reading.records()) == 30
    assert reading.problems == []
    log.close()


# --- what does not --------------------------------------------------------------------------------


def edited(lines: list[bytes]) -> list[bytes]:
    lines[19] = lines[19].replace(b"note", b"nose")
    return lines


def removed(lines: list[bytes]) -> list[bytes]:
    return lines[:19] + lines[20:]


def swapped(lines: list[bytes]) -> list[bytes]:
    lines[19], lines[20] = lines[20], lines[19]
    return lines


def doubled(lines: list[bytes]) -> list[bytes]:
    return lines[:20] + lines[18:]


def inserted(lines: list[bytes]) -> list[bytes]:
    """Well linked to what stands before."""
    tip = Tip(19, hash_of(lines[18]))
    return [*lines[:19], extend(tip, note(99))[1], *lines[19:]]


def garbage(lines: list[bytes]) -> list[bytes]:
    return [*lines[:19], b"garbage\n", *lines[19:]]


def truncated(lines: list[bytes]) -> list[bytes]:
    return lines[:19]


def torn_inside(lines: list[bytes]) -> list[bytes]:
    return [*lines[:19], lines[19][:40]]


def renumbered(lines: list[bytes]) -> list[bytes]:
    lines[19] = re.sub(rb'"n":\d+', b'"n":99', lines[19])
    return lines


def hash_of(line: bytes) -> str:
    return line[9:73].decode()


@pytest.mark.parametrize(
    "change",
    [edited, removed, swapped, doubled, inserted, garbage, truncated, torn_inside, renumbered],
    ids=lambda f: f.__name__,
)
def test_a_change_is_found_and_located(tmp_path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    files = written(tmp_path)
    rewrite(files, change(all_lines(files)))
    problems = read(tmp_path).problems
    assert problems[0].number in (20, 21)
    assert len(problems) <= 3, "behind the change the rest is believed again"
    with pytest.raises(AuditError, match="audit verify"):
        AuditLog(tmp_path, KEY, NOW)


def test_a_chain_that_was_computed_anew_is_found_at_the_next_checkpoint(tmp_path: Path) -> None:
    files = written(tmp_path, 40, segment_bytes=10**6)
    log = AuditLog(tmp_path, KEY, NOW)
    log.append([note(i) for i in range(40, 600)], NOW)
    log.close()
    lines = all_lines(files)
    tip, new = Tip(), []
    for line in lines:
        record = chain.record_of(line)
        if record.get("text") == "note 300":
            record["text"] = "nobody was here"
        if record["kind"] == "checkpoint":
            record["of"] = tip.hash
        tip, line = extend(tip, record)
        new.append(line)
    rewrite(files, new)
    problems = read(tmp_path).problems
    assert problems[0].number == 258, "behind the last checkpoint before"
    assert "did not sign" in problems[0].text


def test_a_rewritten_end_does_not_fit_the_head(tmp_path: Path) -> None:
    files = written(tmp_path, 40, segment_bytes=10**6)
    lines = all_lines(files)
    tip = Tip(39, hash_of(lines[38]), 1)
    for line in lines[39:]:
        tip, new = extend(tip, {**chain.record_of(line), "text": "nobody was here"})
        lines[tip.count - 1] = new
    rewrite(files, lines)
    assert [p.number for p in read(tmp_path).problems] == [2]


def test_a_log_set_back_to_an_older_head_lacks_a_head_noted_elsewhere(tmp_path: Path) -> None:
    files = written(tmp_path, 10, segment_bytes=10**6)
    old_head, old_log = files.head.read_bytes(), files.segment(1).read_bytes()
    log = AuditLog(tmp_path, KEY, NOW)
    log.append([note(99)], NOW)
    noted = log.tip.hash
    log.close()
    assert read(tmp_path, noted).is_wanted_found
    files.head.write_bytes(old_head)
    files.segment(1).write_bytes(old_log)
    reading = read(tmp_path, noted)
    assert reading.problems == [], "nothing on this disk can tell"
    assert not reading.is_wanted_found


@pytest.mark.parametrize("name", ["audit.head", "audit.stub"])
def test_any_change_of_a_signed_document_is_found(tmp_path: Path, name: str) -> None:
    files = written(tmp_path)
    log = AuditLog(tmp_path, KEY, NOW)
    log.retain(NOW + 20, NOW)
    log.close()
    path = files.state / name
    data = path.read_bytes()
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1
        path.write_bytes(changed)
        with pytest.raises(SealError):
            read(tmp_path)
    path.write_bytes(data)
    assert read(tmp_path).problems == []


def test_a_lost_head_or_log_is_found(tmp_path: Path) -> None:
    files = written(tmp_path)
    head = files.head.read_bytes()
    files.head.unlink()
    with pytest.raises(AuditError, match="head"):
        read(tmp_path)
    with pytest.raises(AuditError, match="head"):
        AuditLog(tmp_path, KEY, NOW)
    files.head.write_bytes(head)
    for _, path in files.segments():
        path.unlink()
    assert "cut off" in read(tmp_path).problems[0].text
    with pytest.raises(AuditError, match="signed head"):
        AuditLog(tmp_path, KEY, NOW)


@pytest.fixture(scope="module")
def closed_log(tmp_path_factory: pytest.TempPathFactory) -> AuditFiles:
    return written(tmp_path_factory.mktemp("log"))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_single_byte_that_changes_is_found(closed_log: AuditFiles, data: st.DataObject) -> None:
    segments = closed_log.segments()
    _, path = segments[data.draw(st.integers(0, len(segments) - 1))]
    before = path.read_bytes()
    at = data.draw(st.integers(0, len(before) - 1))
    changed = bytearray(before)
    changed[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(changed)
    try:
        assert read(closed_log.state).problems
    finally:
        path.write_bytes(before)


# --- crashes and full disks -----------------------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 40, 120])
def test_a_torn_last_line_is_no_tampering_and_is_recorded(tmp_path: Path, cut: int) -> None:
    """The line was not signed for: the hub was killed while it wrote."""
    files = written(tmp_path, 5, segment_bytes=10**6)
    with files.segment(1).open("ab") as file:
        file.write(extend(Tip(6, "0" * 64), note(77))[1][:cut])
    reading = read(tmp_path)
    assert reading.problems == []
    assert reading.torn_bytes == cut
    log = AuditLog(tmp_path, KEY, NOW)
    assert log.recovered.torn_bytes == cut
    assert log.recovered.record["torn_bytes"] == cut
    log.append([{"kind": "hub-start", "at": NOW, **log.recovered.record}], NOW)
    log.close()
    assert read(tmp_path).problems == []
    assert texts(tmp_path) == [f"note {i}" for i in range(5)]


def test_whole_records_that_nobody_signed_for_are_counted_and_never_taken_in(tmp_path: Path) -> None:
    files = written(tmp_path, 5, segment_bytes=10**6)
    head = files.read_head(KEY.public_key())
    assert head is not None
    _, line = extend(Tip(head.count, head.hash, 1), note(77))
    with files.segment(1).open("ab") as file:
        file.write(line)
    assert read(tmp_path).unsigned == 1
    assert "note 77" not in texts(tmp_path)
    log = AuditLog(tmp_path, KEY, NOW)
    assert log.recovered.torn_bytes == len(line)
    log.append([note(5)], NOW)
    log.close()
    assert texts(tmp_path) == [f"note {i}" for i in range(6)]
    assert read(tmp_path).unsigned == 0


def test_a_segment_that_was_begun_and_not_signed_for_is_dropped(tmp_path: Path) -> None:
    files = written(tmp_path, 5, segment_bytes=10**6)
    head = files.read_head(KEY.public_key())
    assert head is not None
    files.segment(head.count + 1).write_bytes(b'{"hash":"')
    log = AuditLog(tmp_path, KEY, NOW)
    assert log.recovered.torn_bytes == 9
    log.append([note(5)], NOW)
    log.close()
    assert read(tmp_path).problems == []


def test_reveals_open_at_a_crash_are_known_at_the_next_start_over_any_number_of_segments(
    tmp_path: Path,
) -> None:
    log = AuditLog(tmp_path, KEY, NOW, 2_000)
    log.append([start("a"), start("b")], NOW, horizon=NOW + 8)
    for i in range(40):
        log.append([note(i)], NOW)
    log.append([{"kind": "reveal-end", "at": NOW, "reveal": "a"}, start("c", NOW + 2)], NOW, NOW + 10)
    log.close()  # as good as killed: it says nothing
    again = AuditLog(tmp_path, KEY, NOW)
    assert [(r["reveal"], r["start"]) for r in again.recovered.open_reveals] == [("b", NOW), ("c", NOW + 2)]
    assert again.recovered.horizon == NOW + 10
    again.close()


class FullDisk(AuditLog):
    """Takes `room` more bytes, then no more, as a real one would: with a part written."""

    room = 10**9

    def _write(self, descriptor: int, data: bytes) -> None:
        write_all(descriptor, data[: self.room])
        if len(data) > self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("room", [0, 50, 700])
@pytest.mark.parametrize("segment_bytes", [10**6, 1])
def test_a_full_disk_loses_nothing_and_is_recovered_from(
    tmp_path: Path, room: int, segment_bytes: int
) -> None:
    log = FullDisk(tmp_path, KEY, NOW, segment_bytes)
    log.append([note(0)], NOW)
    log.room = room
    for _ in range(3):
        with pytest.raises(AuditError, match="No space left"):
            log.append([note(i) for i in range(90, 99)], NOW)
        reading = read(tmp_path)
        assert reading.problems == []
        assert (reading.unsigned, reading.torn_bytes) == (0, 0), "half a write is taken back at once"
    log.room = 10**9
    log.append([note(1)], NOW)
    log.close()
    assert texts(tmp_path) == ["note 0", "note 1"]
    assert read(tmp_path).problems == []
    AuditLog(tmp_path, KEY, NOW).close()


def test_a_first_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    log = FullDisk(tmp_path, KEY, NOW)
    log.room = 30
    with pytest.raises(AuditError):
        log.append([note(0)], NOW)
    log.close()
    again = AuditLog(tmp_path, KEY, NOW)
    again.append([note(1)], NOW)
    again.close()
    assert texts(tmp_path) == ["note 1"]
    assert read(tmp_path).problems == []


def test_where_the_head_cannot_be_written_nothing_counts(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, KEY, NOW)
    log.append([note(0)], NOW)
    blocker = AuditFiles(tmp_path).head.with_name(".audit.head.new")
    blocker.mkdir()
    with pytest.raises(AuditError):
        log.append([note(99)], NOW)
    blocker.rmdir()
    log.append([note(1)], NOW)
    log.close()
    assert texts(tmp_path) == ["note 0", "note 1"]
    assert read(tmp_path).problems == []


WRITER = """
import sys
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hub.audit.log import AuditLog
log = AuditLog(Path(sys.argv[1]), Ed25519PrivateKey.from_private_bytes(bytes(32)), 1.8e9, 4_000)
for i in range(10**6):
    log.append([{"kind": "note", "at": 1.8e9, "text": f"note {i}"}], 1.8e9)
    print(i, flush=True)
"""


@pytest.mark.parametrize("after", [1, 60])
def test_what_was_acknowledged_survives_kill_9(tmp_path: Path, after: int) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    assert writer.stdout is not None
    seen = [writer.stdout.readline() for _ in range(after)]
    writer.kill()
    seen += writer.stdout.readlines()
    writer.wait()
    acknowledged = int(seen[-1])
    log = AuditLog(tmp_path, KEY, NOW)
    log.append([note(0)], NOW)
    log.close()
    assert read(tmp_path).problems == []
    assert len(texts(tmp_path)) - 1 >= acknowledged + 1


# --- retention ------------------------------------------------------------------------------------


def test_old_segments_are_dropped_and_a_stub_stays(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, KEY, NOW, 2_000)
    for i in range(40):
        log.append([note(i)], NOW + i * DAY)
    before = len(AuditFiles(tmp_path).segments())
    gone = log.retain(NOW + 20 * DAY, NOW + 40 * DAY)
    assert gone > 10
    assert log.retain(NOW + 20 * DAY, NOW + 40 * DAY) == 0
    more = log.retain(NOW + 30 * DAY, NOW + 41 * DAY)
    assert more > 5
    log.close()
    files = AuditFiles(tmp_path)
    assert len(files.segments()) < before
    reading = read(tmp_path)
    assert reading.problems == []
    assert reading.first == gone + more + 1
    kept = texts(tmp_path)
    assert kept[-1] == "note 39"
    assert "note 30" in kept
    assert "note 10" not in kept
    AuditLog(tmp_path, KEY, NOW).close()


def test_dropping_that_was_cut_short_is_finished_later(tmp_path: Path) -> None:
    files = written(tmp_path)
    copies = {path: path.read_bytes() for _, path in files.segments()}
    log = AuditLog(tmp_path, KEY, NOW, 2_000)
    assert log.retain(NOW + 20, NOW) > 0
    first = read(tmp_path).first
    dropped = [path for path in copies if not path.exists()]
    dropped[-1].write_bytes(copies[dropped[-1]])
    assert read(tmp_path).problems == []
    assert read(tmp_path).first == first
    log.retain(NOW + 20, NOW)
    assert not dropped[-1].exists()
    log.close()


def test_segments_that_vanish_without_a_stub_are_missed(tmp_path: Path) -> None:
    files = written(tmp_path)
    files.segment(1).unlink()
    problem = read(tmp_path).problems[0]
    assert problem.number == 1
    assert "missing" in problem.text


def test_the_head_says_what_it_signs(tmp_path: Path) -> None:
    files = written(tmp_path, 3)
    head = files.read_head(KEY.public_key())
    assert isinstance(head, Head)
    assert head.hash == hash_of(all_lines(files)[-1])
    with pytest.raises(SealError, match="another key"):
        files.read_head(Ed25519PrivateKey.from_private_bytes(b"1" * 32).public_key())
