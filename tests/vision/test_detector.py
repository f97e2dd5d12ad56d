"""MTCNN on pictures that the project carries no copy of, and its behavior at the edges."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.data import DATA, needs_data
from vision.detections import Image
from vision.detector import MAX_PATCHES, Mtcnn, MtcnnSettings, _patches, _run
from vision.errors import ModelError
from vision.geometry import iou_matrix, squared


@pytest.fixture(scope="module")
def detector() -> Mtcnn:
    return Mtcnn(MtcnnSettings(min_face_px=40))


@pytest.fixture(scope="module")
def portrait() -> Image:
    """The astronaut of scikit-image: one face at about (224, 114)."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("scikit-image is not installed")
    image = cv2.imread(str(Path(spec.submodule_search_locations[0]) / "data" / "astronaut.png"))
    assert image is not None
    return image


def test_a_face_is_found_where_it_is(detector: Mtcnn, portrait: Image) -> None:
    found = detector.detect(portrait)
    assert len(found) == 1
    x1, y1, x2, y2 = found.boxes_xyxy[0]
    assert x1 < 224 < x2
    assert y1 < 114 < y2
    left_eye, right_eye, nose, left_mouth, right_mouth = found.landmarks[0]
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_eye[1] < nose[1] < left_mouth[1]
    assert left_mouth[0] < right_mouth[0]


def test_refining_a_shifted_box_finds_the_face_again(detector: Mtcnn, portrait: Image) -> None:
    found = detector.detect(portrait)
    size = float(np.ptp(found.boxes_xyxy[0, 0::2]))
    shifted = found.boxes_xyxy + np.float32(0.1 * size)
    refined = detector.refine(portrait, shifted)
    assert refined.scores[0] > 0.9
    assert iou_matrix(refined.boxes_xyxy, found.boxes_xyxy)[0, 0] > 0.75


def test_refining_answers_every_row_and_doubts_what_is_no_face(detector: Mtcnn, portrait: Image) -> None:
    face = detector.detect(portrait).boxes_xyxy[0]
    rows = np.array(
        [
            face,
            (5, 400, 60, 455),
            (-900, -900, -850, -850),
            (10, 10, 10, 10),
            (50, 50, 20, 20),
            (float("nan"), 0, 10, 10),
            (0, 0, float("inf"), 10),
        ],
        np.float32,
    )
    refined = detector.refine(portrait, rows)
    assert len(refined) == len(rows)
    assert refined.scores[0] > 0.9
    assert (refined.scores[1:] == 0).all()
    np.testing.assert_array_equal(refined.boxes_xyxy[1:], rows[1:])


def test_all_parts_of_a_search_find_what_the_whole_one_does(detector: Mtcnn, portrait: Image) -> None:
    picture = np.full((420, 700, 3), 90, np.uint8)
    sizes = (360, 220, 110)
    for left, side in zip((0, 365, 588), sizes, strict=True):
        small = cv2.resize(portrait[:400, 60:460], (side, side), interpolation=cv2.INTER_AREA)
        picture[10 : 10 + side, left : left + side] = small
    whole = detector.detect(picture).boxes_xyxy
    assert len(whole) == len(sizes)
    parts = [detector.detect(picture, part, 6).boxes_xyxy for part in range(6)]
    best = iou_matrix(whole, np.concatenate(parts)).max(axis=1)
    assert (best > 0.7).all()
    assert min(len(p) for p in parts) < len(whole)


@pytest.mark.parametrize("shape", [(1, 1), (11, 300), (30, 30), (333, 517), (480, 640)])
def test_pictures_of_any_size_are_searched(detector: Mtcnn, shape: tuple[int, int]) -> None:
    assert len(detector.detect(np.full((*shape, 3), 90, np.uint8), 5, 6)) == 0
    assert len(detector.detect(np.zeros((*shape, 3), np.uint8))) == 0


