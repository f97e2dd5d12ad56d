"""`veilcast-hub backup|restore|vault|receipt`: what they write, refuse and say."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from hub import people_commands
from hub.__main__ import app
from hub.backup import Cost, write_backup
from hub.receipts import Check, sign_receipt
from hub.signing import load_or_create
from hub.store.alone import OwnedStore
from hub.store.people import NewConsent, NewTemplate
from hub.vault import VAULT_VARIABLE

NOW = 1_700_000_000.0
HEX = "ab" * 32


def call(state: Path, *words: str | Path, **environment: str) -> Result:
    result = CliRunner().invoke(app, [*map(str, words), "--state", str(state)], env=environment)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def one_line(result: Result) -> str:
    assert result.exit_code == 1
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return str(lines[0])


def open_store(state: Path) -> OwnedStore:
    return OwnedStore(state / "people.db", {})


def hub(state: Path, *names: str) -> Path:
    assert call(state, "init").exit_code == 0
    store = open_store(state)
    for seed, name in enumerate(names):
        row = np.random.default_rng(seed).normal(size=4).astype(np.float32)
        store.add(name, [NewTemplate(row / np.linalg.norm(row), "test-4", "a.jpg", 0.9)], NewConsent(), NOW)
    store.close()
    return state


def names(state: Path) -> list[str]:
    store = open_store(state)
    found = [p.name for p in store.page("", 50, NOW)[0]]
    store.close()
    return found


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A passphrase file; passphrases are cheap to try."""

    def cheap(file: object, records: object, passphrase: str) -> int:
        return write_backup(file, records, passphrase, Cost(log2_n=4))  # type: ignore[arg-type]

    monkeypatch.setattr(people_commands, "write_backup", cheap)
    path = tmp_path / "words"
    path.write_text("correct horse battery\n")
    path.chmod(0o600)
    return path


def test_init_makes_a_vault_key_once(tmp_path: Path) -> None:
    state = tmp_path / "hub"
    call(state, "init")
    key = (state / "vault.key").read_bytes()
    assert (state / "vault.key").stat().st_mode & 0o777 == 0o600
    call(state, "init")
    assert (state / "vault.key").read_bytes() == key


def test_a_backup_goes_to_another_hub(tmp_path: Path, words: Path) -> None:
    one, two, file = hub(tmp_path / "one", "Ada", "Bea"), hub(tmp_path / "two"), tmp_path / "people.backup"
    made = call(one, "backup", file, "--passphrase-file", words)
    assert made.exit_code == 0, made.output
    assert made.stdout.startswith("2 people in ")
    assert file.stat().st_mode & 0o777 == 0o600
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one", "people.backup", "two", "words"]
    done = call(two, "restore", file, "--passphrase-file", words)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("2 people restored, as of ")
    assert names(two) == ["Ada", "Bea"]
    assert "--merge" in one_line(call(two, "restore", file, "--passphrase-file", words))
    merged = call(two, "restore", file, "--merge", "--passphrase-file", words)
    assert "2 people enrolled here already: left as here" in merged.stdout


def test_a_backup_is_made_beside_a_running_hub_and_restored_only_without(tmp_path: Path, words: Path) -> None:
    state, file = hub(tmp_path / "one", "Ada"), tmp_path / "people.backup"
    running = open_store(state)
    assert call(state, "backup", file, "--passphrase-file", words).exit_code == 0
    for command in (("restore", file, "--replace", "--passphrase-file", words), ("vault", "rotate")):
        assert "stop it first" in one_line(call(state, *command))
    running.close()
    assert call(state, "restore", file, "--replace", "--passphrase-file", words).exit_code == 0


