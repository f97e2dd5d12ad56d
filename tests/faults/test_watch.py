"""The judge of real faults: it sees what must not be seen, and cannot be fooled by what it cannot tell."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from edge_node.capture.portraits import DEMO_NAMES
from edge_node.frames import RawFrame, ReleaseReason
from edge_node.privacy.veil import mask_fully
from tests.faults.footage import LENGTH, SCENARIO, Footage, read_code, write_code
from tests.faults.watch import Ban, judge, recorded
from vision.detections import Image

KNOWN = DEMO_NAMES[0]
FRAMES = (3, 250, 700)


@pytest.fixture(scope="module")
def footage() -> Footage:
    return Footage()


def jpeg_again(image: Image) -> Image:
    """Through the codec of the stream."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def picture(footage: Footage, n: int, hide: str = "") -> Image:
    """Frame `n` as the node would let it out: everyone but the known person under a plate, and she too
    where she is to hide."""
    image, faces = footage.frame(n)
    for one in faces:
        if one.identity != KNOWN or hide == KNOWN:
            x1, y1, x2, y2 = (round(v) for v in one.face.box_xyxy)
            image[y1:y2, x1:x2] = 128
    return jpeg_again(image)


def test_numbers_survive_the_codec() -> None:
    image = np.full((SCENARIO.height, SCENARIO.width, 3), 90, np.uint8)
    assert read_code(image) is None
    for n in (0, 1, 1365, 2730, LENGTH - 1, 4095):
        write_code(image, n)
        assert read_code(jpeg_again(image)) == n
    with pytest.raises(ValueError):
        write_code(image, 4096)


def test_the_way_back_shows_the_same_frames(footage: Footage) -> None:
    there, back = footage.frame(10)[0], footage.frame(LENGTH - 10)[0]
    above = slice(0, SCENARIO.height - 30)
    assert (there[above] == back[above]).all()
    assert (read_code(there), read_code(back)) == (10, LENGTH - 10)


def test_a_stranger_who_is_seen_is_a_leak(footage: Footage) -> None:
    verdict = judge(footage, [(0.0, jpeg_again(footage.frame(n)[0])) for n in FRAMES], KNOWN, ())
    assert (verdict.leaks, verdict.face_frames, verdict.shown) == (6, 6, 3)
    assert "a stranger in frame 3" in verdict.first_leak


def test_the_known_person_may_be_seen_but_not_while_there_is_a_ban(footage: Footage) -> None:
    pictures = [(float(at), picture(footage, n)) for at, n in enumerate(FRAMES)]
    free = judge(footage, pictures, KNOWN, ())
    assert (free.leaks, free.face_frames, free.shown) == (0, 6, 3)
    banned = judge(footage, pictures, KNOWN, [Ban(0.5, 1.5)])
    assert (banned.leaks, banned.face_frames, banned.shown) == (1, 7, 2)
    assert "the known person in frame 250" in banned.first_leak
    assert judge(footage, pictures, KNOWN, [Ban(0.5, 1.5, after=250)]).leaks == 0, "it was on its way"


def test_whoever_is_hidden_does_not_leak(footage: Footage) -> None:
    pictures = [(0.0, picture(footage, n, hide=KNOWN)) for n in FRAMES]
    verdict = judge(footage, pictures, KNOWN, [Ban(-1.0, 1.0)])
    assert (verdict.leaks, verdict.face_frames, verdict.shown) == (0, 9, 0)


def test_a_plate_needs_no_number_and_anything_else_does(footage: Footage) -> None:
    image, _ = footage.frame(5)
    plate = mask_fully(RawFrame(0, 0.0, 0.0, image), ReleaseReason.LATE).image
    assert judge(footage, [(0.0, jpeg_again(plate))], KNOWN, ()).face_frames == 0
    image[-30:] = 128
    with pytest.raises(RuntimeError, match="cannot be told"):
        judge(footage, [(0.0, image)], KNOWN, ())


def test_a_recording_plays_as_far_as_it_goes_and_rubbish_does_not(footage: Footage, tmp_path: Path) -> None:
    path = tmp_path / "cut.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = SCENARIO.width, SCENARIO.height, "yuv420p"
        for n in range(30):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(footage.frame(n)[0], format="bgr24")))
        container.mux(stream.encode())
    path.write_bytes(path.read_bytes()[:-10_000])
    codes = [read_code(image) for _, image in recorded(path)]
    assert codes == list(range(len(codes)))
    assert 0 < len(codes) <= 30
    path.write_bytes(b"rubbish" * 100)
    with pytest.raises(RuntimeError, match="cannot be played"):
        list(recorded(path))
