"""A backup is whole or refused, changes nothing where it is refused, and does not bring back the erased."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.backup import AnyRecord, BackupError, Cost, Ended, Head, Identity, read_backup, write_backup
from hub.store.errors import ConflictError, StoreError
from hub.store.people import NewConsent, NewTemplate, PeopleStore
from hub.store.transfer import Mode, Restored, records_of, restore

NOW = 1_700_000_000.0
WORDS = "correct horse battery staple"
CHEAP = Cost(log2_n=4)


def template(seed: int = 0, photo: bytes | None = None) -> NewTemplate:
    row = np.random.default_rng(seed).normal(size=4).astype(np.float32)
    return NewTemplate(row / np.linalg.norm(row), "test-4", f"holiday-{seed}.jpg", 0.9, photo)


def written(records: Iterable[AnyRecord]) -> bytes:
    file = io.BytesIO()
    write_backup(file, records, WORDS, CHEAP)
    return file.getvalue()


def read(data: bytes, words: str = WORDS) -> list[AnyRecord]:
    return list(read_backup(io.BytesIO(data), words))


def store_in(folder: Path) -> PeopleStore:
    return PeopleStore(folder / "people.db")


def bring(store: PeopleStore, data: bytes, mode: Mode = "empty", **options: object) -> Restored:
    return restore(store, read_backup(io.BytesIO(data), WORDS), mode, NOW + 9, **options)  # type: ignore[arg-type]


@pytest.fixture
def full(tmp_path: Path) -> PeopleStore:
    """Ada with a photo, Bea withdrawn, both with two templates."""
    store = store_in(tmp_path / "one")
    store.add("Ada", [template(1, b"picture" * 99), template(2)], NewConsent(("door",), None, "form 17"), NOW)
    store.add("Bea", [template(3), template(4)], NewConsent(), NOW)
    store.withdraw("Bea", NOW + 1)
    return store


def people(store: PeopleStore) -> list[object]:
    return list(store.page("", 50, NOW + 2)[0])


# --- the file ---------------------------------------------------------------------------------

HEAD = Head(made_at=NOW, version=3, people=0)
MANY: list[AnyRecord] = [HEAD] + [
    Ended(id=f"{n:016x}", kind="identity", at=NOW, receipt="x" * 900) for n in range(200)
]


@pytest.mark.parametrize("count", [1, 2, 60, 70, 71, 201])
def test_what_is_written_is_read(count: int) -> None:
    assert read(written(MANY[:count])) == MANY[:count]


def test_nothing_is_readable_without_the_passphrase() -> None:
    data = written([HEAD, Identity(id="a1", name="Ada Lovelace", added_at=NOW, key=bytes(range(32)))])
    assert b"Lovelace" not in data
    assert bytes(range(32)) not in data
    for words in ("correct horse battery stable", "", WORDS + " "):
        with pytest.raises(BackupError, match="passphrase is wrong"):
            read(data, words)


def test_a_passphrase_reads_the_same_however_its_accents_are_typed() -> None:
    file = io.BytesIO()
    write_backup(file, [HEAD], "zwölf schöne Wörter", CHEAP)
    assert read(file.getvalue(), "zwo\u0308lf scho\u0308ne Wo\u0308rter") == [HEAD]


def test_a_short_passphrase_is_refused() -> None:
    with pytest.raises(BackupError, match="12 characters"):
        write_backup(io.BytesIO(), [HEAD], "too short", CHEAP)


DATA = written(MANY)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
def test_no_changed_byte_is_read_as_whole(at: int, change: int) -> None:
    changed = bytearray(DATA)
    changed[at] ^= change
    if at == len(b"VEILCAST BACKUP 1\n") + 16:  # the cost: some values would take minutes
        changed[at] = 60
    with pytest.raises(BackupError):
        read(bytes(changed))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(DATA) - 1))
def test_no_cut_is_read_as_whole(length: int) -> None:
    with pytest.raises(BackupError):
        read(DATA[:length])


def frames(data: bytes) -> tuple[bytes, list[bytes]]:
    """The header and the frames of a file."""
    header, rest = data[: 18 + 26], data[18 + 26 :]
    parts = []
    while rest:
        size = 4 + struct.unpack(">I", rest[:4])[0]
        parts.append(rest[:size])
        rest = rest[size:]
    return header, parts


def test_frames_cannot_be_cut_off_moved_repeated_or_taken_from_another_backup() -> None:
    header, parts = frames(DATA)
    assert len(parts) > 2
    _, others = frames(written(MANY))
    for changed in (
        parts[:-1],
        parts[1:],
        parts[::-1],
        [*parts, parts[-1]],
        [parts[0], parts[0], *parts[1:]],
        [others[0], *parts[1:]],
        [],
    ):
        with pytest.raises(BackupError):
            read(header + b"".join(changed))


@pytest.mark.parametrize("data", [b"", b"VEILCAST BACKUP 1\n", b"PK\x03\x04" * 100, DATA[:44]])
def test_what_is_no_backup_is_one_line(data: bytes) -> None:
    with pytest.raises(BackupError) as caught:
        read(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cost", [(0, 8, 1), (40, 8, 1), (24, 8, 1), (4, 0, 1), (4, 255, 200), (21, 8, 1)])
def test_a_file_cannot_ask_for_all_memory(cost: tuple[int, int, int]) -> None:
    data = DATA[:34] + bytes(cost) + DATA[37:]
    with pytest.raises(BackupError, match="head"):
        read(data)


def test_records_out_of_order_are_refused() -> None:
    for records in ([], [*MANY[1:]], [HEAD, HEAD]):
        with pytest.raises(BackupError, match="order"):
            read(written(records))


# --- restoring --------------------------------------------------------------------------------


def test_another_hub_has_everyone_as_they_were(full: PeopleStore, tmp_path: Path) -> None:
    other = store_in(tmp_path / "two")
    done = bring(other, written(records_of(full, NOW + 5)))
    assert (done.people, done.kept, done.left_out, done.made_at) == (2, 0, 0, NOW + 5)
    assert people(other) == people(full)
    ada = other.show("Ada", NOW)
    assert other.photos(ada.identity) == {0: b"picture" * 99}
    mine, theirs = other.load("test-4", 4, NOW + 2), full.load("test-4", 4, NOW + 2)
    probe = template(2).embedding[None]
    assert mine[0].identify(probe) == theirs[0].identify(probe)
    assert set(mine[1]) == set(theirs[1]) == {ada.identity}
    assert mine[0].version > theirs[0].version
    assert other.vault.id != full.vault.id


def test_a_backup_of_nobody_is_one(tmp_path: Path) -> None:
    empty = store_in(tmp_path / "one")
    assert bring(store_in(tmp_path / "two"), written(records_of(empty, NOW))).people == 0


def test_people_are_not_mixed_unasked(full: PeopleStore) -> None:
    before = people(full)
    data = written(records_of(full, NOW))
    with pytest.raises(ConflictError, match="--merge"):
        bring(full, data)
    assert people(full) == before


def test_merging_keeps_who_is_here(full: PeopleStore, tmp_path: Path) -> None:
    other = store_in(tmp_path / "two")
    other.add("ADA", [template(9)], None, NOW)
    other.add("Cleo", [template(8)], None, NOW)
    done = bring(other, written(records_of(full, NOW)), "merge")
    assert (done.people, done.kept) == (1, 1)
    assert [p.name for p in other.page("", 9, NOW)[0]] == ["ADA", "Bea", "Cleo"]
    assert len(other.show("Ada", NOW).templates) == 1
    again = bring(other, written(records_of(full, NOW)), "merge")
    assert (again.people, again.kept) == (0, 2)


def test_replacing_takes_out_who_is_here(full: PeopleStore, tmp_path: Path) -> None:
    other = store_in(tmp_path / "two")
    other.add("Cleo", [template(8)], None, NOW)
    assert bring(other, written(records_of(full, NOW)), "replace").people == 2
    assert people(other) == people(full)


@pytest.mark.parametrize("mode", ["merge", "replace"])
def test_the_erased_stay_erased(full: PeopleStore, mode: Mode) -> None:
    data = written(records_of(full, NOW))
    full.remove("Ada", NOW + 3)
    done = bring(full, data, mode)
    assert done.left_out == 1
    assert [p.name for p in full.page("", 9, NOW)[0]] == ["Bea"]


def test_an_erasure_travels_with_a_later_backup_and_with_a_receipt(full: PeopleStore, tmp_path: Path) -> None:
    old = written(records_of(full, NOW))
    ada = full.remove("Ada", NOW + 3).person.identity
    other = store_in(tmp_path / "two")
    bring(other, written(records_of(full, NOW + 4)))
    assert bring(other, old, "replace").left_out == 1
    third = store_in(tmp_path / "three")
    assert bring(third, old, erased=[(ada, "signed")]).left_out == 1
    assert third.receipt(ada) == "signed"
    assert bring(third, old, "replace").left_out == 1, "also without the receipt from now on"
    fourth = store_in(tmp_path / "four")
    bring(fourth, old)
    assert bring(fourth, written(records_of(full, NOW + 4)), "merge").still_here == 1


def test_a_consent_that_was_withdrawn_stays_so(full: PeopleStore) -> None:
    data = written(records_of(full, NOW))
    full.withdraw("Ada", NOW + 3)
    bring(full, data, "replace")
    assert full.show("Ada", NOW + 4).consents[0].withdrawn_at == NOW + 3
    assert full.load("test-4", 4, NOW + 4)[1] == {}
    full.remove("Bea", NOW + 5)
    bring(full, data, "replace")
    assert full.load("test-4", 4, NOW + 4)[1] == {}, "also after a second time"


def test_consents_can_all_be_ended(full: PeopleStore, tmp_path: Path) -> None:
    other = store_in(tmp_path / "two")
    bring(other, written(records_of(full, NOW)), end_consents=True)
    assert other.load("test-4", 4, NOW)[1] == {}
    assert other.show("Ada", NOW).consents[0].note == "form 17"


def test_what_is_cut_edited_or_locked_changes_nothing(full: PeopleStore, tmp_path: Path) -> None:
    photos = [template(seed, bytes(100_000)) for seed in range(20, 24)]
    full.add("Zoe", photos, None, NOW)
    data = written(records_of(full, NOW))
    other = store_in(tmp_path / "two")
    other.add("Cleo", [template(8)], NewConsent(), NOW)
    before, version = people(other), other.load("test-4", 4, NOW)[0].version
    edited = bytearray(data)
    edited[-70_000] ^= 1
    for bad in (data[:-1], data[:-70_000], bytes(edited), data + b"x", b""):
        for mode in ("merge", "replace"):
            with pytest.raises(BackupError):
                bring(other, bad, mode)  # type: ignore[arg-type]
    with pytest.raises(BackupError):
        restore(other, read_backup(io.BytesIO(data), "another passphrase"), "replace", NOW)
    assert people(other) == before
    assert other.load("test-4", 4, NOW)[0].version == version


def test_rows_that_do_not_open_or_belong_to_nobody_change_nothing(full: PeopleStore, tmp_path: Path) -> None:
    records = list(records_of(full, NOW))
    other = store_in(tmp_path / "two")
    foreign = [r for r in records if not isinstance(r, Identity)]
    swapped = [
        Identity(id=r.id, name=r.name, added_at=r.added_at, key=bytes(32)) if isinstance(r, Identity) else r
        for r in records
    ]
    for bad in (foreign, swapped):
        with pytest.raises((BackupError, StoreError)):
            bring(other, written(bad))
    assert people(other) == []
