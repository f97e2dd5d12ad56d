"""Where the chip of dlib's network is cut: steadier than by one prediction, and as dlib cuts it."""

from __future__ import annotations

import cv2
import dlib
import numpy as np
import pytest

from hub.embedding.dlib_chip import (
    CHIP_PADDING,
    GRAY,
    STARTS,
    TEMPLATE,
    ChipCutter,
    chip_at,
    similarity,
    starts,
)
from hub.embedding.dlib_onnx import CHIP_PX
from tests.data import DATA, needs_data
from vision.crops import CROP_PX, FaceCrop, cut_crop
from vision.detector import Mtcnn, MtcnnSettings

FIVE = np.array([[80, 90], [140, 90], [110, 120], [85, 150], [135, 150]], np.float32)
RANDOM = np.random.default_rng(5)
NOISE = RANDOM.integers(0, 256, (CROP_PX, CROP_PX, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def cutter() -> ChipCutter:
    return ChipCutter()


@pytest.fixture(scope="module")
def face() -> FaceCrop:
    path = sorted((DATA / "people_knn" / "train" / "obama").iterdir())[0]
    image = np.asarray(cv2.imread(str(path)), np.uint8)
    found = Mtcnn(MtcnnSettings(min_face_px=40)).detect(image)
    return cut_crop(image, found.boxes_xyxy[0], found.landmarks[0])


def test_a_turned_enlarged_and_shifted_shape_is_found_again() -> None:
    turn = np.deg2rad(20)
    matrix = 1.3 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    wanted = FIVE @ matrix.T + (5, -7)
    np.testing.assert_allclose(similarity(FIVE, wanted), np.column_stack([matrix, (5, -7)]), atol=1e-9)


def test_of_points_that_do_not_fit_the_sum_of_squares_is_least() -> None:
    wanted = FIVE * 0.8 + RANDOM.normal(0, 4, (5, 2))
    best = similarity(FIVE, wanted)

    def error(matrix: np.ndarray) -> float:
        return float(((FIVE @ matrix[:, :2].T + matrix[:, 2] - wanted) ** 2).sum())

    for turned in (1 + 0.01j, 1 - 0.01j, 1.01, 0.99):
        turn = complex(best[0, 0], best[1, 0]) * turned
        other = np.array([[turn.real, -turn.imag, best[0, 2]], [turn.imag, turn.real, best[1, 2]]])
        assert error(best) < error(other)


def test_points_in_one_spot_give_a_finite_chip() -> None:
    spot = np.full((5, 2), 50.0)
    assert np.isfinite(similarity(spot, FIVE)).all()
    assert chip_at(NOISE, spot).shape == (CHIP_PX, CHIP_PX, 3)


def test_gray_is_what_dlib_makes_of_three_colors() -> None:
    expected = NOISE.sum(axis=2, dtype=np.uint16) // 3
    np.testing.assert_array_equal(cv2.transform(NOISE, GRAY), expected)


def test_predictions_start_from_the_crops_box_and_about_the_landmarks() -> None:
    boxes = starts(FaceCrop(NOISE, FIVE))
    assert boxes[0] == (26, 26, 198, 198)
    assert len(boxes) == 1 + len(STARTS)
    for box, start in zip(boxes[1:], STARTS, strict=True):
        assert (box[0] + box[2]) / 2 == pytest.approx(110, abs=0.5)
        assert (box[1] + box[3]) / 2 == pytest.approx(120, abs=0.5)
        # The eyes and the mouth are 60 px from each other, as are the eyes.
        assert (box[2] - box[0]) / 2 == pytest.approx(60 * start, abs=0.5)


def test_landmarks_in_one_spot_are_no_place_to_start_from() -> None:
    assert len(starts(FaceCrop(NOISE, np.full((5, 2), 100, np.float32)))) == 1


@needs_data
def test_on_dlibs_own_grid_the_chip_is_dlibs_own(face: FaceCrop) -> None:
    # Points without error: dlib takes the least squares in the photo, we in the chip.
    points = np.rint(TEMPLATE * 100 + (80, 60))
    parts = [dlib.point(int(x), int(y)) for x, y in points]
    shape = dlib.full_object_detection(dlib.rectangle(26, 26, 198, 198), parts)
    theirs = np.asarray(dlib.get_face_chip(face.image_rgb, shape, CHIP_PX, CHIP_PADDING)).astype(int)
    # dlib lays the square's corners on the middles of the outermost pixels: half a pixel from here.
    ours = chip_at(face.image_rgb, points, enlarged=(CHIP_PX - 1) / CHIP_PX)
    ours = cv2.warpAffine(ours, np.array([[1, 0, -0.5], [0, 1, -0.5]]), (CHIP_PX, CHIP_PX))
    inner = np.s_[20:-20, 20:-20]
    difference, by_a_pixel = (
        np.abs(np.roll(ours, shift, axis=1)[inner] - theirs[inner]).mean() for shift in (0, 1)
    )
    assert difference < 3
    assert by_a_pixel > 1.8 * difference


@needs_data
def test_one_start_gone_astray_moves_the_points_little(
    cutter: ChipCutter, face: FaceCrop, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = cutter.points(face)
    predicted = cutter._predicted

    def astray(gray: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
        return predicted(gray, box) + (40 if box == (26, 26, 198, 198) else 0)

    monkeypatch.setattr(cutter, "_predicted", astray)
    assert np.abs(cutter.points(face) - points).max() < 4
