"""The embedded model on real faces, through the crop contract, and its graph beside dlib's own network."""

from __future__ import annotations

import cv2
import dlib
import numpy as np
import pytest

from hub.embedding.dlib_onnx import build_graph, graph_path
from hub.embedding.dlib_resnet import MAX_BATCH, DlibResnet
from tests.data import DATA, needs_data
from vision.crops import FaceCrop, cut_crop, decode_crop, encode_crop
from vision.detector import Mtcnn, MtcnnSettings
from vision.errors import ModelError
from vision.model_store import DLIB_FACE_MODEL, asset_path
from vision.runtime import RuntimeName, load_network


@pytest.fixture(scope="module")
def model() -> DlibResnet:
    return DlibResnet(2)


@pytest.fixture(scope="module")
def weights() -> bytes:
    return asset_path(DLIB_FACE_MODEL).read_bytes()


@pytest.fixture(scope="module")
def faces() -> dict[str, list[FaceCrop]]:
    detector = Mtcnn(MtcnnSettings(min_face_px=40))
    found: dict[str, list[FaceCrop]] = {}
    for folder in ("biden", "obama"):
        for path in sorted((DATA / "people_knn" / "train" / folder).iterdir())[:2]:
            image = np.asarray(cv2.imread(str(path)), np.uint8)
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
@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_the_graph_gives_the_descriptors_of_dlib(
    model: DlibResnet, faces: dict[str, list[FaceCrop]], runtime: RuntimeName
) -> None:
    chips = [model.align(crop) for crop in (*faces["biden"], *faces["obama"])]
    reference = dlib.face_recognition_model_v1(str(asset_path(DLIB_FACE_MODEL)))
    expected = np.array([reference.compute_face_descriptor(chip) for chip in chips])
    found = load_network(graph_path(), runtime, threads=1).run(np.array(chips, np.float32))[0]
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    assert ((found * expected).sum(axis=1) / lengths).min() >= 0.9999
    # OpenVINO computes in bfloat16 where the processor can.
    np.testing.assert_allclose(found, expected, atol=1e-5 if runtime == "onnxruntime" else 5e-3)


@needs_data
def test_embeddings_have_length_one_and_do_not_depend_on_the_batch(
    model: DlibResnet, faces: dict[str, list[FaceCrop]]
) -> None:
    crops = [*faces["biden"], faces["obama"][0]]
    together = model.embed(crops)
    assert together.shape == (3, 128)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(model.embed(crops[2:])[0], together[2], atol=1e-3)


@needs_data
def test_more_crops_than_one_batch_keep_their_order(
    model: DlibResnet, faces: dict[str, list[FaceCrop]]
) -> None:
    first, second = faces["biden"][0], faces["obama"][0]
    crops = [first] * (MAX_BATCH - 1) + [second, first, second]
    expected = model.embed([first, second])
    found = model.embed(crops)
    np.testing.assert_allclose(found[MAX_BATCH - 2], expected[0], atol=1e-3)
    np.testing.assert_allclose(found[MAX_BATCH - 1], expected[1], atol=1e-3)
    np.testing.assert_allclose(found[MAX_BATCH], expected[0], atol=1e-3)
    np.testing.assert_allclose(found[MAX_BATCH + 1], expected[1], atol=1e-3)


@needs_data
def test_earlier_embeddings_survive_the_next_call(
    model: DlibResnet, faces: dict[str, list[FaceCrop]]
) -> None:
    first = model.embed(faces["biden"][:1])
    kept = first.copy()
    model.embed(faces["obama"][:1])
    np.testing.assert_array_equal(first, kept)


def test_no_crops_give_no_embeddings(model: DlibResnet) -> None:
    assert model.embed([]).shape == (0, 128)


def test_a_crop_without_a_face_still_gives_a_direction(model: DlibResnet) -> None:
    blank = FaceCrop(np.zeros((224, 224, 3), np.uint8), np.zeros((5, 2), np.float32))
    np.testing.assert_allclose(np.linalg.norm(model.embed([blank])), 1, atol=1e-5)


@pytest.mark.parametrize("length", [0, 1, 100, 300, 400, 20_000, 22_000_000])
def test_weights_that_end_too_early_are_refused(weights: bytes, length: int) -> None:
    with pytest.raises(ModelError, match="ends too early"):
        build_graph(weights[:length])


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (b"\x01\x01\x01\x0d", b"\x7f\x01\x01\x0d", "a number is malformed"),
        (b"\x01\x0dloss", b"\x01\x7floss", "a name is malformed"),
        (b"loss_metric_2", b"loss_metric_3", "stands where 'loss_metric_2' belongs"),
        (b"\x01\x03\x01\x15input", b"\x01\x04\x01\x15input", "layers cannot be counted"),
        (b"input_rgb_image_sized", b"input_rgb_image_mixed", "lacks 'input_rgb_image_sized'"),
        (b"\x01\x96\x01\x96", b"\x01\x96\x01\x97", "pictures of 150 px"),
        (b"con_4\x01\x02", b"con_4\x01\x03", "a tensor is malformed"),
        (b"\x01\x20\x01\x07\x01\x07", b"\x01\x21\x01\x07\x01\x07", "a convolution does not fit"),
        (b"relu_", b"tanh_", "unknown layer 'tanh_'"),
    ],
)
def test_weights_of_another_network_are_refused(
    weights: bytes, before: bytes, after: bytes, words: str
) -> None:
    assert before in weights[:20_000]
    with pytest.raises(ModelError, match=words):
        build_graph(weights[:2_000_000].replace(before, after, 1))
