"""Quality falls with size, blur, turn and bad light."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.data import DATA, needs_data
from vision.crops import FaceCrop, cut_crop
from vision.detector import Mtcnn, MtcnnSettings
from vision.quality import quality_of


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
