"""The overload benchmark's arithmetic: a trend that bursts do not tilt, and a judge that sees."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from benchmarks.leak_clips import Clip
from benchmarks.overload import KEPT_EVERY, SCENE, Overloaded, by_second, judged
from edge_node.frames import RawFrame, ReleaseReason
from edge_node.privacy.decisions import Plan
from edge_node.privacy.veil import VeilSettings, mask, mask_fully
from tests.faults.footage import Footage


def test_every_second_counts_once_however_many_frames_it_had() -> None:
    at = np.array([0.1, 0.2, 0.3, 2.5])
    middles, medians = by_second(at, np.array([1.0, 9.0, 2.0, 5.0]))
    assert middles.tolist() == [0.5, 2.5]
    assert medians.tolist() == [2.0, 5.0]


def test_the_next_round_of_the_clip_is_judged_at_other_frames() -> None:
    assert round(SCENE.seconds * SCENE.scenario.fps) % KEPT_EVERY


def pushed(tmp_path: Path, hide: bool) -> Overloaded:
    """A sink that got seven frames of a clip."""
    footage, path = Footage(), tmp_path / "clip.mkv"
    frames = [footage.frame(n) for n in range(7)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width = frames[0][0].shape[:2]
        stream.options = {"crf": "10"}
        for image, _ in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())
    faces = {n: [one.face for one in known] for n, (_, known) in enumerate(frames)}
    sink = Overloaded(Clip("clip", path, faces), len(frames))
    for n, (image, known) in enumerate(frames):
        boxes = tuple(one.face.box_xyxy for one in known) if hide else ()
        sink.push(mask(RawFrame(n, 0.0, n / 25, image), Plan(boxes, ()), VeilSettings()))
    return sink


def test_open_faces_leak(tmp_path: Path) -> None:
    sink = pushed(tmp_path, hide=False)
    leaks, face_frames = judged(sink.clip, sink.kept)
    assert len(sink.kept) == 3
    assert (len(leaks), face_frames) == (9, 9)
    assert "frame 0 (0), frontal" in leaks[0]


def test_veiled_faces_do_not_leak(tmp_path: Path) -> None:
    sink = pushed(tmp_path, hide=True)
    leaks, face_frames = judged(sink.clip, sink.kept)
    assert (leaks, face_frames) == ([], 9)


def test_a_frame_that_is_veiled_in_full_is_counted_and_not_judged(tmp_path: Path) -> None:
    sink = pushed(tmp_path, hide=False)
    frame = RawFrame(9, 0.0, 1.0, np.zeros((360, 640, 3), np.uint8))
    sink.push(mask_fully(frame, ReleaseReason.LATE))
    assert sink.is_full == [False] * 7 + [True]
    assert len(sink.kept) == 3
