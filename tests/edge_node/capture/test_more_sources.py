"""Folders, turned pictures, cameras on ribbon cables, changing sizes, and the list of what is there."""

from __future__ import annotations

import json
import os
import struct
import sys
import threading
from pathlib import Path
from typing import Any, ClassVar

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from edge_node.__main__ import app
from edge_node.capture.csi import JetsonCamera, PiCamera, has_argus, load_picamera, pipeline
from edge_node.capture.listing import ENUM_FMT, ENUM_FRAMESIZES, QUERYCAP, v4l2
from edge_node.capture.opening import open_source
from edge_node.capture.source import SourceEnded, SourceError, SourceLost, SourceOptions
from tests.edge_node.capture.clips import number_image, number_of, write_clip

ONCE = SourceOptions(loop=False)


def test_a_folder_is_played_in_the_order_of_its_names_and_what_is_no_video_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, first in (("clip10.mp4", 8), ("clip2.mkv", 4), ("Clip1.mp4", 0)):
        write_clip(tmp_path / name, [number_image(first + n) for n in range(4)])
    (tmp_path / "clip3.mp4").write_bytes(b"no video")
    (tmp_path / "notes.txt").write_text("")
    source = open_source(str(tmp_path), ONCE)
    frames = [source.read() for _ in range(12)]
    assert [number_of(f.image) for f in frames] == list(range(12))
    assert np.diff([f.pts_s for f in frames]) == pytest.approx([0.04] * 11, abs=0.002)
    with pytest.raises(SourceEnded):
        source.read()
    source.close()
    assert "clip3.mp4 cannot be read as a video" in caplog.text


def test_a_looped_folder_begins_again(tmp_path: Path) -> None:
    for n in range(2):
        write_clip(tmp_path / f"{n}.mp4", [number_image(n)] * 2)
    source = open_source(str(tmp_path))
    assert [number_of(source.read().image) for _ in range(6)] == [0, 0, 1, 1, 0, 0]
    source.close()


def test_a_folder_without_a_video_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no video file"):
        open_source(str(tmp_path))
    (tmp_path / "a.mp4").write_bytes(b"x")
    with pytest.raises(SourceError, match="not one file"):
        open_source(str(tmp_path))


@pytest.mark.parametrize(("degrees", "corner"), [(90, (0, -1)), (180, (-1, -1)), (270, (-1, 0))])
def test_pictures_are_turned_clockwise(tmp_path: Path, degrees: int, corner: tuple[int, int]) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    image[:24, :24] = 255  # top left
    path = write_clip(tmp_path / "a.mp4", [image] * 2)
    source = open_source(str(path), SourceOptions(loop=False, rotate=degrees))
    turned = source.read().image
    source.close()
    assert (source.info.width, source.info.height) == (turned.shape[1], turned.shape[0])
    assert turned.shape[:2] == ((48, 64) if degrees == 180 else (64, 48))
    assert turned[corner].min() > 200
    assert turned.mean() < 80


def test_a_size_that_changes_in_mid_stream_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "changing.h264"
    with path.open("wb") as out:
        for width, height in ((64, 48), (96, 64)):
            clip = write_clip(tmp_path / f"{width}.h264", [number_image(3, width, height)] * 5)
            out.write(clip.read_bytes())
    source = open_source(str(path), ONCE)
    shapes = [source.read().image.shape[:2] for _ in range(10)]
    with pytest.raises(SourceEnded):
        source.read()
    source.close()
    assert shapes == [(48, 64)] * 5 + [(64, 96)] * 5


class FakePi:
    """Stands in for picamera2's class."""

    asked: ClassVar[dict[str, Any]] = {}

    def __init__(self, number: int) -> None:
        self.calls: list[str] = []
        self.left = 2

    @staticmethod
    def global_camera_info() -> list[dict[str, str]]:
        return [{"Model": "imx708"}]

    def create_video_configuration(self, **wishes: Any) -> dict[str, Any]:
        FakePi.asked = wishes
        return wishes

    def configure(self, configuration: dict[str, Any]) -> None:
        self.calls.append("configure")

    def start(self) -> None:
        self.calls.append("start")

    def capture_array(self, name: str) -> np.ndarray:
        if not self.left:
            raise RuntimeError("camera frontend has timed out")
        self.left -= 1
        return np.full((720, 1280, 3), 7, np.uint8)

    def stop(self) -> None: ...

    def close(self) -> None: ...


class HangingPi(FakePi):
    """Whose driver never answers."""

    free = threading.Event()

    def capture_array(self, name: str) -> np.ndarray:
        if self.left == 1:
            HangingPi.free.wait()
        return super().capture_array(name)


def test_a_pi_camera_that_hangs_is_lost_and_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    source = PiCamera(0, SourceOptions(), lambda: HangingPi, limit_s=0.05)
    source.read()
    with pytest.raises(SourceLost):
        source.read()
    source.close()
    HangingPi.free.set()
    assert "csi://0 does not let go" in caplog.text


