"""Files and streams through PyAV: every frame, upright, with its time, and damage is survived."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_node.capture.media import MediaSource
from edge_node.capture.opening import open_source
from edge_node.capture.source import (
    CapturedImage,
    FrameSource,
    SourceEnded,
    SourceError,
    SourceLost,
    SourceOptions,
)
from tests.edge_node.capture.clips import (
    QUARTER_TURN_CLOCKWISE,
    number_image,
    number_of,
    turn_clip,
    write_clip,
)

CLIPS = Path(__file__).parents[3] / ".." / "shared" / "data" / "video"
ONCE = SourceOptions(loop=False)


def read_all(source: FrameSource) -> list[CapturedImage]:
    frames: list[CapturedImage] = []
    with contextlib.suppress(SourceEnded):
        read_into(frames, source)
    source.close()
    return frames


def read_into(frames: list[CapturedImage], source: FrameSource) -> None:
    while True:
        frames.append(source.read())


def test_every_frame_of_a_file_comes_once_in_order_with_its_time(tmp_path: Path) -> None:
    stamps = [0, 40, 95, 120, 400, 433, 466, 1500, 1501, 1600]
    path = write_clip(tmp_path / "a.mkv", [number_image(n) for n in range(10)], stamps)
    source = open_source(str(path), ONCE)
    frames = read_all(source)
    assert [number_of(f.image) for f in frames] == list(range(10))
    assert [round(f.pts_s * 1000) for f in frames] == stamps
    assert (source.info.width, source.info.height, source.info.is_live) == (64, 48, False)
    assert frames[0].image.dtype == np.uint8
    assert frames[0].image.flags.c_contiguous


def test_a_looped_file_goes_on_with_its_clock(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", [number_image(n) for n in range(5)])
    source = open_source(str(path))
    frames = [source.read() for _ in range(12)]
    source.close()
    assert [number_of(f.image) for f in frames] == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]
    assert np.diff([f.pts_s for f in frames]) == pytest.approx([0.04] * 11, abs=0.002)


def test_a_clip_of_a_phone_is_turned_upright(tmp_path: Path) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    image[:24, :32] = (0, 0, 255)  # red, top left: after a quarter turn clockwise it is top right
    path = write_clip(tmp_path / "phone.mp4", [image] * 3)
    turn_clip(path, QUARTER_TURN_CLOCKWISE)
    source = open_source(str(path), ONCE)
    upright = source.read().image
    source.close()
    assert (source.info.width, source.info.height) == (48, 64)
    assert upright.shape == (64, 48, 3)
    red = upright[..., 2] > 128
    assert red[:30, 28:].all()
    assert not red[:, :20].any()
    assert not red[36:].any()


def test_damage_in_a_file_costs_frames_and_not_the_rest(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    images = [cv2.resize(rng.integers(0, 255, (12, 16, 3), np.uint8), (320, 240)) for _ in range(60)]
    path = write_clip(tmp_path / "a.mkv", images)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = rng.integers(0, 255, 4000, np.uint8).tobytes()
    path.write_bytes(data)
    source = open_source(str(path), ONCE)
    frames = read_all(source)
    assert 20 <= len(frames) < 60
    assert source.skipped > 0
    assert all(b.pts_s > a.pts_s for a, b in itertools.pairwise(frames))


@pytest.mark.parametrize("content", [b"", b"not a video at all" * 50, b"\0" * 5000])
def test_a_file_that_is_no_video_gives_one_clear_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(SourceError) as error:
        open_source(str(path))
    assert str(path) in str(error.value)
    assert "cannot be read as a video" in str(error.value)


def test_a_file_cut_short_gives_one_clear_line(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", [number_image(n) for n in range(5)])
    path.write_bytes(path.read_bytes()[: path.read_bytes().index(b"moov")])  # an MP4 without its index
    with pytest.raises(SourceError, match="damaged, cut short"):
        open_source(str(path))


def test_a_playlist_file_cannot_open_other_addresses(tmp_path: Path) -> None:
    asked = threading.Event()

    def hang_up(server: socket.socket) -> None:
        with contextlib.suppress(TimeoutError):
            server.accept()[0].close()
            asked.set()

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(1.0)
        caller = threading.Thread(target=hang_up, args=(server,))
        caller.start()
        path = tmp_path / "list.m3u8"
        url = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
        path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n")
        with pytest.raises(SourceError):
            open_source(str(path))
        caller.join()
    assert not asked.is_set()


class MjpegCamera:
    """An HTTP camera that sends a few pictures and then hangs up, or falls silent."""

    def __init__(self, pictures: int, silent: bool) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://user:secret@127.0.0.1:{self._server.getsockname()[1]}/video"
        self._pictures, self._silent = pictures, silent
        self.done = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        peer, _ = self._server.accept()
        with peer:
            peer.recv(4096)
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=b\r\n\r\n")
            for n in range(self._pictures):
                jpeg = cv2.imencode(".jpg", number_image(n, 160, 120))[1].tobytes()
                head = f"--b\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                peer.sendall(head.encode() + jpeg + b"\r\n")
            if self._silent:
                self.done.wait(10)
        self._server.close()


@pytest.mark.parametrize("silent", [False, True])
def test_a_network_camera_that_stops_or_falls_silent_is_lost(silent: bool) -> None:
    camera = MjpegCamera(40, silent)
    try:
        source = MediaSource.network(camera.url, SourceOptions(timeout_s=0.3))
        assert source.info.is_live
        assert "secret" not in source.info.label
        frames: list[CapturedImage] = []
        with pytest.raises(SourceLost) as lost:
            read_into(frames, source)
        source.close()
    finally:
        camera.done.set()
    assert len(frames) >= 30
    assert frames[0].pts_s == 0.0
    assert "secret" not in str(lost.value)
    assert ("no answer in time" in str(lost.value)) == silent


@pytest.mark.skipif(not CLIPS.is_dir(), reason="../shared/data is not here")
@pytest.mark.parametrize(
    ("name", "frames", "size"),
    [("hamilton.mp4", 275, (640, 360)), ("royal_opera.mp4", 105, (1920, 1080))],
)
def test_real_clips_are_read_to_the_last_frame(name: str, frames: int, size: tuple[int, int]) -> None:
    source = open_source(str(CLIPS / name), ONCE)
    assert (source.info.width, source.info.height) == size
    assert len(read_all(source)) == frames
    assert source.skipped == 0
