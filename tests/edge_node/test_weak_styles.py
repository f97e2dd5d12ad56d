"""`veilcast-node run` refuses styles that can be undone, with one line, unless they are asked for twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_node.__main__ import app
from edge_node.privacy.veil import Style, VeilSettings


@pytest.mark.parametrize("style", ["pixelate", "blur"])
def test_a_weak_style_on_the_command_line_is_refused_with_one_line(style: str) -> None:
    result = CliRunner().invoke(app, ["run", "--style", style, "--source", "nothing.mp4"])
    assert result.exit_code == 1
    assert result.stderr.strip().count("\n") == 0
    assert "--allow-weak" in result.stderr


def test_a_weak_style_in_the_file_is_refused_with_one_line(tmp_path: Path) -> None:
    path = tmp_path / "node.toml"
    path.write_text('[veil]\nstyle = "blur"\n')
    result = CliRunner().invoke(app, ["run", "--config", str(path)])
    assert result.exit_code == 1
    assert result.stderr.strip().count("\n") == 0
    assert "veil.allow_weak = true" in result.stderr


def test_a_weak_style_that_is_asked_for_twice_passes(tmp_path: Path) -> None:
    """It gets as far as the node's key, which is not there."""
    path = tmp_path / "node.toml"
    path.write_text(f'[hub]\nkey = "{tmp_path}/nothing.key"\n')
    words = ["run", "--style", "blur", "--allow-weak", "--config", str(path)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    assert "undone" not in result.stderr
    assert "nothing.key" in result.stderr


def test_a_style_by_its_bare_name_is_painted_as_that_style() -> None:
    assert VeilSettings(style="solid").style is Style.SOLID  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="undone by an attacker"):
        VeilSettings(style="blur")  # type: ignore[arg-type]