def test_pure_texture_is_bounded_work(detector: Mtcnn) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    assert len(detector.detect(noise)) < 20


def test_refining_nothing_is_nothing(detector: Mtcnn, portrait: Image) -> None:
    assert len(detector.refine(portrait, np.zeros((0, 4), np.float32))) == 0


def cropped_and_resized(image: np.ndarray, box: np.ndarray, side: int) -> np.ndarray:
    """tf.image.crop_and_resize as its documentation has it, one pixel at a time."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = box / (width, height, width, height)
    patch = np.full((side, side, 3), 127.5)
    for row, column in np.ndindex(side, side):
        y = y1 * (height - 1) + row * (y2 - y1) * (height - 1) / (side - 1)
        x = x1 * (width - 1) + column * (x2 - x1) * (width - 1) / (side - 1)
        if not (0 <= y <= height - 1 and 0 <= x <= width - 1):
            continue
        top, left = int(y), int(x)
        bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
        upper = image[top, left] * (1 - x % 1) + image[top, right] * (x % 1)
        lower = image[bottom, left] * (1 - x % 1) + image[bottom, right] * (x % 1)
        patch[row, column] = upper * (1 - y % 1) + lower * (y % 1)
    return patch


@pytest.mark.parametrize(
    "box", [(10.3, 8.7, 30.1, 28.2), (-5.5, 3.2, 14.5, 23.2), (30.2, 25.3, 60.9, 55.7), (-4, -3, 70, 71)]
)
def test_patches_are_those_of_the_package_also_over_the_border(box: tuple[float, ...]) -> None:
    image = np.random.default_rng(3).uniform(0, 255, (40, 50, 3)).astype(np.float32)
    given = np.array([box], np.float64)
    expected = cropped_and_resized(image, given[0], 24)
    np.testing.assert_allclose(_patches(image, given, 24)[0], expected, atol=0.01)


def test_networks_see_few_sizes_of_batches(portrait: Image) -> None:
    """Each new size costs a runtime memory that it keeps."""
    sizes = {24: set[int](), 48: set[int]()}
    for side in sizes:
        for count in range(1, 600):
            networks = Telling(), Telling()
            outputs = _run(networks, portrait, np.tile((10.0, 10.0, 40.0, 40.0), (count, 1)), side)
            assert len(outputs[0]) == count
            sizes[side] |= {n for network in networks for n in network.sizes}
    assert len(sizes[24]) < 50
    assert len({n for n in sizes[48] if n <= 16}) <= 7


@pytest.mark.parametrize("networks", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 47, 48, 601, 1300, 2500])
def test_every_box_gets_the_answer_about_itself(networks: int, count: int) -> None:
    """Whoever computes it, and in however many calls."""
    ramp = np.tile(np.arange(3000, dtype=np.float32)[:, None, None], (1, 40, 3))
    tops = np.arange(count) + 100.0
    boxes = np.stack([np.full(count, 5.0), tops, np.full(count, 29.0), tops + 24], axis=1)
    every = [Telling() for _ in range(networks)]
    [told] = _run(every, ramp, boxes, 24)
    np.testing.assert_allclose(told, (tops + 12) * 2999 / 3000, atol=0.1)
    assert all(size <= MAX_PATCHES for network in every for size in network.sizes)
    if count > 100 and networks > 1:
        assert sum(every[-1].sizes) > 0.5 * sum(every[-2].sizes)


def test_a_whole_search_looks_at_all_candidates_of_a_crowd(detector: Mtcnn, portrait: Image) -> None:
    """A face may be the worst of them. A part of a search has to be quick."""
    height, width = portrait.shape[:2]
    face = np.asarray(squared(detector.detect(portrait).boxes_xyxy.astype(np.float64)))
    elsewhere = np.tile((width - 30.0, height - 30.0, width - 4.0, height - 4.0), (2 * MAX_PATCHES, 1))

    class Crowd:
        def of(self, image: Image, part: int) -> np.ndarray:
            return np.concatenate([elsewhere, face])

    searching = Mtcnn(MtcnnSettings(min_face_px=40))
    searching._proposals_for = lambda shape, parts: Crowd()  # type: ignore[method-assign, assignment, return-value]
    assert len(searching.detect(portrait)) == 1
    assert not len(searching.detect(portrait, 0, 16))


class Telling:
    """A network that says how bright each patch is on the whole."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self._begun: list[np.ndarray] = []

    def run(self, batch: np.ndarray) -> list[np.ndarray]:
        self.sizes.append(len(batch))
        return [batch.mean(axis=(1, 2, 3))]

    def start(self, batch: np.ndarray) -> None:
        self._begun = self.run(batch)

    def result(self) -> list[np.ndarray]:
        return self._begun


