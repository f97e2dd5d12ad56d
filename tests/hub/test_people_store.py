"""What is kept, and what is gone."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, event

from hub.store import sealing
from hub.store.errors import ConflictError, NotFoundError, StoreError
from hub.store.people import NewConsent, NewTemplate, PeopleStore
from protocol.limits import MAX_TEMPLATES

NOW = 1_700_000_000.0
MODEL = "test-4"


def template(seed: int = 0, model: str = MODEL) -> NewTemplate:
    row = np.random.default_rng(seed).normal(size=4).astype(np.float32)
    return NewTemplate(row / np.linalg.norm(row), model, f"{seed}.jpg", 0.9)


@pytest.fixture
def store(tmp_path: Path) -> PeopleStore:
    return PeopleStore(tmp_path / "state" / "people.db")


def test_a_person_is_kept_with_templates_and_consent(store: PeopleStore) -> None:
    person = store.add("Ada", [template(1), template(2)], NewConsent(("door",), NOW + 100, "form 1"), NOW)
    assert person.consented
    assert [t.source for t in person.templates] == ["1.jpg", "2.jpg"]
    assert person.consents[0].cameras == ("door",)
    assert store.show("ada", NOW) == person


def test_what_is_kept_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    store = PeopleStore(path)
    store.add("Ada", [template(1)], NewConsent(), NOW)
    store.close()
    gallery, consents = PeopleStore(path).load(MODEL, 4, NOW)
    assert len(gallery) == 1
    assert [c.name for c in consents.values()] == ["Ada"]
    (found,) = gallery.identify(template(1).embedding[None])
    assert found[0].similarity == pytest.approx(1.0, abs=1e-6)


def test_adding_again_adds_photos_and_replaces_the_consent(store: PeopleStore) -> None:
    store.add("Ada", [template(1)], NewConsent(), NOW)
    person = store.add("ADA", [template(2)], NewConsent(("yard",)), NOW + 1)
    assert (person.name, len(person.templates), len(person.consents)) == ("Ada", 2, 2)
    assert person.consents[0].withdrawn_at == NOW + 1


def test_only_templates_of_the_model_are_in_its_gallery(store: PeopleStore) -> None:
    store.add("Ada", [template(1, "other")], NewConsent(), NOW)
    gallery, _ = store.load(MODEL, 4, NOW)
    assert len(gallery) == 0
    assert store.count_other_models(MODEL) == 1


def test_a_withdrawn_or_expired_consent_does_not_live(store: PeopleStore) -> None:
    store.add("Ada", [template(1)], NewConsent(), NOW)
    store.add("Bea", [template(2)], NewConsent(until=NOW + 10), NOW)
    assert len(store.load(MODEL, 4, NOW)[1]) == 2
    assert len(store.load(MODEL, 4, NOW + 10)[1]) == 1
    assert not store.withdraw("Ada", NOW + 11).consented
    assert store.load(MODEL, 4, NOW + 11)[1] == {}
    assert store.grant("Ada", NewConsent(), NOW + 12).consented


def test_removal_leaves_no_byte_of_a_person(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    store = PeopleStore(path)
    store.add("Ada Lovelace", [template(1)], NewConsent(note="form 17"), NOW)
    secret = template(1).embedding.astype("<f4").tobytes()
    store.remove("ada lovelace", NOW)
    store.close()
    kept = b"".join(p.read_bytes() for p in tmp_path.iterdir())
    assert secret not in kept
    assert b"Lovelace" not in kept
    assert b"form 17" not in kept


def test_the_write_ahead_log_is_empty_once_a_person_is_removed(tmp_path: Path) -> None:
    store = PeopleStore(tmp_path / "people.db")
    store.add("Ada", [template(1)], NewConsent(), NOW)
    assert (tmp_path / "people.db-wal").stat().st_size > 0
    store.remove("Ada", NOW)
    assert (tmp_path / "people.db-wal").stat().st_size == 0


def test_a_log_that_cannot_be_emptied_is_reported_and_the_person_is_gone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "people.db"
    store = PeopleStore(path, busy_s=0.01)
    store.add("Ada", [template(1)], NewConsent(), NOW)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM identities").fetchall()
        store.remove("Ada", NOW)
        assert "write-ahead log" in caplog.text
        assert "Ada" not in caplog.text
    with pytest.raises(NotFoundError):
        store.show("Ada", NOW)


def test_whoever_is_not_enrolled_is_not_found(store: PeopleStore) -> None:
    for act in (
        lambda: store.show("Bea", NOW),
        lambda: store.remove("Bea", NOW),
        lambda: store.withdraw("Bea", NOW),
        lambda: store.grant("Bea", NewConsent(), NOW),
    ):
        with pytest.raises(NotFoundError, match="nobody named Bea"):
            act()


def test_an_enrolment_that_fails_changes_nothing(store: PeopleStore) -> None:
    too_many = [template(i) for i in range(MAX_TEMPLATES + 1)]
    with pytest.raises(ConflictError):
        store.add("Ada", too_many, NewConsent(), NOW)
    with pytest.raises(NotFoundError):
        store.show("Ada", NOW)


def test_people_come_in_pages_by_name(store: PeopleStore) -> None:
    for name in ("Cleo", "ada", "Bea"):
        store.add(name, [template(1)], None, NOW)
    first, more = store.page("", 2, NOW)
    rest, end = store.page(first[-1].name, 2, NOW)
    assert [p.name for p in first + rest] == ["ada", "Bea", "Cleo"]
    assert (more, end) == (True, False)


def test_each_change_gives_the_gallery_a_new_version(store: PeopleStore) -> None:
    store.add("Ada", [template(1)], NewConsent(), NOW)
    before = store.load(MODEL, 4, NOW)[0].version
    store.withdraw("Ada", NOW)
    assert store.load(MODEL, 4, NOW)[0].version > before


def test_templates_are_opened_anew_only_where_they_changed(store: PeopleStore) -> None:
    store.add("Ada", [template(1)], NewConsent(), NOW)
    store.add("Bea", [template(2)], NewConsent(), NOW)
    assert len(store.load(MODEL, 4, NOW)[0]) == 2
    store.withdraw("Ada", NOW)
    gallery, consents = store.load(MODEL, 4, NOW)
    assert (len(gallery), [c.name for c in consents.values()]) == (2, ["Bea"])
    assert len(store.load("other", 4, NOW)[0]) == 0
    store.add("Ada", [template(3)], None, NOW)
    assert len(store.load(MODEL, 4, NOW)[0]) == 3
    store.remove("Ada", NOW)
    assert len(store.load(MODEL, 4, NOW)[0]) == 1


def test_what_another_opening_of_the_store_changed_is_seen(store: PeopleStore) -> None:
    store.add("Ada", [template(1)], NewConsent(), NOW)
    store.load(MODEL, 4, NOW)
    other = PeopleStore(store.database.path)
    other.add("Bea", [template(2)], NewConsent(), NOW)
    assert len(store.load(MODEL, 4, NOW)[0]) == 2


def test_a_change_is_made_in_the_gallery_without_opening_everyone_again(
    store: PeopleStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add("Ada", [template(1)], NewConsent(), NOW)
    assert len(store.load(MODEL, 4, NOW)[0]) == 1
    store.add("Bea", [template(2)], NewConsent(), NOW)
    monkeypatch.setattr(sealing, "embedding_of", None)
    gallery, consents = store.load(MODEL, 4, NOW)
    assert gallery.identities == set(consents)
    assert len(gallery) == 2
    monkeypatch.undo()
    (ada,) = (c.identity for c in consents.values() if c.name == "Ada")
    store.remove("Ada", NOW)
    monkeypatch.setattr(sealing, "embedding_of", None)
    gallery, _ = store.load(MODEL, 4, NOW)
    assert (len(gallery), ada in gallery.identities) == (1, False)


def test_a_change_that_failed_leaves_the_gallery_as_it_was(store: PeopleStore) -> None:
    store.add("Ada", [template(1)], None, NOW)
    store.load(MODEL, 4, NOW)
    with pytest.raises(ConflictError):
        store.add("Ada", [template(2)] * MAX_TEMPLATES, None, NOW)
    assert len(store.load(MODEL, 4, NOW)[0]) == 1


def test_the_file_is_private(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        PeopleStore(tmp_path / "state" / "people.db").add("Ada", [template(1)], None, NOW)
    finally:
        os.umask(old)
    assert (tmp_path / "state").stat().st_mode & 0o077 == 0
    for path in (tmp_path / "state").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    PeopleStore(path).close()
    path.chmod(0o644)
    PeopleStore(path).close()
    assert path.stat().st_mode & 0o077 == 0


def test_names_that_read_alike_are_one_person(store: PeopleStore) -> None:
    store.add("Zo\u00eb", [template(1)], None, NOW)
    person = store.add("ZOE\u0308", [template(2)], None, NOW)
    assert len(person.templates) == 2


def test_a_store_that_is_in_use_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    store = PeopleStore(path, busy_s=0.01)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked; another program holds it"):
            store.add("Ada", [template(1)], None, NOW)
    assert store.add("Ada", [template(1)], None, NOW).name == "Ada"


def test_a_full_disk_is_one_clear_line_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    store = PeopleStore(path)
    ada = store.add("Ada", [template(1)], NewConsent(), NOW)
    store.close()

    def limit(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA max_page_count = 1")  # SQLite reads it as: no page more than there are

    event.listen(Engine, "connect", limit)
    try:
        full = PeopleStore(path)
        with pytest.raises(StoreError, match="full; free some space") as caught:
            full.add("Bea Secret", [template(i) for i in range(200)], NewConsent(note="form 9"), NOW)
        assert "\n" not in str(caught.value)
        assert "Secret" not in str(caught.value)
        full.close()
    finally:
        event.remove(Engine, "connect", limit)
    again = PeopleStore(path)
    assert again.page("", 10, NOW) == ([ada], False)


@pytest.mark.parametrize("text", ["", "null", "{}", "[1]", '[""]', "[", '"door"'])
def test_a_damaged_consent_never_passes_for_one_that_covers_every_camera(tmp_path: Path, text: str) -> None:
    path = tmp_path / "people.db"
    store = PeopleStore(path)
    store.add("Ada", [template(1)], NewConsent(("door",)), NOW)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE consents SET cameras = ?", (text,))
    with pytest.raises(StoreError, match="damaged"):
        store.load(MODEL, 4, NOW)


def test_a_template_of_the_wrong_size_is_one_clear_line(store: PeopleStore) -> None:
    store.add("Ada", [template(1)], None, NOW)
    with pytest.raises(StoreError, match="damaged"):
        store.load(MODEL, 5, NOW)


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    PeopleStore(path).close()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE meta SET value = 99 WHERE key = 'schema'")
        db.execute("DROP TABLE consents")
    with pytest.raises(StoreError, match="newer Veilcast"):
        PeopleStore(path)
    with closing(sqlite3.connect(path)) as db:
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert "consents" not in tables, "and is left as it was"


def test_a_damaged_store_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    path.write_bytes(b"this is no database, but long enough to be read as one" * 100)
    with pytest.raises(StoreError, match="not a database") as caught:
        PeopleStore(path)
    assert "\n" not in str(caught.value)
