"""`remove`, `export` and `consent history` against a hub on loopback: words, JSON, files, exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from typer.testing import Result

from enrollment.errors import EXIT_DONE, EXIT_REFUSED, EXIT_USAGE, InputError
from enrollment.subjects import write_private
from tests.enrollment.fakes import NOW, FakeHub, consent
from tests.enrollment.test_cli import document, hub, keys, one_line, picture, run, sees_a_face  # noqa: F401

Run = Callable[..., Result]


@pytest.fixture
def ann(run: Run, hub: FakeHub, tmp_path: Path, sees_a_face: None) -> FakeHub:  # noqa: F811
    """A hub that knows Ann."""
    assert run("add", "Ann", picture(tmp_path / "a.png")).exit_code == EXIT_DONE
    return hub


def test_removing_prints_the_receipt(run: Run, ann: FakeHub) -> None:  # noqa: F811
    result = run("remove", "Ann", "--yes")
    assert result.exit_code == EXIT_DONE
    line, _, receipt = result.stdout.partition("\n")
    assert line == "Ann: removed"
    assert json.loads(receipt)["receipt"]["identity"] == "id-0"


def test_a_receipt_in_a_file_is_private(run: Run, ann: FakeHub, tmp_path: Path) -> None:  # noqa: F811
    path = tmp_path / "receipt.json"
    result = run("remove", "Ann", "--yes", "--receipt", path, "--json")
    assert document(result)["receipt"] == json.loads(path.read_text())
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("place", ["there.json", "no/such/folder/receipt.json"])
def test_a_receipt_that_cannot_be_written_keeps_the_person(
    run: Run, ann: FakeHub, tmp_path: Path, place: str  # noqa: F811
) -> None:  # fmt: skip
    (tmp_path / "there.json").write_text("mine")
    result = run("remove", "Ann", "--yes", "--receipt", tmp_path / place)
    assert result.exit_code == EXIT_USAGE
    one_line(result)
    assert "Ann" in ann.hub.people
    assert (tmp_path / "there.json").read_text() == "mine"


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (None, "could not look"),
        ({"found_as_another": 2}, "taken for another enrolled person"),
        ({"found_as_another": 0}, "still finds something"),
    ],
)
def test_a_face_that_is_not_unknown_is_said(
    run: Run, ann: FakeHub, check: dict[str, Any] | None, words: str  # noqa: F811
) -> None:  # fmt: skip
    ann.hub.receipt = {"is_unknown": False, "check": check}
    result = run("remove", "Ann", "--yes")
    assert result.exit_code == EXIT_REFUSED
    assert words in one_line(result)


def test_an_export_is_printed_or_written(run: Run, ann: FakeHub, tmp_path: Path) -> None:  # noqa: F811
    printed = document(run("export", "Ann"))
    assert printed == {"name": "Ann", "shown": list(range(40))}
    path = tmp_path / "ann.json"
    assert "exported to" in run("export", "Ann", "--out", path).stdout
    assert json.loads(path.read_text()) == printed
    assert path.stat().st_mode & 0o777 == 0o600
    again = run("export", "Ann", "--out", path)
    assert again.exit_code == EXIT_USAGE
    assert "not overwritten" in one_line(again)
    assert run("export", "Nobody").exit_code == EXIT_REFUSED


def test_photos_are_kept_only_where_asked(run: Run, ann: FakeHub, tmp_path: Path) -> None:  # noqa: F811
    assert not ann.hub.adds[-1].keep_photos
    run("add", "Ann", picture(tmp_path / "b.png", 2), "--keep-photos")
    assert ann.hub.adds[-1].keep_photos


def test_the_history_of_consents(run: Run, ann: FakeHub) -> None:  # noqa: F811
    past = [
        replace(consent(until=NOW + 5e8, at=NOW - 300), withdrawn_at=NOW - 200, note="form 1"),
        consent(until=1.5e9, cameras=("door",), at=1.4e9),
        consent(at=NOW),
    ]
    ann.hub.people["Ann"] = replace(ann.hub.people["Ann"], consents=tuple(past))
    lines = run("consent", "history", "Ann").stdout.splitlines()
    for word, line in zip(("expired", "withdrawn", "holds"), lines[1:], strict=True):
        assert word in line
    assert "on door" in lines[1]
    assert "form 1" in lines[2]
    assert len(document(run("consent", "history", "Ann", "--json"))["consents"]) == 3


def test_no_file_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_private(path, {"a": 1})
    with pytest.raises(InputError, match="not overwritten"):
        write_private(path, {"a": 2})
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
