"""Templates of another version of the model: nobody is shown by them, and the hub says what to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hub.embedding.port import ModelManifest
from protocol.messages import FaceDecision
from tests.hub.test_service import ADA, ColorEmbedder, World, reveal
from tests.hub_fake import Keyring


class NewerEmbedder(ColorEmbedder):
    """The same model but for what it is given, so that its id is another."""

    @property
    def manifest(self) -> ModelManifest:
        return replace(super().manifest, model_id="color-v2")


def forget_admin(folder: Path) -> None:
    """So that the next one makes its keys anew."""
    for file in list(folder.rglob("me.admin.*")):
        file.unlink()


async def test_who_was_enrolled_with_another_version_stays_veiled_until_enrolled_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = Keyring(tmp_path)
    world = World(keys)
    async with world.running(), world.admin() as admin:
        await admin.enrol("Ada", ADA)
    world.embedder = NewerEmbedder()
    forget_admin(tmp_path)
    async with world.running(), world.admin() as admin, world.node("door") as node:
        assert "1 people were enrolled with another model than color-v2" in caplog.text
        assert "enrol them again" in caplog.text
        decision = await reveal(node, ADA)
        assert isinstance(decision, FaceDecision)
        assert not decision.reveal
        await admin.enrol("Ada", ADA)
        assert (await reveal(node, ADA, 3, track=2)).reveal
