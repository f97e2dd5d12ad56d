"""The command line: what it makes, what it refuses, and that it runs and stops as a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hub.__main__ import app
from protocol.keys import (
    Peer,
    create_keypair,
    load_keypair,
    load_public_key,
    load_public_keys,
    write_public_key,
)

ROOT = Path(__file__).parent.parent.parent


def call(tmp_path: Path, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--state", str(tmp_path / "hub")])


def test_a_hub_is_made_once(tmp_path: Path) -> None:
    first = call(tmp_path, "init")
    assert first.exit_code == 0
    folder = tmp_path / "hub"
    keys = load_keypair(folder / "hub.key")
    assert keys.public.decode() in first.output
    assert load_public_key(folder / "hub.pub") == keys.public
    assert folder.stat().st_mode & 0o777 == 0o700
    second = call(tmp_path, "init")
    assert second.exit_code == 0
    assert load_keypair(folder / "hub.key") == keys


@pytest.mark.parametrize("role", ["node", "admin"])
def test_a_client_gets_its_files_and_is_let_in(tmp_path: Path, role: str) -> None:
    call(tmp_path, "init")
    out = tmp_path / "out"
    assert call(tmp_path, "keys", f"make-{role}", "door", str(out)).exit_code == 0
    keys = load_keypair(out / f"{role}.key")
    assert (keys.name, keys.role) == ("door", role)
    assert load_public_key(out / "hub.pub") == load_keypair(tmp_path / "hub" / "hub.key").public
    assert (out / "sign.pub").exists() == (role == "node"), "with which a node checks tickets"
    allowed = load_public_keys(tmp_path / "hub" / "authorized")
    assert allowed == {keys.public: Peer("door", role)}  # type: ignore[arg-type]
    again = call(tmp_path, "keys", f"make-{role}", "door", str(tmp_path / "other"))
    assert again.exit_code == 1
    assert "has a key already" in again.output
    assert not (tmp_path / "other").exists()


def test_keys_are_added_listed_and_removed(tmp_path: Path) -> None:
    call(tmp_path, "init")
    pair = create_keypair(tmp_path / "ann.key", "ann", "admin")
    write_public_key(tmp_path / "ann.pub", pair)
    assert call(tmp_path, "keys", "add", str(tmp_path / "ann.pub")).exit_code == 0
    assert call(tmp_path, "keys", "list").output == "admin\tann\n"
    twice = call(tmp_path, "keys", "add", str(tmp_path / "ann.pub"))
    assert twice.exit_code == 1
    assert "let in already" in twice.output
    assert call(tmp_path, "keys", "remove", "ann").exit_code == 1, "that would be a node"
    assert call(tmp_path, "keys", "remove", "ann", "--admin").exit_code == 0
    assert call(tmp_path, "keys", "list").output == ""


def test_a_secret_key_or_a_hub_is_not_let_in(tmp_path: Path) -> None:
    call(tmp_path, "init")
    hub = call(tmp_path, "keys", "add", str(tmp_path / "hub" / "hub.pub"))
    assert hub.exit_code == 1
    assert "hubs are not" in hub.output
    missing = call(tmp_path, "keys", "add", str(tmp_path / "gone.pub"))
    assert missing.exit_code == 1
    assert "no such key file" in missing.output


@pytest.mark.parametrize("words", [["keys", "list"], ["keys", "remove", "x"]])
def test_without_a_hub_the_remedy_is_named(tmp_path: Path, words: list[str]) -> None:
    result = call(tmp_path, *words)
    assert result.exit_code == 1
    assert "veilcast-hub init" in result.output


def test_bad_settings_and_addresses_are_one_line(tmp_path: Path) -> None:
    config = tmp_path / "hub.toml"
    config.write_text("[server]\nport = 1\n")
    bad = call(tmp_path, "run", "--config", str(config))
    assert bad.exit_code == 1
    assert "unknown setting server.port" in bad.output
    unusable = call(tmp_path, "run", "--listen", "nonsense")
    assert unusable.exit_code == 1
    assert unusable.output.splitlines()[-1].startswith("veilcast-hub: cannot listen on nonsense")


def test_a_damaged_store_is_one_line(tmp_path: Path) -> None:
    call(tmp_path, "init")
    (tmp_path / "hub" / "people.db").write_bytes(b"this is no database" * 100)
    result = call(tmp_path, "run", "--listen", "tcp://127.0.0.1:*", "--web", "off")
    assert result.exit_code == 1
    assert "people.db" in result.output
    assert "Traceback" not in result.output


@pytest.mark.e2e
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_when_it_is_ready_and_stops_when_told(tmp_path: Path, number: int) -> None:
    command = [sys.executable, "-m", "hub", "run", "--state", str(tmp_path / "hub")]
    hub = subprocess.Popen(
        [*command, "--listen", "tcp://127.0.0.1:*", "--web", "127.0.0.1:0"],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert hub.stdout is not None
    ready = hub.stdout.readline()
    hub.send_signal(number)
    rest, errors = hub.communicate(timeout=30)
    assert "first?code=" not in rest, "no terminal: a log would keep the link"
    assert ready.startswith("hub ready on tcp://127.0.0.1:")
    assert "gallery 0 people" in ready
    assert hub.returncode == 0
    assert "Traceback" not in errors
