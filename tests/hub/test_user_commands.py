"""`veilcast-hub users`: what it prints, what it refuses, and that the link it prints opens."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hub.__main__ import app
from hub.web.users import Account, UserStore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "hub"
    assert CliRunner().invoke(app, ["init", "--state", str(made)]).exit_code == 0
    return made


def call(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["users", *words, "--state", str(folder)])


def code_in(result: Result) -> str:
    found = re.search(
        r"https://127\.0\.0\.1:8443/(first|reset)\?code=([A-Za-z0-9_-]{43})$", result.output, re.M
    )
    assert found is not None, result.output
    return found[2]


def with_store(folder: Path, code: str, name: str, password: str = "correct horse battery") -> Account | None:
    store = UserStore(folder)
    try:
        return store.use_link(code, name, password, time.time())
    finally:
        store.close()


def test_users_are_added_listed_changed_and_removed(folder: Path) -> None:
    first = call(folder, "reset-link")
    assert first.exit_code == 0
    assert with_store(folder, code_in(first), "root") is not None
    added = call(folder, "add", "lobby", "--role", "viewer", "--camera", "door", "--camera", "hall")
    assert added.exit_code == 0
    assert call(folder, "list").output.splitlines() == [
        "lobby\tviewer\tdoor,hall\tno names\tno password yet",
        "root\tadmin\tall cameras\tnames\t",
    ]
    assert with_store(folder, code_in(added), "ignored") is not None
    assert call(folder, "set-role", "LOBBY", "--role", "operator").exit_code == 0
    assert "lobby\toperator\tall cameras\tnames\t" in call(folder, "list").output
    assert call(folder, "remove", "lobby").output == "removed lobby\n"
    assert "lobby" not in call(folder, "list").output


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("add", "vic", "--role", "viewer"), "say what the viewer may watch"),
        (
            ("add", "vic", "--role", "viewer", "--camera", "door", "--all-cameras"),
            "say what the viewer may watch",
        ),
        (("add", "olga", "--role", "operator", "--camera", "door"), "sees all cameras"),
        (("add", "two words", "--role", "operator"), "1 to 64 letters"),
        (("add", "root", "--role", "operator"), "a user root already"),
        (("remove", "root"), "last admin"),
        (("set-role", "root", "--role", "operator"), "last admin"),
        (("remove", "nobody"), "no user nobody"),
        (("reset-link", "nobody"), "no user nobody"),
        (("reset-link",), "there is an admin already"),
    ],
)
def test_what_is_not_done_is_one_line(folder: Path, words: tuple[str, ...], why: str) -> None:
    with_store(folder, code_in(call(folder, "reset-link")), "root")
    result = call(folder, *words)
    assert result.exit_code == 1
    assert why.lower() in result.output.lower()
    assert len(result.output.splitlines()) == 1


def test_a_password_may_come_from_a_private_file(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("correct horse battery\n")
    file.chmod(0o644)
    assert "chmod 600" in call(folder, "add", "root", "--role", "admin", "--password-file", str(file)).output
    file.chmod(0o600)
    done = call(folder, "add", "root", "--role", "admin", "--password-file", str(file))
    assert done.output == "added admin root\n"
    assert call(folder, "reset-link").exit_code == 1, "there is an admin now"


def test_without_a_hub_there_are_no_users(tmp_path: Path) -> None:
    result = call(tmp_path / "nothing", "list")
    assert result.exit_code == 1
    assert "veilcast-hub init" in result.output
