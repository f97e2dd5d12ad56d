"""The guide of the enroller names what the program has: commands, options, reasons, exit codes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from enrollment import errors
from enrollment.cli import app
from protocol.limits import MAX_TEMPLATES
from vision.gate import BYSTANDER_RATIO, MAX_OUTSIDE, MIN_FACE_PX
from vision.photos import MAX_FILE_BYTES, MAX_PIXELS
from vision.reasons import Reason

GUIDE = (Path(__file__).parents[2] / "docs" / "enrollment.md").read_text()


def section(title: str) -> str:
    """The text below a heading, up to the next of the same or a higher level."""
    match = re.search(rf"^(#+) {re.escape(title)}$(.*?)(?=^#{{1,2}} |\Z)", GUIDE, re.MULTILINE | re.DOTALL)
    assert match is not None, title
    return match[2]


def first_cells(table: str) -> list[str]:
    """The code in the first column, row by row."""
    return re.findall(r"^\| `?([^|`]+?)`? +\|", table, re.MULTILINE)[1:]


def documented_commands() -> set[str]:
    """`consent grant NAME` -> `consent grant`."""
    rows = first_cells(section("Commands"))
    return {" ".join(word for word in row.split() if word.islower()) for row in rows}


def commands() -> set[str]:
    top = get_command(app).commands  # type: ignore[attr-defined]
    groups = {name for name in top if hasattr(top[name], "commands")}
    return set(top) - groups | {f"{group} {name}" for group in groups for name in top[group].commands}


def test_every_command_is_in_the_guide() -> None:
    assert documented_commands() == commands()


def test_every_global_option_is_in_the_guide() -> None:
    for option in get_command(app).params:
        name = option.opts[0]
        if "completion" in name or name in ("--help", "-h"):
            continue
        assert f"| `{name} " in GUIDE, name
        for variable in [option.envvar] if isinstance(option.envvar, str) else option.envvar or []:
            assert f"`{variable}`" in GUIDE


def test_every_reason_is_in_the_guide() -> None:
    assert set(first_cells(section("Which photos are good"))) == {r.value for r in Reason}


def test_every_exit_code_is_in_the_guide() -> None:
    text = section("Exit codes").split("What tells")[0]
    codes = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    assert {int(code) for code in re.findall(r"^\| (\d) \|", text, re.MULTILINE)} == codes


@pytest.mark.parametrize(
    ("reason", "words", "value"),
    [
        ("too-large", "64 MB or 100 megapixels", (MAX_FILE_BYTES, MAX_PIXELS) == (64 * 2**20, 100_000_000)),
        ("too-small", "60 pixels", MIN_FACE_PX == 60),
        ("several-faces", "a third as large", BYSTANDER_RATIO == 3),
        ("cut-off", "a fifth of the face", MAX_OUTSIDE == 0.2),
        ("too-many", "256 photos", MAX_TEMPLATES == 256),
    ],
)
def test_the_limits_in_the_guide_are_those_of_the_code(reason: str, words: str, value: bool) -> None:
    row = re.search(rf"^\| `{reason}` .*$", GUIDE, re.MULTILINE)
    assert row is not None
    assert words in row[0]
    assert value
