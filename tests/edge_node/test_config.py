"""The documented settings file is the code's, setting by setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_node.config import NodeSettings
from protocol.errors import SettingsError
from protocol.settings import load_settings
from tests.settings_docs import assert_documents_every_setting

DOCUMENTED = Path(__file__).parents[2] / "deploy" / "node.toml"


def test_every_setting_is_documented_with_its_default() -> None:
    assert_documents_every_setting(DOCUMENTED, NodeSettings)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[veil]\ngrowth = 1.0", ["veil.growth", "1.0", "1.3"]),
        ('[veil]\nstyle = "pixels"', ["veil.style", "pixels", "solid"]),
        ('[veil]\nstyle = "blur"', ["veil.style", "allow_weak"]),
        ("[relese]\nmax_delay_ms = 100", ["relese", "release"]),
        ("[release]\nmax_delay = 100", ["release.max_delay", "max_delay_ms"]),
        ('name = "front door"', ["name", "front door"]),
        ("[web]\nport = 99999", ["web.port", "99999", "65535"]),
        ('[source]\nonce = "yes"', ["source.once", "yes"]),
    ],
)
def test_a_bad_setting_is_refused_with_key_value_and_what_is_allowed(
    tmp_path: Path, text: str, words: list[str]
) -> None:
    path = tmp_path / "node.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(path, NodeSettings)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    assert all(word in message for word in words), message