def test_faces_that_are_followed_take_one_thread_however_many(detector: Mtcnn, portrait: Image) -> None:
    class Never:
        def run(self, batch: np.ndarray) -> list[np.ndarray]:
            raise AssertionError("the network for many is for searches")

    face = detector.detect(portrait).boxes_xyxy
    refining = Mtcnn(MtcnnSettings(min_face_px=40))
    refining._onet = [refining._onet[0], Never()]  # type: ignore[list-item]
    assert (refining.refine(portrait, np.repeat(face, 20, axis=0)).scores > 0.9).all()


def test_a_network_that_returns_nonsense_is_no_empty_picture(portrait: Image) -> None:
    class Broken:
        def run(self, batch: np.ndarray) -> list[np.ndarray]:
            n = len(batch)
            return [np.full((n, c), np.nan, np.float32) for c in (4, 10, 2)]

    detector = Mtcnn(MtcnnSettings(min_face_px=40))
    detector._onet = [Broken(), Broken()]  # type: ignore[list-item]
    with pytest.raises(ModelError, match="not finite"):
        detector.detect(portrait)


def test_a_face_smaller_than_a_window_cannot_be_asked_for() -> None:
    with pytest.raises(ValueError, match="at least 12"):
        Mtcnn(MtcnnSettings(min_face_px=11))


@needs_data
def test_the_fast_way_loses_no_face() -> None:
    exact = Mtcnn(MtcnnSettings(min_face_px=32))
    fast = Mtcnn(MtcnnSettings(min_face_px=32, exact=False))
    found = [0, 0]
    for path in sorted((DATA / "wider" / "images").rglob("*.jpg"))[:6]:
        image = cv2.imread(str(path))
        found[0] += len(exact.detect(image))
        found[1] += len(fast.detect(image))
    assert abs(found[1] - found[0]) <= max(1, found[0] // 20)


@needs_data
@pytest.mark.models
@pytest.mark.timeout(300)
def test_the_boxes_are_those_of_the_mtcnn_package() -> None:
    """Parity at the package's defaults: all of them here, and in 150 pictures by the benchmark."""
    pytest.importorskip("tensorflow")
    from mtcnn import MTCNN

    reference, ours = MTCNN(), Mtcnn(MtcnnSettings())
    matched = boxes = points = 0
    for path in sorted((DATA / "wider" / "images").rglob("*.jpg"))[::30][:6]:
        image = cv2.imread(str(path))
        rows = reference.detect_faces(
            cv2.cvtColor(image, cv2.COLOR_BGR2RGB), output_type="numpy", box_format="xyxy", fit_to_image=False
        )
        found = ours.detect(image)
        for row in rows:
            boxes += 1
            if not len(found):
                continue
            overlap = iou_matrix(row[None, 1:5].astype(float), found.boxes_xyxy.astype(float))[0]
            best = int(overlap.argmax())
            if overlap[best] >= 0.99:
                matched += 1
                landmarks = np.stack([row[6:11], row[11:16]], axis=1)
                points += bool(np.abs(landmarks - found.landmarks[best]).max() <= 1.0)
    assert boxes > 10
    assert matched == points == boxes
