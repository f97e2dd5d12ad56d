"""Key files: what is written can be read, and whatever is unsafe or damaged is refused with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocol.errors import KeyFileError
from protocol.keys import (
    Peer,
    PublicKey,
    allowed_file,
    create_keypair,
    load_keypair,
    load_public_key,
    load_public_keys,
    read_public_key,
    scan_public_keys,
    write_public_key,
)


def test_a_pair_is_written_private_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "node" / "node.key"
    pair = create_keypair(path, "door", "node")
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_keypair(path) == pair
    assert [p.name for p in path.parent.iterdir()] == ["node.key"], "no draft is left"
    write_public_key(tmp_path / "node.pub", pair)
    assert load_public_key(tmp_path / "node.pub") == pair.public
    assert read_public_key(tmp_path / "node.pub") == PublicKey("door", "node", pair.public)
    assert pair.secret.decode() not in (tmp_path / "node.pub").read_text()


def test_a_pair_shows_no_secret_when_printed(tmp_path: Path) -> None:
    pair = create_keypair(tmp_path / "k", "door", "node")
    assert pair.secret.decode() not in repr(pair)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    pair = create_keypair(path, "door", "node")
    with pytest.raises(KeyFileError, match="not overwritten"):
        create_keypair(path, "door", "node")
    assert load_keypair(path) == pair
    assert [p.name for p in tmp_path.iterdir()] == ["node.key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777])
def test_a_secret_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "node.key"
    create_keypair(path, "door", "node")
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=f"chmod 600 {path}"):
        load_keypair(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not toml",
        'name = "door"',
        'name = "door"\nrole = "node"',
        'name = "door"\nrole = "king"\npublic = ""\nsecret = ""',
        'name = "door"\nrole = "node"\npublic = "short"\nsecret = "short"',
        'name = "door"\nrole = "node"\npublic = "{}"\nsecret = "{}"'.format("#" * 40, "é" * 40),
        'name = "door"\nrole = "node"\npublic = "{0}"\nsecret = "{0}"'.format("#" * 40),
        "\x00" * 10,
        "a" * 10_000,
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "node.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match=str(path)):
        load_keypair(path)


def test_an_error_never_shows_the_secret(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    pair = create_keypair(path, "door", "node")
    secret = pair.secret.decode()
    path.write_text(path.read_text() + f"\n{secret}")
    with pytest.raises(KeyFileError) as caught:
        load_keypair(path)
    assert secret not in str(caught.value)


def test_halves_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    one = create_keypair(tmp_path / "one", "a", "node")
    two = create_keypair(tmp_path / "two", "b", "node")
    text = (tmp_path / "one").read_text().replace(one.public.decode(), two.public.decode())
    (tmp_path / "one").write_text(text)
    with pytest.raises(KeyFileError, match="belong together"):
        load_keypair(tmp_path / "one")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="no such key file"):
        load_keypair(tmp_path / "gone")


@pytest.mark.parametrize("name", ["", ".hidden", "-x", "a/b", "a b", "x" * 65, "ü", "a\n"])
def test_names_that_make_no_file_name_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(KeyFileError, match="cannot be a name"):
        create_keypair(tmp_path / "k", name, "node")


def test_the_allow_list_is_a_folder(tmp_path: Path) -> None:
    door = create_keypair(tmp_path / "door.key", "door", "node")
    ada = create_keypair(tmp_path / "ada.key", "ada", "admin")
    folder = tmp_path / "authorized"
    write_public_key(allowed_file(folder, Peer("door", "node")), door)
    write_public_key(allowed_file(folder, Peer("ada", "admin")), ada)
    (folder / "README").write_text("ignored")
    assert load_public_keys(folder) == {
        door.public: Peer("door", "node"),
        ada.public: Peer("ada", "admin"),
    }


def test_a_bad_file_lets_nobody_in_and_keeps_nobody_out(tmp_path: Path) -> None:
    pair = create_keypair(tmp_path / "door.key", "door", "node")
    folder = tmp_path / "authorized"
    write_public_key(folder / "door.node.pub", pair)
    write_public_key(folder / "twin.admin.pub", pair)
    write_public_key(folder / "norole.pub", pair)
    (folder / "broken.node.pub").write_text("broken")
    peers, problems = scan_public_keys(folder)
    assert peers == {pair.public: Peer("door", "node")}
    assert len(problems) == 3
    with pytest.raises(KeyFileError):
        load_public_keys(folder)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="allow-list"):
        load_public_keys(tmp_path / "gone")
