"""The leak checker: finds every face that shows, and none behind a veil, a plate or a heavy blur."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.leak_check import Face, Verdict, changed_share, check, is_plate
from edge_node.capture.portraits import DEMO_NAMES, demo_portraits
from edge_node.frames import RawFrame
from edge_node.privacy.decisions import Plan
from edge_node.privacy.veil import Style, VeilSettings, blank, mask
from tests.data import DATA, needs_data

Pixels = NDArray[np.uint8]
Box = tuple[float, float, float, float]

LFW_BOX: Box = (80.0, 72.0, 170.0, 190.0)
"""Every photo of the deep-funneled set shows its face here."""


def lfw(count: int) -> list[Pixels]:
    paths = sorted((DATA / "lfw" / "images").glob("*/*.jpg"))
    return [np.asarray(cv2.imread(str(p)), np.uint8) for p in paths[:: len(paths) // count][:count]]


def demo_faces() -> list[tuple[Pixels, Box]]:
    return [(np.ascontiguousarray(p.bgra[:, :, :3]), p.face_xyxy) for p in demo_portraits()]


def verdicts(hide: Callable[[Pixels, Box], Pixels], scale: float = 1.0) -> list[Verdict]:
    found = []
    for photo in lfw(40):
        image = np.asarray(cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
        x1, y1, x2, y2 = (scale * v for v in LFW_BOX)
        box = (x1, y1, x2, y2)
        verdict = check(image, as_sent(hide(image, box)), Face(0, 0, box, "frontal"))
        assert verdict is not None
        found.append(verdict)
    return found


def as_sent(image: Pixels) -> Pixels:
    """Through a lossy codec, as every output goes."""
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], 1))


def veiled(image: Pixels, box: Box, style: Style = Style.VEIL) -> Pixels:
    frame = RawFrame(seq=0, captured_at=0.0, pts_s=0.0, image=image)
    return mask(frame, Plan((box,), ()), VeilSettings(style=style)).image


def mosaic(image: Pixels, block: int) -> Pixels:
    height, width = image.shape[:2]
    small = cv2.resize(image, (width // block, height // block), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST))


def chin_covered(image: Pixels, box: Box) -> Pixels:
    out = image.copy()
    out[int(box[1] + 0.6 * (box[3] - box[1])) :] = 90
    return out


def one_half_covered(image: Pixels, box: Box) -> Pixels:
    out = image.copy()
    out[:, int((box[0] + box[2]) / 2) :] = 90
    return out


@needs_data
@pytest.mark.parametrize("scale", [1.0, 0.25])
@pytest.mark.parametrize(
    "hide",
    [
        pytest.param(lambda image, box: image, id="as it is"),
        pytest.param(lambda image, box: cv2.GaussianBlur(image, (0, 0), 0.03 * (box[3] - box[1])), id="blur"),
        pytest.param(lambda image, box: mosaic(image, 2), id="mosaic 2 px"),
        pytest.param(lambda image, box: mosaic(image, 4), id="mosaic 4 px"),
        pytest.param(chin_covered, id="chin covered"),
        pytest.param(one_half_covered, id="one half covered"),
        pytest.param(lambda image, box: np.roll(image, 1, axis=1), id="moved by a pixel"),
        pytest.param(lambda image, box: (image * 0.6 + 40).astype(np.uint8), id="faded"),
    ],
)
def test_a_face_that_shows_leaks(hide: Callable[[Pixels, Box], Pixels], scale: float) -> None:
    assert all(v.leaked for v in verdicts(hide, scale))


@needs_data
@pytest.mark.parametrize("scale", [1.0, 0.25])
@pytest.mark.parametrize(
    "hide",
    [
        pytest.param(veiled, id="veil"),
        pytest.param(lambda image, box: veiled(image, box, Style.SOLID), id="solid"),
        pytest.param(lambda image, box: cv2.blur(image, (round(0.8 * (box[2] - box[0])),) * 2), id="heavy"),
        pytest.param(lambda image, box: np.full_like(image, 60), id="full frame"),
    ],
)
def test_a_face_that_is_hidden_does_not(hide: Callable[[Pixels, Box], Pixels], scale: float) -> None:
    assert not any(v.leaked for v in verdicts(hide, scale))


@pytest.mark.parametrize("person", range(len(DEMO_NAMES)), ids=DEMO_NAMES)
def test_the_portraits_of_the_demo(person: int) -> None:
    image, box = demo_faces()[person]
    face = Face(0, 0, box, "frontal")
    shown, hidden = check(image, image, face), check(image, veiled(image, box), face)
    assert shown is not None
    assert shown.leaked
    assert hidden is not None
    assert not hidden.leaked


def test_what_stands_before_a_face_is_not_the_face() -> None:
    image, box = demo_faces()[0]
    middle = box[1] + 0.6 * (box[3] - box[1])
    before = (0.0, middle, float(image.shape[1]), float(image.shape[0]))
    out = np.full_like(image, 80)
    out[int(middle) :] = image[int(middle) :]  # only what stands before the face is seen
    face = Face(0, 0, box, "partial", hidden=(before,))
    verdict = check(image, out, face)
    assert verdict is not None
    assert not verdict.leaked
    shown = check(image, image, face)
    assert shown is not None
    assert shown.leaked


def test_a_face_without_a_visible_eye_does_not_count() -> None:
    image, box = demo_faces()[0]
    assert check(image, image, Face(0, 0, box, "partial", hidden=(box,))) is None
    beyond = (float(image.shape[1]) + 10, 0.0, float(image.shape[1]) + 90, 100.0)
    assert check(image, image, Face(0, 0, beyond, "partial")) is None


def test_nothing_to_see_is_no_leak() -> None:
    black = np.zeros((200, 200, 3), np.uint8)
    verdict = check(black, black, Face(0, 0, (50.0, 50.0, 130.0, 150.0), "frontal"))
    assert verdict is not None
    assert not verdict.leaked


def test_frames_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="size"):
        check(
            np.zeros((64, 64, 3), np.uint8),
            np.zeros((64, 66, 3), np.uint8),
            Face(0, 0, (10.0, 10.0, 50.0, 60.0), "frontal"),
        )


def test_changed_share_is_the_painted_part() -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(60, 200, (180, 320, 3), dtype=np.uint8)
    painted = image.copy()
    painted[40:100, 50:150] = 30
    noisy = np.clip(painted.astype(np.int16) + rng.integers(-4, 5, painted.shape), 0, 255).astype(np.uint8)
    assert changed_share(image, noisy) == pytest.approx(60 * 100 / (180 * 320), rel=0.05)
    assert changed_share(image, image) == 0.0


def test_a_frame_with_words_only_is_a_plate() -> None:
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 255, (270, 480, 3), dtype=np.uint8)
    words = blank(480, 270, "Veiled: catching up")
    assert is_plate(picture, as_sent(words))
    assert not is_plate(picture, picture)
    assert not is_plate(words, words)  # a dark stage is no plate: its source is as dark
    window = words.copy()
    window[:, :120] = picture[:, :120]  # a quarter still shows
    assert not is_plate(picture, window)
