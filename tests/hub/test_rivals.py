"""Nobody is in one picture twice: of two faces that pass as one person only the more similar is shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from hub.embedding.port import Embeddings
from hub.policy import Verdict
from hub.recognizer import Look, Recognizer
from protocol.messages import FaceDecision, Revoke
from tests.hub.test_recognizer import look as look_at
from tests.hub.test_recognizer import recognizer
from tests.hub.test_service import ColorEmbedder, World, look
from tests.hub_fake import Keyring
from vision.crops import FaceCrop

RED, REDDISH = (255, 0, 0), (255, 60, 0)
"""The enrolled person, and a face that passes as her, a little less alike."""


def shown(r: Recognizer, *looks: Look) -> list[tuple[bool, tuple[int, ...]]]:
    results = r.recognize(looks)
    return [(v.reveal, v.ousted) for v in results if isinstance(v, Verdict)]


def test_the_less_similar_face_is_veiled() -> None:
    r = recognizer()
    shown(r, look_at(RED, 1), look_at(REDDISH, 2), look_at(RED, 1))
    assert shown(r, look_at(REDDISH, 2)) == [(False, ())]
    assert shown(r, look_at(RED, 1)) == [(True, ())]


def test_an_equally_similar_face_does_not_take_the_place() -> None:
    r = recognizer()
    shown(r, look_at(RED, 1), look_at(RED, 2), look_at(RED, 1))
    assert shown(r, look_at(RED, 2)) == [(False, ())]


def test_the_more_similar_face_ousts_the_one_that_is_shown() -> None:
    r = recognizer()
    first = shown(r, look_at(REDDISH, 2), look_at(RED, 1), look_at(REDDISH, 2))
    assert first[-1] == (True, ())
    assert shown(r, look_at(RED, 1)) == [(True, (2,))]
    assert r.shown("ada") == [("door", bytes(16), 1)]
    assert shown(r, look_at(REDDISH, 2), look_at(REDDISH, 2)) == [(False, ()), (False, ())]


def test_what_one_batch_grants_and_ousts_is_not_granted() -> None:
    looks = [look_at(REDDISH, 2), look_at(RED, 1), look_at(REDDISH, 2), look_at(RED, 1)]
    assert [reveals for reveals, _ in shown(recognizer(), *looks)] == [False, False, False, True]


class LeaningEmbedder(ColorEmbedder):
    """A brightness leans a little from the middle of its eight, so that people are more or less alike."""

    def embed(self, crops: Sequence[FaceCrop]) -> Embeddings:
        embeddings = super().embed(crops)
        for row, crop in zip(embeddings, crops, strict=True):
            row[7] = (int(crop.image_rgb.mean()) % 32) / 100
        return np.asarray(embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True), np.float32)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(Keyring(tmp_path), embedder=LeaningEmbedder())


async def test_the_node_is_told_to_veil_the_face_that_was_ousted(world: World) -> None:
    async with world.running(), world.admin() as admin, world.node("door") as node:
        await admin.enrol("Ada", 30)
        await look(node, 1, 20, track=1)
        await look(node, 2, 30, track=2)
        first = await look(node, 3, 20, track=1)
        assert isinstance(first, FaceDecision)
        assert first.reveal
        revoke = await look(node, 4, 30, track=2)
        assert isinstance(revoke, Revoke)
        assert (revoke.tracks, revoke.identities) == ((1,), ())
        second = await node.hear()
        assert isinstance(second, FaceDecision)
        assert (second.track, second.reveal) == (2, True)
