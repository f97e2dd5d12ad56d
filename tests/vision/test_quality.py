"""Quality falls with size, blur, turn and bad light."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.data import DATA, needs_data
from vision.crops import FaceCrop, cut_crop
from vision.detector import Mtcnn, MtcnnSettings
from vision.quality import measured, quality_of, shipped_model


@pytest.fixture(scope="module")
def crops() -> list[FaceCrop]:
    """Faces of LFW, cut by the contract."""
    detector, found = Mtcnn(MtcnnSettings(min_face_px=60)), []
    for path in sorted((DATA / "lfw" / "images").rglob("*.jpg"))[::400][:12]:
        image = cv2.imread(str(path))
        faces = detector.detect(image)
        if len(faces):
            found.append(cut_crop(image, faces.boxes_xyxy[0], faces.landmarks[0]))
    return found


def mean(crops: list[FaceCrop], face_px: float = 120) -> float:
    return float(np.mean([quality_of(c, face_px).overall for c in crops]))


@needs_data
def test_good_faces_are_good(crops: list[FaceCrop]) -> None:
    assert mean(crops) > 0.5


@needs_data
def test_small_faces_are_worse(crops: list[FaceCrop]) -> None:
    assert mean(crops, 24) < 0.5 * mean(crops)


@needs_data
def test_blurred_faces_are_worse(crops: list[FaceCrop]) -> None:
    blurred = [FaceCrop(cv2.GaussianBlur(c.image_rgb, (0, 0), 6), c.landmarks) for c in crops]
    assert mean(blurred) < 0.6 * mean(crops)


@needs_data
def test_dark_faces_are_worse(crops: list[FaceCrop]) -> None:
    dark = [FaceCrop((c.image_rgb // 12).astype(np.uint8), c.landmarks) for c in crops]
    assert mean(dark) < 0.5 * mean(crops)


@needs_data
def test_turned_faces_are_worse(crops: list[FaceCrop]) -> None:
    turned = []
    for crop in crops:
        points = crop.landmarks.copy()
        points[2, 0] = points[1, 0]  # the nose under one eye: near profile
        turned.append(FaceCrop(crop.image_rgb, points))
    assert mean(turned) < 0.4 * mean(crops)


def test_landmarks_on_one_spot_are_no_face() -> None:
    crop = FaceCrop(np.full((224, 224, 3), 128, np.uint8), np.full((5, 2), 100, np.float32))
    assert quality_of(crop, 100).overall == 0.0


def covered(crop: FaceCrop, left: float, top: float, right: float, bottom: float) -> FaceCrop:
    """The crop with a gray box over a part of it, in shares of its side."""
    image = crop.image_rgb.copy()
    y1, y2, x1, x2 = (round(224 * share) for share in (top, bottom, left, right))
    image[y1:y2, x1:x2] = 90
    return FaceCrop(image, crop.landmarks)


@needs_data
@pytest.mark.parametrize(
    "box", [(0, 0.55, 1, 1), (0, 0.25, 1, 0.5), (0, 0, 0.5, 1)], ids=["mask", "eyes", "side"]
)
def test_covered_faces_are_worse(crops: list[FaceCrop], box: tuple[float, float, float, float]) -> None:
    hidden = [covered(crop, *box) for crop in crops]
    assert mean(hidden) < 0.95 * mean(crops)
    seen = [np.mean([quality_of(c, 100).uncovered for c in some]) for some in (crops, hidden)]
    assert seen[1] < 0.75 * seen[0]


@needs_data
def test_parts_stay_between_nothing_and_all(crops: list[FaceCrop]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    anything = [*crops, *(FaceCrop(noise, c.landmarks) for c in crops)]
    for crop in anything:
        for size_px in (1.0, 30.0, 500.0):
            q = quality_of(crop, size_px)
            assert all(
                0 <= part <= 1 for part in (q.sharpness, q.frontal, q.exposure, q.uncovered, q.overall)
            )


def test_landmarks_anywhere_are_judged_without_an_error() -> None:
    random = np.random.default_rng(1)
    image = random.integers(0, 256, (224, 224, 3), np.uint8)
    for _ in range(50):
        landmarks = random.uniform(-300, 500, (5, 2)).astype(np.float32)
        assert 0 <= quality_of(FaceCrop(image, landmarks), 80).overall <= 1


def test_the_shipped_model_fits_the_measures() -> None:
    model = shipped_model()
    crop = FaceCrop(np.full((224, 224, 3), 128, np.uint8), np.full((5, 2), 100, np.float32))
    _, measures = measured(crop, 80, model.average_face)
    assert (
        measures.shape == model.center.shape == model.scale.shape == model.linear.shape == model.square.shape
    )
    assert (model.scale > 0).all()
    assert model.good > model.bad
