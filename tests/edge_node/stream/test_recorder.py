"""Recordings: every frame once with its time, whatever the size, and playable up to a full disk."""

from __future__ import annotations

import resource
import threading
from pathlib import Path

import av
import numpy as np
import pytest

from edge_node.capture.opening import open_source
from edge_node.capture.source import SourceOptions
from edge_node.frames import ReleaseReason
from edge_node.stream.errors import RecordError
from edge_node.stream.recorder import Recorder
from tests.edge_node.stream.frames import masked


def play(path: Path) -> list[tuple[int, np.ndarray]]:
    """(milliseconds, picture) of every frame."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [
            (round(float(f.time or 0) * 1000), f.to_ndarray(format="bgr24")) for f in container.decode(stream)
        ]


def no_error(line: str) -> None:
    raise AssertionError(line)


def test_every_frame_is_kept_once_in_order_at_its_millisecond(tmp_path: Path) -> None:
    path = tmp_path / "out.mkv"
    recorder = Recorder(path, no_error, lambda: 30000 / 1001)
    stamps = [0.0, 0.033, 0.067, 0.1001, 0.7, 0.701, 5.25]
    for n, stamp in enumerate(stamps):
        recorder.push(masked(n, pts_s=stamp))
    recorder.close()
    recorder.close()
    frames = play(path)
    assert [ms for ms, _ in frames] == [0, 33, 67, 100, 700, 701, 5250]
    assert [round((image.mean() - 16) / 8) for _, image in frames] == list(range(7))
    assert (recorder.written, recorder.dropped, recorder.has_failed) == (7, 0, False)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert not stream.codec_context.has_b_frames
        assert float(stream.average_rate or 0) == pytest.approx(29.97, abs=0.01)


def test_colors_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "out.mkv"
    image = np.zeros((64, 96, 3), np.uint8)
    image[:, :32], image[:, 32:64], image[:, 64:] = (200, 60, 40), (40, 190, 60), (50, 70, 210)
    recorder = Recorder(path, no_error)
    recorder.push(masked(0, image))
    recorder.close()
    back = play(path)[0][1].astype(int)
    for left in (0, 32, 64):
        middle = slice(left + 8, left + 24)
        assert np.abs(back[8:-8, middle].mean((0, 1)) - image[0, left + 8]).max() < 6
    source = open_source(str(path), SourceOptions(loop=False))
    assert np.abs(source.read().image.astype(int) - back).max() <= 2
    source.close()


def test_the_notice_of_a_lost_camera_is_no_frame(tmp_path: Path) -> None:
    path = tmp_path / "out.mkv"
    recorder = Recorder(path, no_error)
    recorder.push(masked(0, pts_s=0.0, reason=ReleaseReason.NO_SOURCE))
    recorder.push(masked(0, pts_s=0.0))
    recorder.push(masked(0, pts_s=0.0, reason=ReleaseReason.NO_SOURCE))
    recorder.push(masked(1, pts_s=9.0, reason=ReleaseReason.LATE))
    recorder.close()
    assert [ms for ms, _ in play(path)] == [0, 9000]


@pytest.mark.parametrize("size", [(49, 65), (48, 65), (49, 64)])
def test_odd_sizes_gain_a_row_or_a_column(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "out.mkv"
    recorder = Recorder(path, no_error)
    recorder.push(masked(0, np.full((*size, 3), 120, np.uint8)))
    recorder.close()
    image = play(path)[0][1]
    assert image.shape == (size[0] + size[0] % 2, size[1] + size[1] % 2, 3)
    assert np.abs(image.astype(int) - 120).max() <= 4


def test_a_new_size_is_fitted_into_the_first(tmp_path: Path) -> None:
    path = tmp_path / "out.mkv"
    recorder = Recorder(path, no_error)
    recorder.push(masked(0, np.full((64, 64, 3), 200, np.uint8)))
    recorder.push(masked(1, np.full((64, 128, 3), 200, np.uint8)))
    recorder.close()
    image = play(path)[1][1]
    assert image.shape == (64, 64, 3)
    assert image[24:40, 8:56].min() > 180
    assert image[:8].max() < 40
    assert image[-8:].max() < 40


class Held(list[np.ndarray]):
    """Gives pictures that the recorder cannot finish until told: its first one asks for the rate."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go = threading.Event(), threading.Event()

    def fps(self) -> float:
        self.asked.set()
        assert self.go.wait(5)
        return 25.0


def test_a_full_queue_leaves_out_the_newest_and_counts_it(tmp_path: Path) -> None:
    path = tmp_path / "out.mkv"
    held = Held()
    one = masked(0).image.nbytes
    recorder = Recorder(path, no_error, held.fps, max_waiting_bytes=3 * one)
    recorder.push(masked(0))
    assert held.asked.wait(5)
    for n in range(1, 8):
        recorder.push(masked(n))
    held.go.set()
    recorder.close()
    assert [ms for ms, _ in play(path)] == [0, 40, 80, 120]
    assert (recorder.written, recorder.dropped) == (4, 4)


def test_a_disk_that_fills_up_is_told_once_and_the_file_stays_playable(tmp_path: Path) -> None:
    path = tmp_path / "out.mkv"
    rng = np.random.default_rng(1)
    lines: list[str] = []
    failed = threading.Event()
    recorder = Recorder(path, lambda line: (lines.append(line), failed.set()))  # type: ignore[func-returns-value]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, limits[1]))
    try:
        for n in range(120):
            recorder.push(masked(n, rng.integers(0, 255, (120, 160, 3), np.uint8)))
        assert failed.wait(30)
        recorder.push(masked(999))
        recorder.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(lines) == 1
    assert f"recording to {path} has stopped (File too large)" in lines[0]
    assert recorder.has_failed
    assert recorder.dropped > 0
    frames = play(path)
    assert 10 < len(frames) <= recorder.written


def test_a_disk_that_is_full_from_the_start_is_told(tmp_path: Path) -> None:
    path = tmp_path / "out.mkv"
    path.symlink_to("/dev/full")
    lines: list[str] = []
    recorder = Recorder(path, lines.append)
    recorder.push(masked(0))
    recorder.close()
    assert len(lines) == 1
    assert "No space left on device" in lines[0]


def test_an_earlier_recording_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "out.mkv"
    for content in (b"first", b"second"):
        path.write_bytes(content)
        recorder = Recorder(path, no_error)
        recorder.push(masked(0))
        recorder.close()
    assert (tmp_path / "out.1.mkv").read_bytes() == b"first"
    assert (tmp_path / "out.2.mkv").read_bytes() == b"second"
    assert len(play(path)) == 1


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("out.mp4", "call it out.mkv"),
        ("none/out.mkv", "there is no folder"),
        ("dir.mkv", "is a folder"),
    ],
)
def test_a_path_that_cannot_be_is_refused_at_once(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "dir.mkv").mkdir()
    with pytest.raises(RecordError, match=words):
        Recorder(tmp_path / name, no_error)


def test_without_a_frame_no_file_is_made(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "out.mkv", no_error)
    recorder.close()
    assert not (tmp_path / "out.mkv").exists()
