"""What people and programs get to see: lines and tables on a terminal, one JSON document for --json.

Owns words and formats, decides nothing. Results go to standard output; progress, refusals and errors to
standard error. Everything that came from files or over the wire is stripped of control characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from enrollment.enroll import PersonReport
from enrollment.errors import EnrollmentError
from protocol.messages import Consent, Person

PIPED_WIDTH = 200
"""Columns where the output is no terminal: rows stay whole for grep."""


def console(stderr: bool = False) -> Console:
    """A console whose tables are not cut when piped."""
    screen = Console(stderr=stderr, highlight=False, emoji=False, markup=False, soft_wrap=True)
    if not screen.is_terminal:
        screen.width = PIPED_WIDTH
    return screen


def plain(text: str) -> str:
    """Text that cannot steer a terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def print_json(document: dict[str, Any]) -> None:
    """One JSON document on standard output."""
    text = msgspec.json.format(msgspec.json.encode(document), indent=2).decode()
    console().print(Text(text), soft_wrap=True)


# --- consents ---------------------------------------------------------------------------------


def live_consent(person: Person, now: float) -> Consent | None:
    """The consent that holds at `now` (UTC epoch seconds): the latest granted one, or None."""
    live = [c for c in person.consents if c.withdrawn_at is None and (c.until is None or c.until > now)]
    return max(live, key=lambda c: c.granted_at, default=None)


def consent_words(consent: Consent) -> str:
    """`until 2027-12-31 23:59, on door, yard`."""
    until = "until withdrawn" if consent.until is None else f"until {_local(consent.until)}"
    cameras = ", ".join(consent.cameras) if consent.cameras else "every camera"
    return plain(f"{until}, on {cameras}")


def consent_line(person: Person, now: float) -> str:
    """What the hub has recorded, as a sentence to read after a change."""
    consent = live_consent(person, now) if person.consented else None
    if consent is None:
        name = plain(person.name)
        return f'no consent is live, so the face stays veiled: veilcast-enroll consent grant "{name}"'
    return f"consent recorded, {consent_words(consent)}"


# --- for people -------------------------------------------------------------------------------


def print_enrollment(report: PersonReport, now: float) -> None:
    """One line for what was enrolled, one for each photo that was refused."""
    name = plain(report.name)
    errors = console(stderr=True)
    for photo in report.refused:
        reason = photo.refused
        errors.print(f"{name}: {plain(photo.file)} refused ({reason.reason}): {plain(reason.text)}")
    if report.problem:
        errors.print(f"{name}: {plain(report.problem)}")
    if report.person is not None:
        count = _photos(len(report.enrolled))
        console().print(f"{name}: {count} enrolled; {consent_line(report.person, now)}")


def print_people(people: Sequence[Person], now: float) -> None:
    """The table of `list`."""
    if not people:
        console().print("Nobody is enrolled.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("Name", "Consent", "Photos", "Since"):
        table.add_column(title, overflow="fold")
    for person in people:
        consent = live_consent(person, now) if person.consented else None
        words = "none: veiled" if consent is None else consent_words(consent)
        cells = (plain(person.name), words, str(len(person.templates)), _local(person.added_at))
        table.add_row(*(Text(cell) for cell in cells))
    console().print(table, soft_wrap=False)


def print_person(person: Person, now: float) -> None:
    """The pages of `show`."""
    out = console()
    out.print(Text(plain(person.name), style="bold"))
    out.print(f"identity {plain(person.identity)}, since {_local(person.added_at)}")
    out.print(consent_line(person, now))
    consents = Table("Consent", "Granted", "Withdrawn", "Note", title="Consents", title_justify="left")
    for c in person.consents:
        withdrawn = "" if c.withdrawn_at is None else _local(c.withdrawn_at)
        cells = (consent_words(c), _local(c.granted_at), withdrawn, plain(c.note))
        consents.add_row(*(Text(cell) for cell in cells))
    out.print(consents, soft_wrap=False)
    photos = Table("Photo", "Quality", "Added", "Model", title="Templates", title_justify="left")
    for t in person.templates:
        cells = (plain(t.source), f"{t.quality:.2f}", _local(t.added_at), plain(t.model_id))
        photos.add_row(*(Text(cell) for cell in cells))
    out.print(photos, soft_wrap=False)


def print_history(person: Person, now: float) -> None:
    """The table of `consent history`, oldest first."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("Granted", "Terms", "Ended", "Note"):
        table.add_column(title, overflow="fold")
    for consent in sorted(person.consents, key=lambda c: c.granted_at):
        cells = (
            _local(consent.granted_at),
            consent_words(consent),
            _ended(consent, now),
            plain(consent.note),
        )
        table.add_row(*(Text(cell) for cell in cells))
    console().print(table, soft_wrap=False)


def _ended(consent: Consent, now: float) -> str:
    """When and how a consent ended; `holds` where it has not."""
    until, withdrawn = consent.until, consent.withdrawn_at
    if withdrawn is not None and (until is None or withdrawn < until):
        return f"withdrawn or replaced {_local(withdrawn)}"
    return "holds" if until is None or now < until else f"expired {_local(until)}"


def print_error(error: EnrollmentError | Exception) -> None:
    """The one line of an error, on standard error."""
    console(stderr=True).print(f"veilcast-enroll: {plain(str(error))}")


# --- for programs -----------------------------------------------------------------------------


def person_json(person: Person) -> dict[str, Any]:
    """A person; times in ISO 8601, UTC."""
    return {
        "name": person.name,
        "identity": person.identity,
        "added_at": _iso(person.added_at),
        "consented": person.consented,
        "consents": [
            {
                "id": c.id,
                "granted_at": _iso(c.granted_at),
                "until": _iso(c.until),
                "withdrawn_at": _iso(c.withdrawn_at),
                "cameras": list(c.cameras),
                "note": c.note,
            }
            for c in person.consents
        ],
        "templates": [
            {
                "source": t.source,
                "quality": round(t.quality, 4),
                "model_id": t.model_id,
                "added_at": _iso(t.added_at),
                "photo_kept": t.photo_kept,
            }
            for t in person.templates
        ],
    }


def enrollment_json(reports: Iterable[PersonReport]) -> list[dict[str, Any]]:
    """What became of each person's photos."""
    return [
        {
            "name": r.name,
            "enrolled": list(r.enrolled),
            "refused": [
                {"file": p.file, "reason": p.refused.reason.value, "text": p.refused.text} for p in r.refused
            ],
            "problem": {"code": r.problem_code, "text": r.problem} if r.problem else None,
            "person": None if r.person is None else person_json(r.person),
        }
        for r in reports
    ]


def error_json(error: Exception) -> dict[str, Any]:
    """An error that ended the command."""
    code = error.code if isinstance(error, EnrollmentError) else EnrollmentError.code
    document = {"code": code, "text": str(error)}
    refusal_code = getattr(error, "refusal_code", None)
    return document if refusal_code is None else {**document, "refusal": refusal_code}


def _photos(count: int) -> str:
    return "1 photo" if count == 1 else f"{count} photos"


def _local(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).astimezone().strftime("%Y-%m-%d %H:%M")


def _iso(epoch_s: float | None) -> str | None:
    if epoch_s is None:
        return None
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="seconds")
