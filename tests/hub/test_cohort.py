"""Similarities leveled by how crowded it is around a face."""

from __future__ import annotations

import numpy as np
import pytest

from hub.cohort import FILES, Cohort, cohort_of
from hub.gallery import Gallery
from vision.errors import ModelError


def unit(*values: float) -> np.ndarray:
    vector = np.array(values, np.float32)
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


CROWD = np.stack([unit(1, 0.1 * i, 0, 0) for i in range(-2, 3)])
"""Five directions close to each other; nobody of them is far out."""
COHORT = Cohort(CROWD, neighbors=3, level=0.5)
INSIDE, OUTSIDE = unit(1, 0.05, 0, 0), unit(0, 0, 1, 0.1)
TEMPLATES = np.stack([INSIDE, OUTSIDE])


def test_it_is_crowded_where_the_cohort_is() -> None:
    inside, outside = COHORT.crowdedness(TEMPLATES)
    assert inside > 0.4
    assert outside == pytest.approx(-0.5, abs=0.01)


def test_similarity_is_the_cosine_less_half_of_either_crowdedness() -> None:
    gallery = Gallery(1, 4, ["in", "out"], TEMPLATES, COHORT)
    probe = unit(1, 0, 0.5, 0)
    own = COHORT.crowdedness(probe[None])[0]
    found = {c.identity: c.similarity for c in gallery.identify(probe[None], 2)[0]}
    for name, template, crowded in zip(("in", "out"), TEMPLATES, COHORT.crowdedness(TEMPLATES), strict=True):
        assert found[name] == pytest.approx(float(probe @ template) - (own + crowded) / 2, abs=1e-5)


def test_the_person_outside_the_crowd_can_win_against_a_nearer_one_inside() -> None:
    probe = unit(1, 0, 0.8, 0)
    plain = Gallery(1, 4, ["in", "out"], TEMPLATES)
    assert plain.identify(probe[None], 1)[0][0].identity == "in"
    assert plain.leveled_by(COHORT).identify(probe[None], 1)[0][0].identity == "out"


def test_similarities_stay_within_what_a_message_carries() -> None:
    gallery = Gallery(1, 4, ["out"], OUTSIDE[None], COHORT)
    assert gallery.identify(OUTSIDE[None], 1)[0][0].similarity == 1.0


def test_a_gallery_keeps_what_it_is_when_it_is_leveled() -> None:
    plain = Gallery(7, 4, ["in", "out"], TEMPLATES)
    leveled = plain.leveled_by(COHORT)
    assert (leveled.version, leveled.identities, len(leveled)) == (7, plain.identities, 2)
    assert leveled.leveled_by(COHORT) is leveled
    assert Gallery.empty(4).leveled_by(COHORT).identify(OUTSIDE[None], 2) == [[]]


def test_the_embedded_model_brings_a_cohort_and_others_none() -> None:
    cohort = cohort_of("dlib-resnet-v1", 128)
    assert cohort is not None
    assert cohort.directions.shape == (2048, 128)
    np.testing.assert_allclose(np.linalg.norm(cohort.directions, axis=1), 1, atol=1e-5)
    assert cohort_of("vggface2-resnet50", 2048) is None


def test_a_cohort_of_another_shape_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:  # type: ignore[no-untyped-def]
    np.save(tmp_path / "c.npy", np.zeros((2, 3), np.int8))
    monkeypatch.setitem(FILES, "dlib-resnet-v1", tmp_path / "c.npy")
    with pytest.raises(ModelError, match="no cohort"):
        cohort_of("dlib-resnet-v1", 128)
    monkeypatch.setitem(FILES, "dlib-resnet-v1", tmp_path / "absent.npy")
    with pytest.raises(ModelError, match="reinstall"):
        cohort_of("dlib-resnet-v1", 128)
