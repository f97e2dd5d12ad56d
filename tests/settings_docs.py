"""Holds a documented settings file against the code: every setting is there, with its default."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec

from protocol.settings import settings_from


def assert_documents_every_setting(path: Path, cls: type[msgspec.Struct]) -> None:
    """The TOML file names each setting of `cls` and nothing else, each with the code's default."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    documented = flat(table)
    defaults = flat(msgspec.json.decode(msgspec.json.encode(settings_from({}, cls, "defaults"))))
    assert documented.keys() == defaults.keys(), (
        f"only in {path.name}: {sorted(documented.keys() - defaults.keys())}; "
        f"only in the code: {sorted(defaults.keys() - documented.keys())}"
    )
    for name, value in documented.items():
        default = defaults[name]
        assert (value, type(value)) == (default, type(default)), f"{name}: {value} != {default}"
    assert settings_from(table, cls, path.name) == settings_from({}, cls, "defaults")


def flat(table: dict[str, Any], at: str = "") -> dict[str, Any]:
    """Dotted names to values; an empty table is a value."""
    names: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict) and value:
            names |= flat(value, f"{at}{key}.")
        else:
            names[f"{at}{key}"] = value
    return names
