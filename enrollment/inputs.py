"""What people type, turned into values: names, dates, camera lists, folders of photos.

Touches the file system only to list folders. Called by the command line.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import datetime, time
from pathlib import Path

from enrollment.errors import InputError
from protocol.keys import NAME_PATTERN
from protocol.limits import MAX_CAMERAS, MAX_EPOCH_S, MAX_NAME_CHARS, MAX_TEXT_CHARS

PHOTO_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp",
    ".bmp", ".gif", ".tif", ".tiff", ".heic", ".heif", ".avif",
)  # fmt: skip
"""Files that are meant as photos. Those of the second line are refused later, with a reason; a file with
any other suffix (notes, Thumbs.db) is not a photo and is passed over."""


@dataclass(frozen=True, slots=True)
class ConsentTerms:
    """What a person agreed to."""

    until: float | None
    """UTC epoch seconds; None: until withdrawn."""
    cameras: tuple[str, ...] = ()
    """Node names; empty: every camera."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class PersonFolder:
    """A folder of photos and the person it stands for."""

    name: str
    folder: Path
    photos: tuple[Path, ...]
    problem: str = ""
    """Why the folder cannot be used at all; empty where it can."""


def person_name(text: str) -> str:
    """A name as it is kept: Unicode NFC, single spaces. Raises InputError for one that cannot be."""
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not name:
        raise InputError("a name is needed, and this one is empty")
    if len(name) > MAX_NAME_CHARS:
        raise InputError(f"a name has at most {MAX_NAME_CHARS} characters, this one {len(name)}")
    if not name.isprintable():
        raise InputError("a name holds letters only, no control or unreadable characters")
    return name


def folder_name(folder: Path) -> str:
    """`lin_manuel_miranda` -> `Lin Manuel Miranda`: "_" becomes a space, each word a capital first."""
    words = folder.name.replace("_", " ").split()
    return person_name(" ".join(word[0].upper() + word[1:] for word in words))


def consent_terms(until: str | None, cameras: str | None, note: str, now: float) -> ConsentTerms:
    """The terms of a consent from the options of a command. now: UTC epoch. Raises InputError."""
    if len(note) > MAX_TEXT_CHARS:
        raise InputError(f"a note has at most {MAX_TEXT_CHARS} characters, this one {len(note)}")
    return ConsentTerms(
        until=None if until is None else parse_until(until, now),
        cameras=() if cameras is None else parse_cameras(cameras),
        note=note,
    )


def parse_until(text: str, now: float) -> float:
    """UTC epoch seconds of a date (its last second, local time) or of an ISO 8601 date and time.

    Raises InputError for anything else and for a moment that is over.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
        if len(text.strip()) <= len("2026-12-31"):
            moment = datetime.combine(moment.date(), time(23, 59, 59))
        until = moment.timestamp()
    except (ValueError, OverflowError, OSError) as exc:
        raise InputError(f"{text!r} is no date: write 2027-12-31 or 2027-12-31T18:00") from exc
    if until <= now:
        raise InputError(f"{text!r} lies in the past: a consent ends in the future")
    return min(until, MAX_EPOCH_S)


def parse_cameras(text: str) -> tuple[str, ...]:
    """Node names of `door,yard`, each once, in the order given. Raises InputError."""
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    for name in names:
        if not NAME_PATTERN.fullmatch(name):
            raise InputError(f"{name!r} is no camera name: give node names like door,yard")
    if len(names) > MAX_CAMERAS:
        raise InputError(f"at most {MAX_CAMERAS} cameras; leave --cameras out for all of them")
    return names


def person_folders(root: Path) -> tuple[PersonFolder, ...]:
    """The folders of `root`, one per person, in order of their names; hidden ones are passed over.

    A folder that cannot be used is in the result with its problem. Raises InputError where root is no
    readable folder or holds no folders.
    """
    try:
        folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    except OSError as exc:
        raise InputError(f"cannot read the folder {root}: {exc.strerror}") from exc
    if not folders:
        raise InputError(f"no folders in {root}: put each person's photos into {root}/NAME/")
    found: list[PersonFolder] = []
    taken: dict[str, str] = {}
    for folder in folders:
        person = _person_folder(folder)
        other = taken.setdefault(person.name.casefold(), folder.name)
        if other != folder.name:
            problem = f"gives the same name as the folder {other}: put the photos into one"
            person = PersonFolder(person.name, folder, (), problem)
        found.append(person)
    return tuple(found)


def _person_folder(folder: Path) -> PersonFolder:
    try:
        name = folder_name(folder)
        photos = tuple(sorted(p for p in folder.iterdir() if _looks_like_photo(p)))
    except InputError as exc:
        return PersonFolder(folder.name, folder, (), str(exc))
    except OSError as exc:
        return PersonFolder(name, folder, (), f"cannot be read: {exc.strerror}")
    problem = "" if photos else "no photos in it: JPEG, PNG or WebP files are needed"
    return PersonFolder(name, folder, photos, problem)


def _looks_like_photo(path: Path) -> bool:
    return path.suffix.lower() in PHOTO_SUFFIXES and not path.name.startswith(".") and path.is_file()