def test_a_gstreamer_that_hangs_is_no_jetson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("gst-launch-1.0", "gst-inspect-1.0"):
        (tmp_path / name).write_text("#!/bin/sh\nexec sleep 600\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("edge_node.capture.csi.INSPECT_S", 0.05)
    assert not has_argus()


def test_a_pi_camera_gives_pictures_and_is_lost_when_it_stops() -> None:
    source = PiCamera(0, SourceOptions(), lambda: FakePi)
    assert (source.info.width, source.info.height, source.info.label) == (1280, 720, "csi://0")
    assert FakePi.asked["main"] == {"size": (1280, 720), "format": "RGB888"}
    assert source.read().image.shape == (720, 1280, 3)
    source.read()
    with pytest.raises(SourceLost):
        source.read()
    source.close()
    source.close()
    with pytest.raises(SourceError, match="libcamera finds 1"):
        PiCamera(1, SourceOptions(), lambda: FakePi)


def test_without_the_boards_software_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(SourceError, match="apt install python3-picamera2"):
        load_picamera()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SourceError, match="JetPack"):
        open_source("jetson://0")
    for spec in ("csi://x", "jetson://"):
        with pytest.raises(SourceError, match="for the first camera"):
            open_source(spec)


def test_a_jetson_camera_is_read_picture_by_picture_and_lost_when_it_ends() -> None:
    program = (
        "import sys\nfor n in (10, 20):\n for part in range(4): sys.stdout.buffer.write(bytes([n]) * 6144);"
        " sys.stdout.flush()\n"
    )
    options = SourceOptions(width=128, height=48)
    source = JetsonCamera(0, options, [sys.executable, "-c", program], timeout_s=100)
    images = [source.read().image for _ in range(2)]
    assert [(i.shape, int(i.mean())) for i in images] == [((48, 128, 3), 10), ((48, 128, 3), 20)]
    with pytest.raises(SourceLost, match="has ended"):
        source.read()
    source.close()
    hung = [sys.executable, "-c", "import time; time.sleep(600)"]
    with pytest.raises(SourceLost, match="no picture within"):
        JetsonCamera(0, options, hung, timeout_s=0.05)
    assert "sensor-id=1" in pipeline(1, options)


def answer(device: Path, request: int, data: bytearray) -> bool:
    """A driver with one camera that has MJPEG in two sizes and raw pictures in steps, and a decoder."""
    if device.name == "video7":
        return False
    if request == QUERYCAP:
        data[16:27] = b"HD Webcam\0\0"
        capture = 1 if device.name == "video0" else 2
        struct.pack_into("=II", data, 84, 0x80000003, capture)
        return True
    (index,) = struct.unpack_from("=I", data, 0)
    if request == ENUM_FMT:
        if index < 2:
            data[44:48] = (b"MJPG", b"YUYV")[index]
        return index < 2
    assert request == ENUM_FRAMESIZES
    if bytes(data[4:8]) == b"MJPG":
        struct.pack_into("=3I", data, 8, 1, 640 * (index + 1), 480 * (index + 1))
        return index < 2
    struct.pack_into("=7I", data, 8, 3, 32, 1920, 2, 32, 1080, 2)
    return True


def test_devices_are_listed_with_formats_and_sizes(tmp_path: Path) -> None:
    for name in ("video0", "video1", "video7", "video-x"):
        (tmp_path / name).touch()
    camera, closed = v4l2(tmp_path, answer)
    assert (camera.spec, camera.name) == (f"{tmp_path}/video0", "HD Webcam")
    assert camera.formats == ("MJPG 640x480 1280x960", "YUYV 32x32 to 1920x1080")
    assert "group video" in closed.note


def test_the_command_names_the_line_for_the_settings() -> None:
    runner = CliRunner()
    lines = runner.invoke(app, ["sources"]).stdout
    assert '[source] spec = "demo"' in lines
    assert json.loads(runner.invoke(app, ["sources", "--json"]).stdout)[-1]["spec"] == "demo"
    assert "Examples" in runner.invoke(app, ["sources", "--help"]).stdout


def test_a_network_camera_is_asked_for_the_transport_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, str]] = []

    def open_nothing(address: str, options: dict[str, str], **_: Any) -> None:
        asked.append(options)
        raise OSError(111, "Connection refused", address)

    monkeypatch.setattr(av, "open", open_nothing)
    for transport in ("tcp", "udp"):
        with pytest.raises(SourceLost) as lost:
            open_source("rtsp://ada:s3cr3t@10.0.0.9/x?k=s3cr3t", SourceOptions(rtsp_transport=transport))
        assert "s3cr3t" not in str(lost.value)
    assert [options["rtsp_transport"] for options in asked] == ["tcp", "udp"]