def test_no_file_is_written_over_and_no_half_backup_stays(
    tmp_path: Path, words: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, file = hub(tmp_path / "one", "Ada"), tmp_path / "people.backup"
    file.write_text("mine")
    assert "not overwritten" in one_line(call(state, "backup", file, "--passphrase-file", words))
    assert file.read_text() == "mine"
    file.unlink()

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(people_commands, "write_backup", full)
    assert "No space left" in one_line(call(state, "backup", file, "--passphrase-file", words))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one", "words"]


def test_wrong_words_change_nothing(tmp_path: Path, words: Path) -> None:
    state, file = hub(tmp_path / "one", "Ada"), tmp_path / "people.backup"
    call(state, "backup", file, "--passphrase-file", words)
    words.write_text("another horse entirely")
    refused = call(state, "restore", file, "--replace", "--passphrase-file", words)
    assert "passphrase is wrong" in one_line(refused)
    assert names(state) == ["Ada"]


@pytest.mark.parametrize(
    ("text", "mode", "says"),
    [
        ("short", 0o600, "12 characters"),
        ("", 0o600, "12 characters"),
        ("long enough words", 0o644, "chmod 600"),
    ],
)
def test_passphrases_that_do_not_do(tmp_path: Path, words: Path, text: str, mode: int, says: str) -> None:
    state = hub(tmp_path / "one")
    words.write_text(text)
    words.chmod(mode)
    assert says in one_line(call(state, "backup", tmp_path / "b", "--passphrase-file", words))


def test_without_a_terminal_a_passphrase_must_be_given(tmp_path: Path) -> None:
    state = hub(tmp_path / "one")
    assert "--passphrase-file" in one_line(call(state, "backup", tmp_path / "b"))


def test_usage_of_restore(tmp_path: Path, words: Path) -> None:
    state = hub(tmp_path / "one")
    both = call(state, "restore", tmp_path / "b", "--merge", "--replace", "--passphrase-file", words)
    assert "not both" in one_line(both)
    for missing in (tmp_path / "none", tmp_path):
        assert "cannot be read" in one_line(call(state, "restore", missing, "--passphrase-file", words))


def test_the_vault_key_is_rotated(tmp_path: Path) -> None:
    state = hub(tmp_path / "one", "Ada")
    before = call(state, "vault", "show").stdout
    assert str(state / "vault.key") in before
    assert call(state, "vault", "rotate").stdout.startswith("new key ")
    assert call(state, "vault", "show").stdout != before
    assert names(state) == ["Ada"]
    assert "leave out --to" in one_line(call(state, "vault", "rotate", "--to", tmp_path / "k"))


def test_restoring_and_rotating_are_in_the_audit_log(tmp_path: Path, words: Path) -> None:
    state, file = hub(tmp_path / "one", "Ada"), tmp_path / "people.backup"
    call(state, "backup", file, "--passphrase-file", words)
    assert call(state, "vault", "rotate").exit_code == 0
    words.write_text("another horse entirely")
    assert call(state, "restore", file, "--replace", "--passphrase-file", words).exit_code == 1
    log = tmp_path / "log.jsonl"
    assert call(state, "audit", "export", log).exit_code == 0
    text = log.read_text()
    for what, result in (("vault-rotate", "done"), ("restore-replace", "failed")):
        (line,) = [r for r in text.splitlines() if what in r and '"act"' in r and "result" in r]
        assert result in line


def test_a_given_vault_key_is_rotated_to_a_file(tmp_path: Path) -> None:
    state = tmp_path / "one"
    environment = {VAULT_VARIABLE: HEX}
    assert call(state, "init", **environment).exit_code == 0
    assert not (state / "vault.key").exists()
    store = OwnedStore(state / "people.db", environment)
    store.add("Ada", [], None, NOW)
    store.close()
    assert "--to FILE is needed" in one_line(call(state, "vault", "rotate", **environment))
    new = tmp_path / "new.key"
    assert call(state, "vault", "rotate", "--to", new, **environment).exit_code == 0
    assert "bring that one back" in one_line(call(state, "vault", "show", **environment))
    assert call(state, "vault", "show", **{VAULT_VARIABLE: new.read_text()}).exit_code == 0


@pytest.fixture
def receipt(tmp_path: Path) -> tuple[Path, Path]:
    """A hub that erased Ada, and the receipt."""
    state = hub(tmp_path / "one", "Ada", "Bea")
    store = open_store(state)
    erased = store.remove("Ada", NOW)
    text = sign_receipt(erased, Check(5, 1, 0, 0), NOW, load_or_create(state / "sign.key"))
    store.close()
    path = tmp_path / "receipt.json"
    path.write_text(text)
    return state, path


def test_a_receipt_is_verified_here_and_elsewhere(tmp_path: Path, receipt: tuple[Path, Path]) -> None:
    state, path = receipt
    assert call(state, "receipt", "verify", path).stdout.startswith("holds: identity ")
    public = tmp_path / "sign.pub"
    public.write_text(call(state, "receipt", "key").stdout)
    elsewhere = tmp_path / "two"
    assert "give --key" in one_line(call(elsewhere, "receipt", "verify", path))
    assert call(elsewhere, "receipt", "verify", path, "--key", public).exit_code == 0
    changed = json.loads(path.read_text())
    changed["receipt"]["templates"] = 9
    path.write_text(json.dumps(changed))
    assert "changed after it was signed" in one_line(call(state, "receipt", "verify", path))
    path.write_bytes(os.urandom(64))
    assert "not a receipt" in one_line(call(state, "receipt", "verify", path))
    path.write_text("{}")
    public.write_text("no key")
    assert "not a public key" in one_line(call(state, "receipt", "verify", path, "--key", public))


def test_another_hub_leaves_out_whom_a_receipt_names(tmp_path: Path, words: Path) -> None:
    path = tmp_path / "receipt.json"
    origin = hub(tmp_path / "origin", "Ada", "Bea")
    file = tmp_path / "people.backup"
    call(origin, "backup", file, "--passphrase-file", words)
    store = open_store(origin)
    gone = store.remove("Bea", NOW)
    path.write_text(sign_receipt(gone, None, NOW, load_or_create(origin / "sign.key")))
    store.close()
    public = tmp_path / "origin.pub"
    public.write_text(call(origin, "receipt", "key").stdout)
    two = hub(tmp_path / "two")
    options = ("--receipt", path, "--key", public, "--passphrase-file", words)
    done = call(two, "restore", file, *options)
    assert "1 person left out: erased since" in done.stdout, done.output
    assert names(two) == ["Ada"]
    assert "NOT unknown" in call(two, "receipt", "verify", path, "--key", public).stdout
