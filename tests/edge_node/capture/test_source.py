"""What a spec opens, what its errors say, and the clock that never goes back."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from edge_node.capture.camera import CameraSource, found_cameras
from edge_node.capture.opening import camera_device, open_source
from edge_node.capture.source import (
    SourceClock,
    SourceError,
    SourceKind,
    SourceLost,
    SourceOptions,
    label_of,
)


@pytest.mark.parametrize(
    ("url", "label"),
    [
        ("rtsp://admin:hunter2@10.0.0.7:554/h264", "rtsp://10.0.0.7:554/h264"),
        ("rtsp://admin:p@ss@10.0.0.7/a", "rtsp://10.0.0.7/a"),
        ("rtsp://admin:pa/ss@10.0.0.7/a", "rtsp://10.0.0.7/a"),
        ("http://cam/video?user=a&pwd=hunter2#x", "http://cam/video"),
        ("rtsp://[broken", "rtsp://…"),
    ],
)
def test_a_label_holds_no_credentials(url: str, label: str) -> None:
    assert label_of(url) == label


@pytest.mark.parametrize(
    ("spec", "device"),
    [("0", "/dev/video0"), ("12", "/dev/video12"), ("/dev/video3", "/dev/video3"), ("clip.mp4", None)],
)
def test_numbers_and_device_paths_are_cameras(spec: str, device: str | None) -> None:
    assert camera_device(spec) == device


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("", "no source given"),
        ("99999999999999999999", "no camera number"),
        ("ftp://host/clip.mp4", "ftp:// is not a source"),
        ("/no/such/clip.mp4", "there is no file /no/such/clip.mp4"),
        ("/proc", "/proc holds no video file"),
        ("/dev/video250", "no camera at /dev/video250; cameras found: "),
    ],
)
def test_a_source_that_cannot_be_says_why_in_one_line(spec: str, words: str) -> None:
    with pytest.raises(SourceError) as error:
        open_source(spec)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_camera_that_does_not_answer_is_lost_and_its_password_unsaid(scheme: str) -> None:
    with pytest.raises(SourceLost) as lost:
        open_source(f"{scheme}://admin:hunter2@127.0.0.1:1/live?token=hunter2")
    assert str(lost.value) == f"{scheme}://127.0.0.1:1/live does not answer (Connection refused)"
    assert lost.value.__cause__ is None
    assert lost.value.__suppress_context__


def test_cameras_are_found_in_order_with_their_names(tmp_path: Path) -> None:
    dev, names = tmp_path / "dev", tmp_path / "names"
    for name in ("video10", "video2", "video-dec"):
        (dev / name).mkdir(parents=True)
    (names / "video2").mkdir(parents=True)
    (names / "video2" / "name").write_text("HD Webcam\n")
    assert found_cameras(dev, names) == f"{dev}/video2 (HD Webcam), {dev}/video10"
    assert found_cameras(tmp_path / "none", names) == "none"


class FakeCapture:
    """Stands in for OpenCV's capture: a number of pictures, then none."""

    def __init__(self, pictures: int, is_open: bool = True) -> None:
        self.left = pictures
        self.is_open = is_open
        self.released = 0

    def isOpened(self) -> bool:
        return self.is_open

    def read(self) -> tuple[bool, np.ndarray | None]:
        if not self.left:
            return False, None
        self.left -= 1
        return True, np.zeros((48, 64, 3), np.uint8)

    def get(self, key: int) -> float:
        return 30.0

    def set(self, key: int, value: float) -> bool:
        return True

    def release(self) -> None:
        self.released += 1


def test_a_local_camera_gives_its_size_and_stamps_by_arrival() -> None:
    clock = iter([100.0, 100.0, 100.04])
    capture = FakeCapture(2)
    source = CameraSource("/dev/video0", SourceOptions(), lambda _: capture, lambda: next(clock))
    assert (source.info.width, source.info.height, source.info.fps) == (64, 48, 30.0)
    assert source.info.kind is SourceKind.CAMERA
    assert source.info.is_live
    stamps = [source.read().pts_s, source.read().pts_s]
    assert stamps == pytest.approx([0.0, 0.04])
    with pytest.raises(SourceLost, match="unplugged"):
        source.read()
    source.close()
    source.close()
    assert capture.released == 1


def test_a_device_that_is_no_camera_is_released_and_named() -> None:
    capture = FakeCapture(0, is_open=False)
    with pytest.raises(SourceError, match="does not open as a camera"):
        CameraSource("/dev/video0", SourceOptions(), lambda _: capture)
    assert capture.released == 1


def test_the_clock_never_goes_back() -> None:
    clock = SourceClock(0.04)
    claimed = [1.0, 1.04, 1.04, 1.02, 1.08, None, 0.0, 0.04, 5.0]
    stamps = [clock.stamp(pts) for pts in claimed]
    assert stamps == pytest.approx([1.0, 1.04, 1.041, 1.042, 1.08, 1.12, 1.16, 1.20, 6.16])
    assert all(b > a for a, b in itertools.pairwise(stamps))


def test_a_restarted_clock_goes_on_one_frame_later() -> None:
    clock = SourceClock(0.04)
    first = [clock.stamp(pts) for pts in (0.0, 0.04)]
    clock.restart()
    again = [clock.stamp(pts) for pts in (0.0, 0.04)]
    assert first + again == pytest.approx([0.0, 0.04, 0.08, 0.12])
    clock.restart()
    assert clock.stamp(100.0) == pytest.approx(0.16)
