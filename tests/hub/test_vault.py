"""Keys: where they come from, what they open, and what happens with a missing or wrong one."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.store.alone import OwnedStore, reading
from hub.store.errors import InUseError, StoreError
from hub.store.people import NewConsent, NewTemplate, PeopleStore
from hub.vault import VAULT_VARIABLE, GivenKey, KeyFile, Vault, VaultError, key_source

NOW = 1_700_000_000.0
HEX = "ab" * 32


def template(seed: int = 0, photo: bytes | None = None) -> NewTemplate:
    row = np.random.default_rng(seed).normal(size=4).astype(np.float32)
    return NewTemplate(row / np.linalg.norm(row), "test-4", f"holiday-{seed}.jpg", 0.9, photo)


def edit(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        for statement in statements:
            db.execute(statement)


def everything(folder: Path) -> bytes:
    return b"".join(p.read_bytes() for p in folder.iterdir())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A closed store with Ada and Bea."""
    path = tmp_path / "people.db"
    store = PeopleStore(path)
    for seed, name in ((1, "Ada"), (2, "Bea")):
        store.add(
            name,
            [template(seed, b"picture"), template(seed + 10)],
            NewConsent(("door",), None, "form 17"),
            NOW,
        )
    store.close()
    return path


# --- ciphers ----------------------------------------------------------------------------------


@given(st.binary(max_size=200), st.lists(st.text(max_size=8), min_size=1, max_size=4))
def test_what_is_sealed_opens_with_the_same_words(plain: bytes, about: list[str]) -> None:
    key, wrapped = Vault(bytes(32)).new_key("ada")
    assert Vault(bytes(32)).unwrap("ada", wrapped).open(key.seal(plain, *about), *about) == plain


@given(st.integers(0, 60), st.integers(1, 255))
def test_no_changed_byte_opens(at: int, change: int) -> None:
    key, _ = Vault(bytes(32)).new_key("ada")
    sealed = bytearray(key.seal(bytes(32), "template", "ada"))
    sealed[at % len(sealed)] ^= change
    with pytest.raises(VaultError):
        key.open(bytes(sealed), "template", "ada")


def test_words_that_join_alike_are_told_apart() -> None:
    key, wrapped = Vault(bytes(32)).new_key("ada")
    with pytest.raises(VaultError):
        key.open(key.seal(b"x", "ab", "c"), "a", "bc")
    with pytest.raises(VaultError):
        Vault(bytes(32)).unwrap("bea", wrapped)
    with pytest.raises(VaultError):
        key.open(b"", "a")


def test_no_key_is_printed() -> None:
    vault = Vault(bytes.fromhex(HEX))
    key, _ = vault.new_key("ada")
    assert HEX[:8] not in repr(vault) + repr(key) + vault.id


# --- at rest ----------------------------------------------------------------------------------


def test_nothing_personal_but_the_name_is_readable_in_the_file(path: Path) -> None:
    kept = everything(path.parent)
    for secret in (template(1).embedding.astype("<f4").tobytes(), b"holiday-1.jpg", b"form 17", b"picture"):
        assert secret not in kept


@pytest.mark.parametrize(
    "swap",
    [
        "UPDATE templates SET embedding = (SELECT embedding FROM templates WHERE id = 3) WHERE id = 1",
        "UPDATE templates SET embedding = (SELECT embedding FROM templates WHERE id = 2) WHERE id = 1",
        "UPDATE templates SET identity = (SELECT identity FROM templates WHERE id = 3) WHERE id = 1",
        "UPDATE templates SET model_id = 'other' WHERE id = 1",
        "UPDATE identity_keys SET wrapped = (SELECT max(wrapped) FROM identity_keys)",
        "UPDATE consents SET cameras = '[]'",
        "UPDATE consents SET until = 4000000000",
        "UPDATE consents SET granted_at = 1",
        "DELETE FROM identity_keys WHERE rowid = 1",
    ],
)
def test_rows_that_were_swapped_or_edited_do_not_open(path: Path, swap: str) -> None:
    edit(path, swap)
    store = PeopleStore(path)
    with pytest.raises(StoreError, match="damaged"):
        store.load("other" if "'other'" in swap else "test-4", 4, NOW)


