"""The crop contract: where pixels and landmarks land, and what bytes are refused."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision.crops import (
    CROP_PX,
    GROWTH,
    LOOK_BYTES,
    MAX_JPEG_BYTES,
    FaceCrop,
    cut_crop,
    decode_crop,
    encode_crop,
    encode_look,
)
from vision.errors import CropError

POINTS = np.array([(90, 90), (140, 90), (115, 120), (95, 150), (135, 150)], np.float32)


def dots(size: int, spots: np.ndarray) -> np.ndarray:
    image = np.zeros((size, size, 3), np.uint8)
    for x, y in spots:
        cv2.circle(image, (round(float(x)), round(float(y))), 6, (255, 255, 255), -1)
    return image


@pytest.mark.parametrize("side", [60, 112, 172.3, 224, 400])
def test_landmarks_point_at_the_same_pixels_in_the_crop(side: float) -> None:
    box = np.array([300 - side / 2, 310 - side / 2, 300 + side / 2, 310 + side / 2])
    spots = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)]) * side + box[:2]
    spots = np.round(spots)
    crop = cut_crop(dots(640, spots), box, spots)
    for x, y in crop.landmarks:
        near = crop.image_rgb[round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2]
        assert near.mean() > 200
    assert np.ptp(crop.landmarks[:, 0]) == pytest.approx(0.4 * CROP_PX / GROWTH, abs=4)


def test_colors_are_rgb() -> None:
    blue_bgr = np.full((100, 100, 3), (255, 0, 0), np.uint8)
    crop = cut_crop(blue_bgr, np.array([20.0, 20.0, 80.0, 80.0]), POINTS)
    assert (crop.image_rgb == (0, 0, 255)).all()


@pytest.mark.parametrize(
    "box", [(-40, -40, 30, 30), (70, 60, 200, 190), (200, 200, 260, 260), (-9, 20, 300, 90)]
)
def test_beyond_the_picture_its_edge_is_repeated(box: tuple[float, ...]) -> None:
    image = np.full((100, 100, 3), 77, np.uint8)
    crop = cut_crop(image, np.array(box, np.float64), POINTS)
    assert (crop.image_rgb == 77).all()


@pytest.mark.parametrize(
    "box", [(0, 0, 0, 0), (5, 5, 1, 9), (0, 0, float("nan"), 5), (0, 0, float("inf"), 5)]
)
def test_what_is_no_box_is_refused(box: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="not a box"):
        cut_crop(np.zeros((50, 50, 3), np.uint8), np.array(box), POINTS)


def face() -> FaceCrop:
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (224, 224, 3), np.uint8), (0, 0), 4)
    return FaceCrop(image, POINTS)


def test_a_crop_survives_the_wire() -> None:
    crop = face()
    back = decode_crop(encode_crop(crop), crop.landmarks)
    assert np.abs(back.image_rgb.astype(int) - crop.image_rgb).max() <= 6
    np.testing.assert_array_equal(back.landmarks, crop.landmarks)


def test_even_noise_fits_into_the_limit() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    assert len(encode_crop(FaceCrop(noise, POINTS))) <= MAX_JPEG_BYTES


@pytest.mark.parametrize("shape", [(225, 224, 3), (224, 225, 3), (2000, 2000, 3), (224, 224)])
def test_a_picture_of_another_size_is_refused_before_it_is_decoded(shape: tuple[int, ...]) -> None:
    _, data = cv2.imencode(".jpg", np.zeros(shape, np.uint8))
    with pytest.raises(CropError, match="224x224"):
        decode_crop(data.tobytes(), POINTS)


def test_a_cut_jpeg_is_refused_or_decoded_but_never_anything_else() -> None:
    data = encode_crop(face())
    for end in range(0, len(data), 97):
        try:
            crop = decode_crop(data[:end], POINTS)
        except CropError:
            continue
        assert crop.image_rgb.shape == (224, 224, 3)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_give_a_crop_or_an_error(data: bytes) -> None:
    for candidate in (data, b"\xff\xd8" + data):
        with pytest.raises(CropError):
            decode_crop(candidate, POINTS)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6])
def test_landmarks_that_cannot_be_are_refused(value: float) -> None:
    bad = POINTS.copy()
    bad[0, 0] = value
    with pytest.raises(CropError, match="landmarks"):
        decode_crop(encode_crop(face()), bad)


@pytest.mark.parametrize("grain_px", [1.2, 2.0, 4.0, 16.0])
def test_a_look_fits_whatever_the_camera_sees(grain_px: float) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (CROP_PX, CROP_PX, 3)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), grain_px)
    image = cv2.normalize(soft, soft, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    jpeg = encode_look(FaceCrop(image, POINTS))
    assert len(jpeg) <= LOOK_BYTES
    assert decode_crop(jpeg, POINTS).image_rgb.shape == (CROP_PX, CROP_PX, 3)


def test_a_look_with_little_detail_is_coded_well() -> None:
    image = np.full((CROP_PX, CROP_PX, 3), (200, 150, 120), np.uint8)
    cv2.circle(image, (112, 112), 60, (90, 60, 40), -1)
    back = decode_crop(encode_look(FaceCrop(image, POINTS)), POINTS)
    assert np.abs(back.image_rgb.astype(int) - image).mean() < 2
