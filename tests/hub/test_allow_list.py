"""Keys in a folder, and when they are read again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hub.allow_list import AllowList
from protocol.keys import Peer, allowed_file, create_keypair, write_public_key

LATER_S = 100.0


def let_in(folder: Path, name: str) -> Path:
    keys = create_keypair(folder.parent / f"{name}.key", name, "node")
    path = allowed_file(folder, Peer(name, "node"))
    write_public_key(path, keys)
    return path


def names(allow_list: AllowList) -> list[str]:
    allow_list.read()
    return sorted(peer.name for peer in allow_list.peers.values())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "authorized"
    path.mkdir()
    return path


def settled(folder: Path) -> AllowList:
    """As if everything in the folder had been there for long."""
    return AllowList(folder, lambda: max(p.stat().st_ctime for p in folder.parent.iterdir()) + LATER_S)


def test_keys_that_are_added_and_removed_are_noticed(folder: Path) -> None:
    allow_list = settled(folder)
    assert names(allow_list) == []
    door = let_in(folder, "door")
    assert names(allow_list) == ["door"]
    assert Peer("door", "node") in allow_list.peers.values()
    let_in(folder, "hall")
    assert names(allow_list) == ["door", "hall"]
    door.unlink()
    assert names(allow_list) == ["hall"]


def test_what_has_not_changed_is_not_read_again(folder: Path) -> None:
    allow_list = settled(folder)
    let_in(folder, "door")
    for _ in range(3):
        assert names(allow_list) == ["door"]
    assert allow_list.readings == 1


def test_a_key_that_takes_anothers_place_is_noticed_though_size_and_date_are_the_same(folder: Path) -> None:
    allow_list = settled(folder)
    path = let_in(folder, "door")
    dates = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    first = names(allow_list) and list(allow_list.peers)
    other = let_in(folder.parent, "else").rename(folder.parent / "other")
    other.write_text(other.read_text().replace("else", "door"))
    assert other.stat().st_size == path.stat().st_size
    os.utime(other, ns=dates)
    other.replace(path)
    assert names(allow_list) == ["door"]
    assert list(allow_list.peers) != first


def test_what_was_changed_a_moment_ago_is_read_once_more(folder: Path) -> None:
    # Another change within the same tick of the file system's clock would look the same.
    path = let_in(folder, "door")
    now = path.stat().st_ctime
    allow_list = AllowList(folder, lambda: now)
    names(allow_list)
    names(allow_list)
    assert allow_list.readings == 2
    now += LATER_S
    names(allow_list)
    names(allow_list)
    assert allow_list.readings == 3


def test_where_the_folder_cannot_be_read_nobody_is_let_in(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    allow_list = settled(folder)
    path = let_in(folder, "door")
    assert names(allow_list) == ["door"]
    path.unlink()
    folder.rmdir()
    allow_list._wall = lambda: 0.0
    assert names(allow_list) == []
    assert names(allow_list) == []
    assert caplog.text.count("cannot read") == 1
