"""`veilcast-hub audit`: check the log, ask it, hand it on, drop what is old. Mounted by `hub.__main__`.

Thin: options in, one reading of the log, lines out. Every answer is checked while it is read; where the log
does not hold, the answer says so on standard error and ends with exit code 1.
"""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from rich.console import Console
from rich.table import Table

from hub.audit.chain import record_of
from hub.audit.errors import AuditError
from hub.audit.export import ExportSource, key_in, named_key, write_export
from hub.audit.files import AuditFiles, lock
from hub.audit.log import AuditLog
from hub.audit.query import ConsentBook, ConsentTerms, Filter, Interval, intervals
from hub.audit.reading import FolderSource, Reading
from hub.audit.seal import public_fingerprint
from hub.audit.times import span, written
from hub.audit.why import Asked, answer
from hub.command_line import EXIT_FAILED, ConfigOption, StateOption, made, one_line_errors, settings_of
from hub.signing import load
from hub.store.alone import reading as reading_people
from protocol.messages import Person

app = typer.Typer(
    help="The log of who was shown when, and who changed what: check it and ask it.", no_args_is_help=True
)
PersonOption = Annotated[str, typer.Option("--person", metavar="NAME", help="Somebody who is enrolled.")]
IdentityOption = Annotated[
    str, typer.Option("--identity", metavar="ID", help="An identity, also one that was erased.")
]
CameraOption = Annotated[str, typer.Option("--camera", metavar="CAMERA", help="One camera only.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]
WHEN = 'As 14:05, 2026-11-21 or "2026-11-21 14:05"; local time unless it says otherwise.'


@app.command()
def verify(
    head: Annotated[
        str, typer.Option(metavar="HASH", help="A head noted elsewhere: it must occur in the log.")
    ] = "",
    export: Annotated[
        Path | None, typer.Option(metavar="FILE", help="An export, instead of this hub's log.")
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option("--key", metavar="FILE", help="The public key whose signatures an export must bear."),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Check every hash and signature; say which records were changed, removed, moved or cut off."""
    with one_line_errors():
        started = time.monotonic()
        if export is not None:
            key = key_in(key_file) if key_file is not None else named_key(export)
            reading = Reading(ExportSource(export, key), key, head.lower())
        else:
            files, key = _log(config, state)
            reading = Reading(FolderSource(files, key), key, head.lower())
        reading.verify()
        _report(reading, key, head, as_json, time.monotonic() - started)
        if export is not None and key_file is None and not as_json:
            typer.echo("the key is the one the export names: compare it with the hub's, or give --key FILE")


@app.command()
def query(
    person: PersonOption = "",
    identity: IdentityOption = "",
    camera: CameraOption = "",
    since: Annotated[str, typer.Option(metavar="WHEN", help=WHEN)] = "",
    until: Annotated[str, typer.Option(metavar="WHEN", help=WHEN)] = "",
    acts: Annotated[bool, typer.Option("--acts", help="What admins did, instead of who was shown.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Who was shown: each reveal from its start to its end. With --json one JSON object a line."""
    with one_line_errors():
        files, key = _log(config, state)
        identity = _identity(files, person, identity)
        begin = span(since, _now())[0] if since else None
        end = span(until, _now())[1] if until else None
        wanted = Filter(identity, camera, begin, end)
        reading = Reading(FolderSource(files, key), key)
        if acts:
            _print_acts(reading, wanted, as_json)
        else:
            _print_reveals(reading, wanted, as_json)
        _warn(reading)


@app.command()
def why(
    camera: Annotated[str, typer.Option("--camera", metavar="CAMERA", help="Where.")],
    at: Annotated[str, typer.Option("--at", metavar="WHEN", help=WHEN)],
    person: PersonOption = "",
    identity: IdentityOption = "",
    as_json: JsonOption = False,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Why was I shown there and then? How similar, how sure, under which consent, which threshold."""
    with one_line_errors():
        files, key = _log(config, state)
        found = _person(files, person) if person else None
        identity = found.identity if found is not None else identity
        if not identity:
            raise AuditError("say who is asked about: --person NAME or --identity ID")
        begin, end = span(at, _now())
        reading = Reading(FolderSource(files, key), key)
        book = ConsentBook(identity)
        of_them = (record_of(line) for line in reading.lines() if identity.encode() in line)
        shown = list(intervals((book.see(record) for record in of_them), Filter(identity, camera)))
        asked = Asked(person or f"identity {identity}", camera, begin, end)
        hits = [i for i in shown if Filter(since=begin, until=end).takes(i)]
        terms = {i.consent: _terms(book, found, i.consent) for i in hits}
        if as_json:
            typer.echo(json.dumps([i.to_json() for i in hits], indent=1))
        else:
            typer.echo(answer(asked, shown, terms))
            if not reading.problems:
                typer.echo(f"The log is intact: {reading.head.count} records, head {reading.head.hash}.")
        _warn(reading)


@app.command()
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")],
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Write the whole log and its signed head to one file (JSON lines) that anyone can check."""
    with one_line_errors():
        files, _ = _log(config, state)
        signer = _signer(files)
        reading = Reading(FolderSource(files, signer.public_key()), signer.public_key())
        count = write_export(file, reading, signer)
        typer.echo(f"wrote {count} records to {file}, head {reading.head.hash}")
        _warn(reading)


@app.command()
def retain(
    days: Annotated[float, typer.Option(min=1.0, help="Keep so many days.")],
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Drop segments that are older, leaving a signed stub. For a stopped hub; see audit.keep_days."""
    with one_line_errors():
        files, _ = _log(config, state)
        log = AuditLog(files.state, _signer(files), time.time())
        try:
            dropped = log.retain(time.time() - days * 86_400.0, time.time())
        finally:
            log.close()
        typer.echo(f"dropped {dropped} records")


@app.command("set-aside")
def set_aside(config: ConfigOption = None, state: StateOption = None) -> None:
    """Move a log that does not hold out of the way; the next start of the hub begins a new one."""
    with one_line_errors():
        files = AuditFiles(made(settings_of(config, state).files).folder)
        aside = files.state / f"audit-set-aside-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        descriptor = lock(files.folder) if files.folder.is_dir() else None
        try:
            aside.mkdir(mode=0o700)
            for path in (files.folder, files.head, files.stub):
                if path.exists():
                    path.rename(aside / path.name)
        except OSError as exc:
            raise AuditError(f"{aside}: cannot be made: {exc.strerror}") from exc
        finally:
            if descriptor is not None:
                os.close(descriptor)
        typer.echo(f"the log is in {aside}; the next start of the hub begins a new one")


# --- what they share ------------------------------------------------------------------------------


def _log(config: Path | None, state: Path | None) -> tuple[AuditFiles, Ed25519PublicKey]:
    files = AuditFiles(made(settings_of(config, state).files).folder)
    return files, _signer(files).public_key()


def _signer(files: AuditFiles) -> Ed25519PrivateKey:
    key = load(files.key)
    if key is None:
        raise AuditError(f"there is no {files.key}: the hub has signed nothing yet; start it once")
    return key


def _now() -> datetime:
    return datetime.now(UTC).astimezone()


def _person(files: AuditFiles, name: str) -> Person:
    store = files.state / "people.db"
    if not store.exists():
        raise AuditError("nobody is enrolled here")
    with reading_people(store, os.environ) as people:
        return people.show(name, time.time())


def _identity(files: AuditFiles, name: str, identity: str) -> str:
    if name and identity:
        raise AuditError("give --person or --identity, not both")
    return _person(files, name).identity if name else identity


def _terms(book: ConsentBook, person: Person | None, consent: str) -> ConsentTerms | None:
    """From the log, or from the store where the log is younger than the consent."""
    found = book.terms(consent)
    if found is None and person is not None:
        for known in person.consents:
            if known.id == consent:
                return ConsentTerms(consent, known.granted_at, "", known.cameras, known.until)
    return found


def _report(reading: Reading, key: Ed25519PublicKey, head: str, as_json: bool, took_s: float) -> None:
    is_lost = bool(head) and not reading.is_wanted_found
    if as_json:
        document = {
            "intact": not (reading.problems or is_lost or reading.unsigned),
            "records": reading.checked, "first": reading.first, "count": reading.head.count,
            "head": reading.head.hash, "head_at": reading.head.at, "key": public_fingerprint(key),
            "problems": [{"record": p.number, "text": p.text} for p in reading.problems],
            "unsigned": reading.unsigned, "torn_bytes": reading.torn_bytes,
            "noted_head_found": reading.is_wanted_found if head else None, "seconds": round(took_s, 3),
        }  # fmt: skip
        typer.echo(json.dumps(document, indent=1))
    else:
        _say(reading, key, head, is_lost)
    if reading.problems or is_lost or reading.unsigned:
        raise typer.Exit(EXIT_FAILED)


def _say(reading: Reading, key: Ed25519PublicKey, head: str, is_lost: bool) -> None:
    for problem in reading.problems:
        typer.echo(str(problem), err=True)
    if reading.unsigned:
        number = reading.head.count + 1
        typer.echo(
            f"record {number}: {reading.unsigned} records from here on are not signed for: added by "
            "somebody, or the hub was killed while it wrote; its next start cuts them off and records that",
            err=True,
        )
    if is_lost:
        typer.echo(f"the log has no head {head}: it was set back, or is another log", err=True)
    if reading.torn_bytes:
        typer.echo(
            f"a line that was cut off ({reading.torn_bytes} bytes) counts for nothing: the hub was killed"
        )
    if reading.stub is not None:
        typer.echo(f"records 1 to {reading.stub.count} were dropped on {written(reading.stub.at)}")
    if not (reading.problems or is_lost or reading.unsigned):
        typer.echo(f"intact: records {reading.first} to {reading.head.count}")
    typer.echo(f"head {reading.head.hash} of {written(reading.head.at)}, key {public_fingerprint(key)}")


def _warn(reading: Reading) -> None:
    if reading.problems:
        typer.echo(f"the log does not hold ({reading.problems[0]}); run: veilcast-hub audit verify", err=True)
        raise typer.Exit(EXIT_FAILED)


def _print_reveals(reading: Reading, wanted: Filter, as_json: bool) -> None:
    records = (record_of(line) for line in reading.lines() if wanted.might_take(line))
    found = intervals(records, wanted)
    if as_json:
        for interval in found:
            typer.echo(json.dumps(interval.to_json()))
        return
    titles = ("start", "end", "camera", "identity", "similarity", "margin", "consent", "gallery", "cause")
    table = Table(*titles, box=None, pad_edge=False)
    for i in sorted(found, key=lambda i: i.start):
        table.add_row(*_cells(i))
    Console(width=None if Console().is_terminal else 200).print(table)


def _cells(i: Interval) -> list[str]:
    return [
        written(i.start), written(i.end) if i.end is not None else "still shown", i.camera, i.identity or "-",
        f"{i.similarity:.3f}", f"{i.margin:.3f}", i.consent or "-", str(i.gallery_version), i.cause,
    ]  # fmt: skip


def _print_acts(reading: Reading, wanted: Filter, as_json: bool) -> None:
    table = Table("time", "by", "what", "result", "identity", "consent", "terms", box=None, pad_edge=False)
    shown = {"kind", "n", "at", "by", "what", "result", "identity", "consent", "act"}
    for line in reading.lines():
        if not wanted.might_take(line):
            continue
        record = record_of(line)
        is_within = (wanted.since is None or record["at"] >= wanted.since) and (
            wanted.until is None or record["at"] < wanted.until
        )
        if record["kind"] != "act" or not is_within:
            continue
        if as_json:
            typer.echo(json.dumps(record))
            continue
        terms = " ".join(f"{name}={value}" for name, value in record.items() if name not in shown)
        ids = (record.get("identity") or "-", record.get("consent") or "-")
        table.add_row(written(record["at"]), record["by"], record["what"], record["result"], *ids, terms)
    if not as_json:
        Console(width=None if Console().is_terminal else 200).print(table)
