"""The hub's settings, and the file that documents them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.config import HubSettings
from hub.server import ServerSettings
from protocol.errors import SettingsError
from protocol.settings import load_settings
from tests.settings_docs import assert_documents_every_setting

DOCUMENTED = Path(__file__).parent.parent.parent / "deploy" / "hub.toml"


def load(tmp_path: Path, text: str) -> HubSettings:
    path = tmp_path / "hub.toml"
    path.write_text(text)
    return load_settings(path, HubSettings)


def test_every_setting_is_documented_with_its_default() -> None:
    assert_documents_every_setting(DOCUMENTED, HubSettings)


def test_the_server_gets_the_same_defaults() -> None:
    assert HubSettings().for_server == ServerSettings()


def test_each_camera_has_one_mode(tmp_path: Path) -> None:
    cameras = load(tmp_path, '[cameras.modes]\ndoor = "veil-all"\n').cameras
    assert cameras.mode_of("door") == "veil-all"
    assert cameras.mode_of("hall") == "reveal-consented"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[server]\nlissten = 1", "unknown setting server.lissten; allowed here: listen, "),
        ('[cameras]\ndefault_mode = "show-all"', 'allowed: "reveal-consented", "veil-all", "veil-protected"'),
        ('[cameras.modes]\ndoor = "off"', "cameras.modes"),
        ('[cameras.modes]\n"a b" = "veil-all"', "cameras.modes"),
        ("[decisions]\nlease_s = 60", "at most 10"),
        ("[decisions]\nlooks_needed = 6", "is more than"),
        ('[recognition]\nmodel = "facenet"', '"dlib-resnet"'),
        ('state = ""', "at least 1"),
    ],
)
def test_bad_values_are_refused_with_what_is_allowed(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, text)
    assert says in str(caught.value)