def test_a_withdrawn_consent_cannot_be_made_to_live_again_by_an_edit(path: Path) -> None:
    store = PeopleStore(path)
    store.withdraw("Ada", NOW + 1)
    store.close()
    edit(path, "UPDATE consents SET withdrawn_at = NULL")
    with pytest.raises(StoreError, match="damaged"):
        PeopleStore(path).load("test-4", 4, NOW)


def test_kept_photos_come_back_and_are_told_from_templates_without_one(path: Path) -> None:
    store = PeopleStore(path)
    ada = store.show("Ada", NOW)
    assert [t.photo_kept for t in ada.templates] == [True, False]
    assert store.photos(ada.identity) == {0: b"picture"}


# --- the hub key ------------------------------------------------------------------------------


def missing(path: Path) -> None:
    path.with_name("vault.key").unlink()


def wrong(path: Path) -> None:
    missing(path)
    KeyFile(path.with_name("vault.key")).take_or_create()


def open_to_others(path: Path) -> None:
    path.with_name("vault.key").chmod(0o644)


def empty(path: Path) -> None:
    path.with_name("vault.key").write_text("")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (missing, "is missing"),
        (wrong, "bring that one back"),
        (open_to_others, "chmod 600"),
        (empty, "no key"),
    ],
)
def test_without_its_key_the_store_says_one_line_and_loses_nothing(
    path: Path, harm: Callable[[Path], None], words: str
) -> None:
    key, before = path.with_name("vault.key").read_bytes(), path.read_bytes()
    harm(path)
    with pytest.raises(VaultError, match=words) as caught:
        PeopleStore(path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    path.with_name("vault.key").write_bytes(key)
    path.with_name("vault.key").chmod(0o600)
    assert len(PeopleStore(path).load("test-4", 4, NOW)[0]) == 4


def test_the_key_file_is_private(path: Path) -> None:
    assert path.with_name("vault.key").stat().st_mode & 0o777 == 0o600


def test_an_empty_store_takes_another_key(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    PeopleStore(path).close()
    missing(path)
    PeopleStore(path).add("Ada", [template()], None, NOW)


def test_the_key_comes_from_the_environment_a_credential_or_the_file(tmp_path: Path) -> None:
    (tmp_path / "credentials").mkdir()
    credential = tmp_path / "credentials" / "vault.key"
    environment = {"CREDENTIALS_DIRECTORY": str(credential.parent)}
    assert isinstance(key_source(tmp_path, environment), KeyFile), "there is no such credential"
    credential.write_text(f'# made elsewhere\nkey = "{HEX}"\n')
    ids = {
        key_source(tmp_path, environment).take_or_create().id,
        key_source(tmp_path, {VAULT_VARIABLE: HEX}).take_or_create().id,
        Vault(bytes.fromhex(HEX)).id,
    }
    assert len(ids) == 1
    assert isinstance(key_source(tmp_path, {}), KeyFile)
    assert not (tmp_path / "vault.key").exists()


@pytest.mark.parametrize("text", ["", "ab", HEX + "0", "zz" * 32, HEX[:-1]])
def test_a_given_key_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(VaultError, match="64 hexadecimal digits") as caught:
        PeopleStore(tmp_path / "people.db", keys=GivenKey(text, "the variable X"))
    assert len(text) < 8 or text not in str(caught.value)


def test_a_store_opens_with_the_given_key_only(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    store = PeopleStore(path, keys=GivenKey(HEX, "X"))
    store.add("Ada", [template()], None, NOW)
    store.close()
    assert not (tmp_path / "vault.key").exists()
    with pytest.raises(VaultError, match="bring that one back"):
        PeopleStore(path, keys=GivenKey("cd" * 32, "X"))
    assert PeopleStore(path, keys=GivenKey(HEX, "X")).show("Ada", NOW).name == "Ada"


# --- rotation ---------------------------------------------------------------------------------


def test_after_a_rotation_the_old_key_opens_nothing(path: Path) -> None:
    old = path.with_name("vault.key").read_bytes()
    store = PeopleStore(path)
    before = store.load("test-4", 4, NOW)[0].identify(template(1).embedding[None])
    store.rotate()
    assert store.load("test-4", 4, NOW)[0].identify(template(1).embedding[None]) == before
    store.close()
    assert not path.with_name("vault.key.next").exists()
    reopened = PeopleStore(path)
    assert reopened.show("Ada", NOW).templates[0].source == "holiday-1.jpg"
    reopened.close()
    path.with_name("vault.key").write_bytes(old)
    with pytest.raises(VaultError, match="bring that one back"):
        PeopleStore(path)


@pytest.mark.parametrize("is_committed", [False, True])
def test_a_rotation_that_was_cut_short_is_finished_or_undone(path: Path, is_committed: bool) -> None:
    class Cut(KeyFile):
        def finish(self) -> None:
            raise VaultError("the power went")

    store = PeopleStore(path, keys=Cut(path.with_name("vault.key")))
    if is_committed:
        with pytest.raises(VaultError, match="power"):
            store.rotate()
    else:
        KeyFile(path.with_name("vault.key")).prepare()
    store.close()
    for is_alone in (False, True, True):
        store = PeopleStore(path, is_alone=is_alone)
        assert store.show("Ada", NOW).name == "Ada"
        assert path.with_name("vault.key.next").exists() is not is_alone
        store.close()


def test_an_old_key_that_was_already_overwritten_does_not_keep_the_new_one_from_opening(path: Path) -> None:
    class Cut(KeyFile):
        def finish(self) -> None:
            raise VaultError("the power went")

    store = PeopleStore(path, keys=Cut(path.with_name("vault.key")))
    with pytest.raises(VaultError):
        store.rotate()
    store.close()
    path.with_name("vault.key").write_bytes(bytes(20))
    assert PeopleStore(path).show("Ada", NOW).name == "Ada"


# --- erasure ----------------------------------------------------------------------------------


def test_a_copy_of_the_store_from_before_an_erasure_is_ciphertext_without_a_key(path: Path) -> None:
    copy = path.read_bytes()
    store = PeopleStore(path)
    erased = store.remove("Ada", NOW)
    store.close()
    assert (erased.rows_left, erased.is_log_empty, erased.is_old_key_destroyed) == (0, True, True)
    assert [model for model, _ in erased.embeddings] == ["test-4", "test-4"]
    for side in ("-wal", "-shm"):
        path.with_name(path.name + side).unlink(missing_ok=True)
    path.write_bytes(copy)
    with pytest.raises(VaultError, match="bring that one back"):
        PeopleStore(path)


def test_an_erasure_leaves_the_others_as_they_were(path: Path) -> None:
    store = PeopleStore(path)
    bea = store.show("Bea", NOW)
    store.remove("Ada", NOW)
    assert store.show("Bea", NOW) == bea
    assert store.photos(bea.identity) == {0: b"picture"}
    store.close()
    assert PeopleStore(path).show("Bea", NOW) == bea


def test_an_erasure_under_a_given_key_says_that_the_hub_key_lives_on(tmp_path: Path) -> None:
    store = PeopleStore(tmp_path / "people.db", keys=GivenKey(HEX, "X"))
    store.add("Ada", [template()], None, NOW)
    assert not store.remove("Ada", NOW).is_old_key_destroyed


def test_a_folder_that_cannot_be_written_does_not_keep_anyone_from_being_erased(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: KeyFile) -> Vault:
        raise VaultError("no space")

    monkeypatch.setattr(KeyFile, "prepare", refuse)
    store = PeopleStore(path)
    erased = store.remove("Ada", NOW)
    assert (erased.rows_left, erased.is_old_key_destroyed) == (0, False)
    assert store.show("Bea", NOW).name == "Bea"


# --- from schema 1 ----------------------------------------------------------------------------

SCHEMA_1 = (
    "CREATE TABLE meta (key VARCHAR(32) NOT NULL PRIMARY KEY, value INTEGER NOT NULL)",
    "CREATE TABLE identities (id VARCHAR(32) NOT NULL PRIMARY KEY, name VARCHAR(128) NOT NULL,"
    " name_key VARCHAR(256) NOT NULL UNIQUE, added_at FLOAT NOT NULL)",
    "CREATE TABLE templates (id INTEGER NOT NULL PRIMARY KEY, identity VARCHAR(32) NOT NULL REFERENCES"
    " identities (id) ON DELETE CASCADE, model_id VARCHAR(64) NOT NULL, embedding BLOB NOT NULL,"
    " source VARCHAR(512) NOT NULL, quality FLOAT NOT NULL, added_at FLOAT NOT NULL)",
    "CREATE INDEX templates_by_model ON templates (model_id)",
    "CREATE TABLE consents (id VARCHAR(32) NOT NULL PRIMARY KEY, identity VARCHAR(32) NOT NULL REFERENCES"
    " identities (id) ON DELETE CASCADE, granted_at FLOAT NOT NULL, until FLOAT, withdrawn_at FLOAT,"
    " cameras VARCHAR NOT NULL, note VARCHAR(512) NOT NULL)",
    "CREATE INDEX consents_by_identity ON consents (identity)",
    "INSERT INTO meta VALUES ('schema', 1), ('version', 7)",
    "INSERT INTO identities VALUES ('a1', 'Ada', 'ada', 1700000000)",
    "INSERT INTO consents VALUES ('c1', 'a1', 1700000000, NULL, NULL, '[\"door\"]', 'form 17, drawer 3')",
)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A store of schema 1, many templates in plain, left as after a crash: some of it in the log."""
    path = tmp_path / "people.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        with db:
            for statement in SCHEMA_1:
                db.execute(statement)
            for seed in range(60):
                blob = template(seed).embedding.astype("<f4").tobytes() * 100
                values = (seed + 1, "a1", "test-400", blob, f"holiday-{seed}.jpg", 0.5, NOW)
                db.execute("INSERT INTO templates VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        for suffix in ("", "-wal"):
            copy = path.with_name(f"copy.db{suffix}")
            copy.write_bytes(path.with_name(path.name + suffix).read_bytes())
    path.unlink(missing_ok=True)
    for suffix in ("", "-wal"):
        path.with_name(f"copy.db{suffix}").rename(path.with_name(path.name + suffix))
    return path


def test_a_store_with_plain_templates_is_encrypted_and_keeps_everything(old: Path) -> None:
    store = PeopleStore(old)
    gallery, consents = store.load("test-400", 400, NOW)
    assert (gallery.version, len(gallery)) == (7, 60)
    ada = store.show("Ada", NOW)
    assert [t.source for t in ada.templates] == [f"holiday-{seed}.jpg" for seed in range(60)]
    assert (ada.consents[0].id, ada.consents[0].note, ada.consented) == ("c1", "form 17, drawer 3", True)
    assert consents["a1"].id == "c1"
    store.close()
    kept = everything(old.parent)
    for seed in range(60):
        assert template(seed).embedding.astype("<f4").tobytes() not in kept
        assert f"holiday-{seed}.jpg".encode() not in kept
    assert b"drawer 3" not in kept
    assert len(PeopleStore(old).load("test-400", 400, NOW)[0]) == 60


def test_a_migration_that_fails_leaves_the_old_store(old: Path) -> None:
    edit(old, "UPDATE templates SET embedding = x'00' WHERE id = 60", "DROP INDEX consents_by_identity")
    with pytest.raises(StoreError):
        PeopleStore(old)
    with closing(sqlite3.connect(old)) as db:
        assert db.execute("SELECT count(*) FROM templates").fetchone() == (60,)
        assert db.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone() == (1,)


def test_an_old_store_is_not_migrated_beside_a_running_hub(old: Path) -> None:
    with pytest.raises(StoreError, match="start the hub of this version once"):
        PeopleStore(old, is_alone=False)


# --- one at a time ----------------------------------------------------------------------------


def test_a_store_has_one_owner_and_readers(path: Path) -> None:
    owner = OwnedStore(path, {})
    with pytest.raises(InUseError, match="stop it first"):
        OwnedStore(path, {})
    with reading(path, {}) as store:
        assert store.show("Ada", NOW).name == "Ada"
    owner.close()
    owner.close()
    OwnedStore(path, {}).close()


def test_a_store_that_cannot_be_opened_is_not_held(path: Path) -> None:
    with pytest.raises(VaultError):
        OwnedStore(path, {VAULT_VARIABLE: HEX})
    OwnedStore(path, {}).close()
    assert os.stat(path.with_name("people.db.lock")).st_mode & 0o077 == 0  # noqa: PTH116
