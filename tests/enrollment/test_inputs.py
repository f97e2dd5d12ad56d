"""What people type: names, dates, cameras, folders."""

from __future__ import annotations

import contextlib
from datetime import datetime
from pathlib import Path

import pytest

from enrollment.errors import InputError
from enrollment.inputs import (
    consent_terms,
    folder_name,
    parse_cameras,
    parse_until,
    person_folders,
    person_name,
)

NOW = datetime(2027, 3, 1, 12, 0).timestamp()


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("lin_manuel_miranda", "Lin Manuel Miranda"),
        ("Ann Lee", "Ann Lee"),
        ("Abdullah_al-Attiyah", "Abdullah Al-Attiyah"),
        ("mary__McDonald_", "Mary McDonald"),
        ("éva_ö", "Éva Ö"),
    ],
)
def test_a_folder_names_a_person(folder: str, name: str) -> None:
    assert folder_name(Path("/people") / folder) == name


def test_names_are_kept_in_one_spelling() -> None:
    assert person_name("  Ann \t Lee ") == "Ann Lee"
    assert person_name("E\u0301va") == "\u00c9va"


@pytest.mark.parametrize("name", ["", "   ", "x" * 129, "Ann\x1b[2J", "Ann\u202eLee"])
def test_names_that_cannot_be_are_refused(name: str) -> None:
    with pytest.raises(InputError):
        person_name(name)


def test_a_date_holds_until_its_last_second() -> None:
    assert parse_until("2027-03-01", NOW) == datetime(2027, 3, 1, 23, 59, 59).timestamp()


def test_a_moment_is_taken_as_it_is() -> None:
    assert parse_until("2027-03-01T18:00", NOW) == datetime(2027, 3, 1, 18).timestamp()
    assert parse_until("2027-06-01T00:00:00+02:00", NOW) == 1811800800.0


@pytest.mark.parametrize(
    "text", ["", "tomorrow", "2027-13-01", "31.12.2027", "2027-02-28", "2027-03-01T11:00"]
)
def test_dates_that_are_none_or_over_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_until(text, NOW)


def test_the_last_day_of_all_is_no_crash() -> None:
    with contextlib.suppress(InputError):  # where the local time zone cannot express it
        assert parse_until("9999-12-31", NOW) <= 253_402_300_799.0


def test_cameras_are_a_list_of_node_names() -> None:
    assert parse_cameras("door, yard,door") == ("door", "yard")


@pytest.mark.parametrize(
    "text", ["", "door,", "front door", "door;yard", ",".join(f"c{i}" for i in range(257))]
)
def test_camera_lists_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_cameras(text)


def test_terms_default_to_every_camera_until_withdrawn() -> None:
    terms = consent_terms(None, None, "", NOW)
    assert (terms.until, terms.cameras) == (None, ())


def test_a_note_has_a_limit() -> None:
    with pytest.raises(InputError, match="512"):
        consent_terms(None, None, "x" * 513, NOW)


def test_a_folder_of_people(tmp_path: Path) -> None:
    for name in ("bo/2.JPG", "bo/1.png", "bo/notes.txt", "bo/.hidden.jpg", "empty/Thumbs.db", ".git/x.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "loose.jpg").write_bytes(b"x")
    bo, empty = person_folders(tmp_path)
    assert (bo.name, [p.name for p in bo.photos], bo.problem) == ("Bo", ["1.png", "2.JPG"], "")
    assert empty.name == "Empty"
    assert "no photos" in empty.problem


def test_two_folders_of_one_name_are_not_mixed(tmp_path: Path) -> None:
    for name in ("Ann Lee", "ann_lee"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").write_bytes(b"x")
    first, second = person_folders(tmp_path)
    assert (first.problem, second.photos) == ("", ())
    assert "same name as the folder Ann Lee" in second.problem


def test_a_folder_without_a_name_is_reported(tmp_path: Path) -> None:
    (tmp_path / "___").mkdir()
    (only,) = person_folders(tmp_path)
    assert "name" in only.problem


def test_no_folders_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="each person's photos"):
        person_folders(tmp_path)
    with pytest.raises(InputError, match="No such file"):
        person_folders(tmp_path / "missing")
