"""TOML files to checked settings, with errors that a person can act on.

A settings file is described by a tree of msgspec Structs: one Struct per table, limits in
`Annotated[..., Meta(...)]`, a default for every setting. Used by node and hub at start.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from protocol.errors import SettingsError

S = TypeVar("S", bound=msgspec.Struct)

MAX_FILE_BYTES = 1_048_576
"""A settings file is a page or two."""
_CREDENTIALS = re.compile(r"//[^/@\s]+@")


def load_settings(path: Path, cls: type[S]) -> S:
    """Read the file into `cls`; settings that are left out have their defaults.

    Raises SettingsError with one line that names the file, the setting, the value found and what is
    allowed.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError as exc:
        raise SettingsError(f"{path}: there is no such settings file") from exc
    except OSError as exc:
        raise SettingsError(f"{path}: cannot be read: {exc.strerror}") from exc
    if len(data) > MAX_FILE_BYTES:
        raise SettingsError(f"{path}: too large for a settings file")
    try:
        table = tomllib.loads(data.decode())
    except UnicodeDecodeError as exc:
        raise SettingsError(f"{path}: not a text file (UTF-8)") from exc
    except (ValueError, RecursionError) as exc:
        raise SettingsError(f"{path}: not TOML: {exc}") from exc
    return settings_from(table, cls, str(path))


def settings_from(table: dict[str, Any], cls: type[S], origin: str) -> S:
    """The same for values that are already read; `origin` stands where the file's name would."""
    _check_table(table, cls, "", origin)
    try:
        return msgspec.convert(table, cls, strict=True)
    except msgspec.ValidationError as exc:  # a rule across settings, in a __post_init__
        raise SettingsError(f"{origin}: {exc}") from exc


def _check_table(table: dict[str, Any], cls: type[msgspec.Struct], at: str, origin: str) -> None:
    fields = {field.encode_name: field for field in msgspec.structs.fields(cls)}
    for key, value in table.items():
        name = f"{at}{key}"
        field = fields.get(key)
        if field is None:
            raise SettingsError(f"{origin}: unknown setting {name}; {_allowed_keys(key, fields)}")
        kind = inspect.type_info(field.type)
        if isinstance(kind, inspect.StructType):
            if not isinstance(value, dict):
                raise SettingsError(f"{origin}: {name} is a table: write [{name}] above its lines")
            _check_table(value, kind.cls, f"{name}.", origin)
        else:
            _check_value(value, field.type, kind, name, origin)


def _allowed_keys(key: str, fields: dict[str, Any]) -> str:
    closest = difflib.get_close_matches(key, fields, n=len(fields) or 1, cutoff=0.0)
    others = [name for name in fields if name not in closest]
    return "allowed here: " + ", ".join([*closest, *others])


def _check_value(value: object, expected: object, kind: inspect.Type, name: str, origin: str) -> None:
    place = ""
    try:
        msgspec.convert(value, expected, strict=True)
    except msgspec.ValidationError as exc:
        place = str(exc).partition(" - at `$")[2].rstrip("`")
    else:
        if all(math.isfinite(number) for number in _floats(value)):
            return
    raise SettingsError(f"{origin}: {name}{place} = {_shown(value)}; allowed: {_describe(kind)}")


def _floats(value: object) -> list[float]:
    if isinstance(value, float):
        return [value]
    if isinstance(value, dict):
        return [number for item in value.values() for number in _floats(item)]
    if isinstance(value, list):
        return [number for item in value for number in _floats(item)]
    return []


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    text = _CREDENTIALS.sub("//***@", repr(value))
    return text if len(text) <= 80 else text[:79] + "…"


def _describe(kind: inspect.Type) -> str:
    """What a value of this type may be, in words."""
    match kind:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType() | inspect.FloatType():
            noun = "a whole number" if isinstance(kind, inspect.IntType) else "a number"
            return noun + _range(kind.ge, kind.gt, kind.le, kind.lt)
        case inspect.StrType():
            return "a text" + _text_limits(kind)
        case inspect.LiteralType():
            return ", ".join(f'"{v}"' if isinstance(v, str) else str(v) for v in kind.values)
        case inspect.ListType() | inspect.VarTupleType():
            return f"a list, each {_describe(kind.item_type)}"
        case inspect.DictType():
            return f"a table, each value {_describe(kind.value_type)}"
        case inspect.UnionType():
            return " or ".join(_describe(part) for part in kind.types)
        case inspect.Metadata():
            return _describe(kind.type)
    return type(kind).__name__.removesuffix("Type").lower()


def _range(ge: float | None, gt: float | None, le: float | None, lt: float | None) -> str:
    words = []
    for bound, word in ((ge, "at least"), (gt, "more than"), (le, "at most"), (lt, "less than")):
        if bound is not None:
            words.append(f" {word} {bound:g}")
    return " and".join(words)


def _text_limits(kind: inspect.StrType) -> str:
    words = ""
    if kind.min_length:
        words += f" of at least {kind.min_length}"
    if kind.max_length is not None:
        words += f"{' and' if words else ' of'} at most {kind.max_length}"
    if words:
        words += " characters"
    if kind.pattern is not None:
        words += f" that matches {kind.pattern}"
    return words
