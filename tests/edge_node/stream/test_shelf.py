"""Segments: what goes, what stays, how they are called, and a disk without room."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import av
import pytest

from edge_node.stream.errors import RecordError
from edge_node.stream.recorder import Recorder
from edge_node.stream.shelf import RecordPlan, Segment, Shelf, outdated
from tests.edge_node.stream.frames import masked

NOON = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)


def segment(name: str, ended_at: float, size: int = 10) -> Segment:
    return Segment(Path(name), ended_at, size)


def names(segments: list[Segment]) -> list[str]:
    return [s.path.name for s in segments]


def test_what_is_too_old_goes_and_nothing_else() -> None:
    kept = [segment("c", 80.0), segment("a", 10.0), segment("b", 50.0)]
    assert names(outdated(kept, RecordPlan(keep_s=45), now=100.0)) == ["a", "b"]
    assert outdated(kept, RecordPlan(keep_s=90), now=100.0) == []


def test_what_is_too_much_goes_oldest_first_counting_the_open_file() -> None:
    kept = [segment("b", 2.0), segment("a", 1.0), segment("c", 3.0)]
    assert names(outdated(kept, RecordPlan(keep_bytes=30), now=9.0)) == []
    assert names(outdated(kept, RecordPlan(keep_bytes=30), now=9.0, open_bytes=1)) == ["a"]
    assert names(outdated(kept, RecordPlan(keep_bytes=15), now=9.0)) == ["a", "b"]


def test_without_limits_everything_stays() -> None:
    assert outdated([segment("a", 0.0, 10**12)], RecordPlan(), now=10.0**9) == []


def test_a_clock_that_was_behind_deletes_nothing() -> None:
    """A board without a battery believes in 1970 until the network tells it the time."""
    assert outdated([segment("a", 1_700_000_000.0)], RecordPlan(keep_s=60), now=5.0) == []


def test_only_own_finished_segments_are_touched(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, RecordPlan(keep_s=1), "door", clock=lambda: NOON)
    for name in ("door-20200101T000000Z.mkv", "door-20200101T000000Z-2.mkv", "yard-20200101T000000Z.mkv",
                 "door-holiday.mkv", "notes.txt"):  # fmt: skip
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (0, 0))
    current = shelf.next_path()
    current.write_bytes(b"x")
    os.utime(current, (0, 0))
    (tmp_path / "door-20200101T000001Z.mkv").symlink_to(tmp_path / "notes.txt")
    assert shelf.tidy() == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        ["yard-20200101T000000Z.mkv", "door-holiday.mkv", "notes.txt", current.name,
         "door-20200101T000001Z.mkv"]
    )  # fmt: skip


def test_two_files_of_one_second_are_two_files(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, RecordPlan(), "door", clock=lambda: NOON)
    first = shelf.next_path()
    first.write_bytes(b"x")
    second = shelf.next_path()
    second.write_bytes(b"x")
    third = shelf.next_path()
    assert [p.name for p in (first, second, third)] == [
        "door-20260501T120000Z.mkv", "door-20260501T120000Z-2.mkv", "door-20260501T120000Z-3.mkv"
    ]  # fmt: skip


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="is a file"):
        Shelf(tmp_path / "file", RecordPlan(), "door")
    with pytest.raises(RecordError, match="there is no folder"):
        Shelf(tmp_path / "none" / "below", RecordPlan(), "door")


def length(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return [round(float(f.time or 0) * 1000) for f in container.decode(video=0)]


def test_segments_hold_every_frame_once_and_begin_at_zero(tmp_path: Path) -> None:
    folder = tmp_path / "rec"
    shelf = Shelf(folder, RecordPlan(segment_s=1.0), "door", clock=lambda: NOON)
    recorder = Recorder(folder, pytest.fail, shelf=shelf)
    for n in range(60):
        recorder.push(masked(n))
    recorder.close()
    files = [folder / f"door-20260501T120000Z{end}.mkv" for end in ("", "-2", "-3")]
    assert [length(path) for path in files] == [
        [40 * n for n in range(25)], [40 * n for n in range(25)], [40 * n for n in range(10)]
    ]  # fmt: skip
    assert sorted(folder.iterdir()) == sorted(files)


class Disk:
    """A disk whose room the test sets, and a clock that goes on with each look at it."""

    def __init__(self) -> None:
        self.free = [500, 500]
        self.at = 0.0

    def free_bytes(self, folder: Path) -> int:
        return self.free.pop(0) if len(self.free) > 1 else self.free[0]

    def now(self) -> float:
        self.at += 3.0
        return self.at


def test_a_disk_without_room_stops_recording_with_one_line_and_room_starts_it_again(tmp_path: Path) -> None:
    disk, lines = Disk(), list[str]()
    disk.free = [500, 500, 99, 50, 105, 109, 111, 500]
    plan = RecordPlan(min_free_bytes=100)
    shelf = Shelf(tmp_path / "rec", plan, "door", disk.free_bytes, lambda: NOON)
    recorder = Recorder(tmp_path / "rec", lines.append, shelf=shelf, now=disk.now)
    for n in range(10):
        recorder.push(masked(n))
    recorder.close()
    assert len(lines) == 1
    assert "has stopped (less than 1e-07 GB is free)" in lines[0]
    assert (recorder.written, recorder.dropped) == (6, 4)
    assert length(tmp_path / "rec" / "door-20260501T120000Z.mkv") == [0, 40]
    assert length(tmp_path / "rec" / "door-20260501T120000Z-2.mkv") == [0, 40, 80, 120]


def test_a_disk_that_fails_is_tried_again_in_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "out.mkv"
    path.symlink_to("/dev/full")
    lines: list[str] = []
    disk = Disk()
    recorder = Recorder(path, lines.append, now=disk.now)
    for n in range(20):
        recorder.push(masked(n))
    recorder.close()
    assert len(lines) == 1
    assert "No space left on device" in lines[0]
    assert length(tmp_path / "out-2.mkv")[-1] == 19 * 40
    assert recorder.written + recorder.dropped >= 20
