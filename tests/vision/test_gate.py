"""The quality gate: one clear face is accepted, everything else has its reason."""

from __future__ import annotations

import numpy as np
import pytest

from tests.enrollment.fakes import PROFILE, faces, textured
from vision.detections import Detections, Image
from vision.gate import AcceptedFace, judge, refusal_of
from vision.quality import Quality
from vision.reasons import Reason, Refused

FACE = (120.0, 80.0, 240.0, 220.0)


def reason(image: Image, found: Detections) -> Reason | None:
    verdict = judge(image, found)
    return verdict.reason if isinstance(verdict, Refused) else None


def test_one_good_face_is_accepted_as_a_crop() -> None:
    verdict = judge(textured(), faces(FACE))
    assert isinstance(verdict, AcceptedFace)
    assert verdict.crop.image_rgb.shape == (224, 224, 3)
    assert verdict.quality.size_px == 120.0


def test_no_face() -> None:
    assert reason(textured(), Detections.none()) is Reason.NO_FACE


def test_a_doubtful_detection_is_no_face() -> None:
    assert reason(textured(), faces(FACE, score=0.85)) is Reason.NO_FACE


def test_which_of_several_faces_is_meant_is_not_guessed() -> None:
    beside = (260.0, 100.0, 330.0, 180.0)
    verdict = judge(textured(), faces(beside, FACE))
    assert isinstance(verdict, Refused)
    assert verdict.reason is Reason.SEVERAL_FACES
    assert verdict.text.startswith("2 faces")


def test_a_second_face_counts_even_where_it_is_doubtful() -> None:
    both = faces(FACE, (260.0, 100.0, 330.0, 180.0))
    doubtful = Detections(both.boxes_xyxy, np.array([0.99, 0.81], np.float32), both.landmarks)
    assert reason(textured(), doubtful) is Reason.SEVERAL_FACES


def test_far_smaller_faces_are_passers_by() -> None:
    passers_by = [(260.0, 10.0, 299.0, 60.0), (350.0, 10.0, 380.0, 60.0)]
    assert reason(textured(), faces(*passers_by, FACE)) is None
    one_pixel_more = (260.0, 10.0, 301.0, 60.0)
    assert reason(textured(), faces(one_pixel_more, FACE)) is Reason.SEVERAL_FACES


def test_a_small_face_names_both_sizes() -> None:
    verdict = judge(textured(), faces((100.0, 80.0, 148.0, 140.0)))
    assert isinstance(verdict, Refused)
    assert verdict.reason is Reason.TOO_SMALL
    assert "48 pixels" in verdict.text
    assert "60" in verdict.text


def test_a_face_beyond_the_edge_is_cut_off() -> None:
    assert reason(textured(), faces((-40.0, 80.0, 80.0, 220.0))) is Reason.CUT_OFF
    assert reason(textured(), faces((-10.0, 80.0, 110.0, 220.0))) is None


def test_a_blurred_face() -> None:
    ramp = np.linspace(20, 235, 400).astype(np.uint8)
    smooth = np.broadcast_to(ramp[None, :, None], (300, 400, 3)).copy()
    assert reason(smooth, faces(FACE)) is Reason.BLURRED


def test_a_face_in_profile() -> None:
    assert reason(textured(), faces(FACE, spots=PROFILE)) is Reason.NOT_FRONTAL


@pytest.mark.parametrize("level", [4, 252])
def test_a_face_without_light_or_with_too_much(level: int) -> None:
    flat = np.full((300, 400, 3), level, np.uint8)
    assert reason(flat, faces(FACE)) is Reason.BADLY_LIT


@pytest.mark.parametrize(
    ("quality", "expected"),
    [
        (Quality(90, 0.41, 0.41, 0.31, 0.1), None),
        (Quality(90, 0.39, 1.0, 1.0, 1.0), Reason.BLURRED),
        (Quality(90, 1.0, 0.39, 1.0, 1.0), Reason.NOT_FRONTAL),
        (Quality(90, 1.0, 1.0, 0.29, 1.0), Reason.BADLY_LIT),
    ],
)
def test_each_part_of_the_quality_has_its_limit(quality: Quality, expected: Reason | None) -> None:
    refused = refusal_of(quality)
    assert (refused and refused.reason) == expected
