"""Settings files: good ones are read, every bad one gives one line with file, setting and remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from msgspec import Meta, Struct

from protocol.errors import SettingsError
from protocol.settings import load_settings
from tests.settings_docs import assert_documents_every_setting


class Web(Struct, frozen=True, forbid_unknown_fields=True):
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    ratio: Annotated[float, Meta(gt=0, lt=1)] = 0.5
    names: tuple[str, ...] = ()


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1, max_length=8, pattern="^[a-z]+$")] = "door"
    mode: Literal["a", "b"] = "a"
    fast: bool = False
    modes: dict[str, Literal["a", "b"]] = {}
    web: Web = Web()

    def __post_init__(self) -> None:
        if self.fast and self.mode == "b":
            raise ValueError("fast and mode = b exclude each other")


def write(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "x.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    assert load_settings(write(tmp_path, ""), Settings) == Settings()


def test_values_are_taken(tmp_path: Path) -> None:
    text = 'name = "hall"\nmodes = {hall = "b"}\n[web]\nport = 1\nratio = 0.25\nnames = ["x"]\n'
    assert load_settings(write(tmp_path, text), Settings) == Settings(
        name="hall", modes={"hall": "b"}, web=Web(port=1, ratio=0.25, names=("x",))
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nam = 1", "unknown setting nam; allowed here: name, "),
        ("[web]\nprot = 1", "unknown setting web.prot; allowed here: port, "),
        ("[wbe]\nport = 1", "unknown setting wbe; allowed here: web"),
        ("web = 3", "web is a table"),
        ("[[web]]\nport = 1", "web is a table"),
        ("fast = 1", "fast = 1; allowed: true or false"),
        ("[web]\nport = 70000", "web.port = 70000; allowed: a whole number at least 0 and at most"),
        ("[web]\nport = true", "web.port = true; allowed: a whole number"),
        ('[web]\nport = "80"', "web.port = '80'; allowed: a whole number"),
        ("[web]\nport = 1.5", "web.port = 1.5"),
        ("[web]\nratio = 1", "web.ratio = 1; allowed: a number more than 0 and less than 1"),
        ("[web]\nratio = nan", "web.ratio = nan"),
        ("[web]\nratio = inf", "web.ratio = inf"),
        ("[web]\nnames = [1]", "web.names[0] = [1]; allowed: a list, each a text"),
        ('mode = "c"', 'mode = \'c\'; allowed: "a", "b"'),
        ('modes = {hall = "c"}', 'allowed: a table, each value "a", "b"'),
        ('name = ""', "name = ''; allowed: a text of at least 1 and at most 8 characters that"),
        ('name = "UPPER"', "matches ^[a-z]+$"),
        ("name = 1979-05-27", "name = datetime.date(1979, 5, 27)"),
        ('fast = true\nmode = "b"', "exclude each other"),
        ("name = ", "not TOML"),
        ("name = 1\nname = 2", "not TOML"),
        (b"\xff\xfe", "not a text file"),
        ("x" * 2_000_000, "too large"),
        (f"name = {9 * '9' * 1000}", "not TOML"),
        ("modes = " + "[" * 5000, "not TOML"),
        ("[web]\nhost = [" + '"long",' * 50 + "]", "…"),
    ],
)
def test_a_bad_file_gives_one_line_that_says_what(tmp_path: Path, text: str | bytes, says: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load_settings(path, Settings)
    line = str(caught.value)
    assert says in line
    assert line.startswith(str(path))
    assert "\n" not in line


def test_passwords_in_addresses_are_not_repeated(tmp_path: Path) -> None:
    path = write(tmp_path, 'fast = "rtsp://me:secret@camera/1"')
    with pytest.raises(SettingsError) as caught:
        load_settings(path, Settings)
    assert "secret" not in str(caught.value)


def test_missing_and_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such settings file"):
        load_settings(tmp_path / "gone.toml", Settings)
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(tmp_path, Settings)


DOCUMENTED = """
name = "door"
mode = "a"
fast = false
[modes]
[web]
host = "127.0.0.1"
port = 8080
ratio = 0.5
names = []
"""


def test_the_documentation_check_wants_every_setting_with_its_default(tmp_path: Path) -> None:
    assert_documents_every_setting(write(tmp_path, DOCUMENTED), Settings)
    for wrong in (
        DOCUMENTED.replace("port = 8080\n", ""),
        DOCUMENTED.replace("8080", "8081"),
        DOCUMENTED.replace('host = "127.0.0.1"', 'host = "localhost"'),
    ):
        with pytest.raises(AssertionError):
            assert_documents_every_setting(write(tmp_path, wrong), Settings)
