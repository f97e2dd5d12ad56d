"""An admin evaluates the model: answers that give nothing away, and a threshold that holds from the next
start."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from hub.calibration import Calibration, in_force, read_calibration, write_calibration
from hub.errors import StartError
from protocol.messages import Likeness, Photo, Refusal, SetThreshold, ShowLikeness, Threshold
from tests.hub.test_service import ADA, BOB, ColorEmbedder, World
from tests.hub_fake import Keyring
from tests.protocol.examples import LANDMARKS
from vision.crops import FaceCrop, encode_crop

MANIFEST = ColorEmbedder().manifest
CALIBRATION = Calibration("color", 0.95, 0.01, 0.2, 1_800_000_000.0, 4, 20, "staff")


def crop(brightness: int) -> bytes:
    return encode_crop(FaceCrop(np.full((224, 224, 3), brightness, np.uint8), np.zeros((5, 2), np.float32)))


def photos(count: int) -> tuple[Photo, ...]:
    return tuple(Photo(landmarks=LANDMARKS, quality=0.9, source=f"{i}.jpg") for i in range(count))


def rows(answer: object) -> np.ndarray:
    assert isinstance(answer, Likeness)
    return np.frombuffer(answer.vectors, "<f4").reshape(-1, answer.dimension)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(Keyring(tmp_path))


async def test_photos_of_a_session_can_be_compared_and_with_nothing_else(world: World) -> None:
    async with world.running(), world.admin() as admin:
        both = rows(await admin.say(ShowLikeness, [crop(ADA), crop(BOB)], photos=photos(2)))
        again = rows(await admin.say(ShowLikeness, [crop(ADA)], photos=photos(1)))
        desk = world.hub._evaluation
        here, elsewhere = (desk._rotation_of(session) for session in (bytes(16), bytes([1]) * 16))
    assert both[0] @ both[1] == pytest.approx(0, abs=1e-5)
    assert both[0] @ again[0] == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(here @ here.T, np.eye(8), atol=1e-5)
    assert np.abs(here - elsewhere).max() > 0.1, "another session has another rotation"
    # What the model gives is a unit vector along one axis; none of it can be recognized in the answer.
    assert np.abs(both).max() < 0.999


async def test_nothing_of_the_photos_is_kept(world: World) -> None:
    async with world.running(), world.admin() as admin:
        await admin.say(ShowLikeness, [crop(ADA)], photos=photos(1))
        assert len(world.hub._live.identities) == 0
        assert len(world.hub._recognizer.gallery) == 0


async def test_what_is_no_crop_is_refused_by_its_name(world: World) -> None:
    async with world.running(), world.admin() as admin:
        answer = await admin.say(ShowLikeness, [b"no jpeg"], photos=photos(1))
    assert isinstance(answer, Refusal)
    assert answer.text.startswith("0.jpg:")


async def test_a_threshold_is_in_force_from_the_next_start_on(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    numbers = {"threshold": 0.97, "margin": 0.1, "people_count": 4, "photo_count": 20, "data": "staff"}
    async with world.running(), world.admin() as admin:
        answer = await admin.say(SetThreshold, model_id="color", **numbers)
        assert isinstance(answer, Threshold)
        assert answer.made_at == world.wall
        assert world.hub._recognizer._evidence.threshold == pytest.approx(0.9)
    with caplog.at_level(logging.INFO):
        async with world.running():
            assert world.hub._recognizer._evidence.threshold == pytest.approx(0.97)
    assert "threshold 0.970" in caplog.text
    assert "20 photos of 4 people: staff" in caplog.text


async def test_a_threshold_for_another_model_is_refused(world: World) -> None:
    async with world.running(), world.admin() as admin:
        numbers = {"threshold": 0.97, "margin": 0.1, "people_count": 4, "photo_count": 20, "data": "staff"}
        answer = await admin.say(SetThreshold, model_id="other", **numbers)
        assert isinstance(answer, Refusal)
        assert "evaluate again" in answer.text
    assert not world.hub._settings.files.calibration.exists()


def test_a_calibration_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    write_calibration(path, CALIBRATION)
    assert read_calibration(path) == CALIBRATION
    assert path.stat().st_mode & 0o777 == 0o600


def test_without_a_calibration_the_manifest_holds(tmp_path: Path) -> None:
    assert in_force(MANIFEST, tmp_path / "absent.json") == (MANIFEST, "")


def test_a_calibration_takes_the_place_of_the_manifests_numbers(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    write_calibration(path, CALIBRATION)
    manifest, words = in_force(MANIFEST, path)
    assert (manifest.threshold, manifest.per_tenfold, manifest.margin) == (0.95, 0.01, 0.2)
    assert manifest.threshold_among(100) == pytest.approx(0.97)
    assert "2027-01-15" in words


def test_a_calibration_of_another_model_is_not_used_and_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps({**json.loads(_text()), "model_id": "other"}))
    manifest, words = in_force(MANIFEST, path)
    assert manifest == MANIFEST
    assert "not used" in words


@pytest.mark.parametrize("text", ["", "{}", '{"model_id": 3}', "[1", "x" * 70_000])
def test_a_damaged_calibration_ends_the_start(tmp_path: Path, text: str) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(text)
    with pytest.raises(StartError, match="evaluate again"):
        in_force(MANIFEST, path)


def _text() -> str:
    return json.dumps({name: getattr(CALIBRATION, name) for name in CALIBRATION.__struct_fields__})
