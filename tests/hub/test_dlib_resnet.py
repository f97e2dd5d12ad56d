"""The embedded model on real faces, through the crop contract."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from hub.embedding.dlib_resnet import DlibResnet
from tests.data import DATA, needs_data
from vision.crops import FaceCrop, cut_crop, decode_crop, encode_crop
from vision.detector import Mtcnn, MtcnnSettings


@pytest.fixture(scope="module")
def model() -> DlibResnet:
    return DlibResnet(2)


@pytest.fixture(scope="module")
def faces() -> dict[str, list[FaceCrop]]:
    detector = Mtcnn(MtcnnSettings(min_face_px=40))
    found: dict[str, list[FaceCrop]] = {}
    for folder in ("biden", "obama"):
        for path in sorted((DATA / "people_knn" / "train" / folder).iterdir())[:2]:
            image = cv2.imread(str(path))
            detections = detector.detect(image)
            crop = cut_crop(image, detections.boxes_xyxy[0], detections.landmarks[0])
            found.setdefault(folder, []).append(decode_crop(encode_crop(crop), crop.landmarks))
    return found


@needs_data
def test_the_same_person_is_closer_than_the_threshold_and_others_are_not(
    model: DlibResnet, faces: dict[str, list[FaceCrop]]
) -> None:
    embeddings = model.embed([*faces["biden"], *faces["obama"]])
    similarity = embeddings @ embeddings.T
    assert similarity[0, 1] > model.manifest.threshold
    assert similarity[2, 3] > model.manifest.threshold
    assert similarity[:2, 2:].max() < model.manifest.threshold - 0.02


@needs_data
def test_embeddings_have_length_one_and_do_not_depend_on_the_batch(
    model: DlibResnet, faces: dict[str, list[FaceCrop]]
) -> None:
    crops = [*faces["biden"], faces["obama"][0]]
    together = model.embed(crops)
    assert together.shape == (3, 128)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(model.embed(crops[2:])[0], together[2], atol=1e-5)


def test_no_crops_give_no_embeddings(model: DlibResnet) -> None:
    assert model.embed([]).shape == (0, 128)
