"""The command line `veilcast-enroll`: options, order of the work, exit codes.

Thin: what is typed becomes values (`inputs`), the work is done elsewhere (`enroll`, `client`), the words
are in `report`. This is the one place where errors become lines and exit codes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from enrollment import inputs, report
from enrollment.client import HubClient
from enrollment.connection import Connection, TimeLimits
from enrollment.enroll import PersonReport, enroll
from enrollment.errors import EXIT_REFUSED, EnrollmentError, KeyRefusedError
from enrollment.evaluate_command import add_evaluate_command
from enrollment.subjects import add_subject_commands
from enrollment.visitors import visitor_app
from protocol.errors import KeyFileError
from protocol.keys import create_keypair, load_keypair, read_public_key, write_public_key
from protocol.messages import Person
from vision.detections import Detector
from vision.detector import Mtcnn
from vision.errors import ModelError

HELP = """Enrol the people whose faces may be seen, and answer for their consent.

Faces are veiled everywhere unless a person is enrolled here *and* a consent is live for that camera.
"""
EPILOG = """Examples:

  veilcast-enroll add "Ann Lee" ann1.jpg ann2.jpg --consent-until 2027-12-31

  veilcast-enroll add "Ann Lee" ann3.jpg --cameras door,yard --note "form 12, signed on paper"

  veilcast-enroll add-folder people/

  veilcast-enroll list --json

  veilcast-enroll consent withdraw "Ann Lee"

Exit codes: 0 done; 1 refused, or done in part; 2 wrong usage; 3 no hub answers; 4 a key is not accepted.
"""

app = typer.Typer(
    help=HELP, epilog=EPILOG, no_args_is_help=True, rich_markup_mode="markdown",
    pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip
consent_app = typer.Typer(help="Grant, withdraw or look back at a consent.", no_args_is_help=True)
app.add_typer(consent_app, name="consent")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The person's name.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
CamerasOption = Annotated[
    str | None,
    typer.Option("--cameras", metavar="A,B", help="Cameras the consent is for. [default: every camera]"),
]
NoteOption = Annotated[
    str,
    typer.Option("--note", metavar="TEXT", help="Kept with the consent: what it is for, where it is filed."),
]
KeepPhotosOption = Annotated[
    bool, typer.Option("--keep-photos", help="The hub keeps the face crops too, encrypted. [default: no]")
]
_UNTIL = "Last day of the consent, or an ISO 8601 moment. [default: until it is withdrawn]"
UntilOption = Annotated[str | None, typer.Option("--until", metavar="DATE", help=_UNTIL)]
ConsentUntilOption = Annotated[str | None, typer.Option("--consent-until", metavar="DATE", help=_UNTIL)]


def config_dir() -> Path:
    """Where keys are looked for: $XDG_CONFIG_HOME/veilcast, else ~/.config/veilcast."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "veilcast"


@dataclass(frozen=True, slots=True)
class Access:
    """Where the hub is and what opens it."""

    hub: str
    key: Path
    hub_key: Path
    wait_s: float


@app.callback()
def access(
    ctx: typer.Context,
    hub: Annotated[
        str,
        typer.Option("--hub", envvar="VEILCAST_HUB", metavar="ADDRESS", help="Where the hub listens."),
    ] = "tcp://127.0.0.1:5570",
    key: Annotated[
        Path | None,
        typer.Option(
            "--key", envvar="VEILCAST_ADMIN_KEY", metavar="FILE",
            help="Your admin key pair. [default: ~/.config/veilcast/admin.key]",
        ),
    ] = None,
    hub_key: Annotated[
        Path | None,
        typer.Option(
            "--hub-key", envvar="VEILCAST_HUB_KEY", metavar="FILE",
            help="The hub's public key. [default: ~/.config/veilcast/hub.pub]",
        ),
    ] = None,
    wait: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", min=0.1, help="Time for a hub to come up.")
    ] = 5.0,
) -> None:  # fmt: skip
    """Keep what all commands need; nothing is opened before a command asks."""
    ctx.obj = Access(hub, key or config_dir() / "admin.key", hub_key or config_dir() / "hub.pub", wait)


# --- enrolling --------------------------------------------------------------------------------


@app.command()
def add(
    ctx: typer.Context,
    name: NameArgument,
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO", help="JPEG, PNG or WebP files.")],
    consent_until: ConsentUntilOption = None,
    cameras: CamerasOption = None,
    note: NoteOption = "",
    keep_photos: KeepPhotosOption = False,
    as_json: JsonOption = False,
) -> None:
    """Enrol a person from photos and RECORD THEIR CONSENT, until DATE or until it is withdrawn.

    Adds photos where the name is enrolled already; the consent given here then takes the place of the
    one before. Good photos are enrolled, others named with the reason (exit code 1). Run this only for
    people who agreed to be shown.
    """
    with _lines_for_errors(as_json):
        terms = inputs.consent_terms(consent_until, cameras, note, time.time())
        _enroll_all(ctx.obj, [(inputs.person_name(name), photos)], [], terms, keep_photos, as_json)


@app.command("add-folder")
def add_folder(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="DIR/ann_lee/*.jpg becomes Ann Lee.")],
    consent_until: ConsentUntilOption = None,
    cameras: CamerasOption = None,
    note: NoteOption = "",
    keep_photos: KeepPhotosOption = False,
    as_json: JsonOption = False,
) -> None:
    """Enrol one person per folder of DIR and RECORD THE CONSENT OF EACH.

    A folder's name becomes the person's: "_" becomes a space, each word begins with a capital.
    """
    with _lines_for_errors(as_json):
        terms = inputs.consent_terms(consent_until, cameras, note, time.time())
        folders = inputs.person_folders(folder)
        unusable = [
            PersonReport(f.name, problem=f"the folder {f.folder.name}: {f.problem}", problem_code="folder")
            for f in folders
            if f.problem
        ]
        work = [(f.name, list(f.photos)) for f in folders if not f.problem]
        _enroll_all(ctx.obj, work, unusable, terms, keep_photos, as_json)


def _enroll_all(
    access: Access,
    work: list[tuple[str, list[Path]]],
    unusable: list[PersonReport],
    terms: inputs.ConsentTerms,
    keep_photos: bool,
    as_json: bool,
) -> None:
    """Enrol everyone of `work`; report also where the hub is lost half-way. Ends the command."""
    reports = list(unusable)
    failure: Exception | None = None
    try:
        if work:
            _enroll_each(access, work, terms, keep_photos, reports)
    except (EnrollmentError, KeyFileError, ModelError) as exc:
        failure = _as_enrollment_error(exc)
    if as_json:
        document: dict[str, Any] = {"people": report.enrollment_json(reports)}
        report.print_json(document if failure is None else {**document, **_error_part(failure)})
    else:
        for one in reports:
            report.print_enrollment(one, time.time())
    if failure is not None:
        report.print_error(failure)
        raise typer.Exit(_exit_code(failure))
    raise typer.Exit(0 if all(r.complete for r in reports) else EXIT_REFUSED)


def _enroll_each(
    access: Access,
    work: list[tuple[str, list[Path]]],
    terms: inputs.ConsentTerms,
    keep_photos: bool,
    reports: list[PersonReport],
) -> None:
    """Append a report per person: what is done stays reported when a later one fails."""
    # The hub first: whoever cannot reach it should not wait for photos to be examined.
    with _client(access) as hub, _progress(sum(len(files) for _, files in work)) as progress:
        detector: Detector = Mtcnn()
        task = progress.task_ids[0]
        for name, files in work:
            progress.update(task, description=report.plain(name))
            reports.append(
                enroll(name, files, terms, detector, hub, lambda: progress.advance(task), keep_photos)
            )


# --- looking and changing -----------------------------------------------------------------------


@app.command("list")
def list_people(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """Everyone who is enrolled, with the consent that holds now."""
    with _lines_for_errors(as_json):
        with _client(ctx.obj) as hub:
            people = list(hub.people())
        if as_json:
            report.print_json({"people": [report.person_json(p) for p in people]})
        else:
            report.print_people(people, time.time())


@app.command()
def show(ctx: typer.Context, name: NameArgument, as_json: JsonOption = False) -> None:
    """One person: every consent and every template, with where it came from."""
    with _lines_for_errors(as_json):
        with _client(ctx.obj) as hub:
            person = hub.show(inputs.person_name(name))
        if as_json:
            report.print_json({"person": report.person_json(person)})
        else:
            report.print_person(person, time.time())


@consent_app.command()
def grant(
    ctx: typer.Context,
    name: NameArgument,
    until: UntilOption = None,
    cameras: CamerasOption = None,
    note: NoteOption = "",
    as_json: JsonOption = False,
) -> None:
    """Record a consent; it replaces the one that holds now."""
    with _lines_for_errors(as_json):
        terms = inputs.consent_terms(until, cameras, note, time.time())
        with _client(ctx.obj) as hub:
            person = hub.grant(inputs.person_name(name), terms)
        _print_changed(person, as_json)


@consent_app.command()
def withdraw(ctx: typer.Context, name: NameArgument, as_json: JsonOption = False) -> None:
    """End the consent: nodes veil the face at once. The person stays enrolled."""
    with _lines_for_errors(as_json):
        with _client(ctx.obj) as hub:
            person = hub.withdraw(inputs.person_name(name))
        _print_changed(person, as_json)


def _print_changed(person: Person, as_json: bool) -> None:
    if as_json:
        report.print_json({"person": report.person_json(person)})
    else:
        line = report.consent_line(person, time.time())
        report.console().print(f"{report.plain(person.name)}: {line}")


@app.command("make-key")
def make_key(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="How the hub names you.")] = "admin",
    folder: Annotated[
        Path | None,
        typer.Option("--into", metavar="DIR", help="[default: ~/.config/veilcast]"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make an admin key pair here (admin.key, NAME.admin.pub); the hub's owner lets the public half in."""
    with _lines_for_errors(as_json):
        into = folder or config_dir()
        secret, public = into / "admin.key", into / f"{name}.admin.pub"
        write_public_key(public, create_keypair(secret, name, "admin"))
        if as_json:
            report.print_json({"key": str(secret), "public_key": str(public)})
        else:
            report.console().print(
                f"Your key pair is {secret}: keep it here.\n"
                f"At the hub, let {public.name} in: veilcast-hub keys add {public.name}"
            )


# --- what all commands share --------------------------------------------------------------------


def _client(access: Access) -> HubClient:
    """A client with the keys of the options. Raises KeyRefusedError."""
    try:
        keys = load_keypair(access.key)
    except KeyFileError as exc:
        text = f"{exc} (--key or VEILCAST_ADMIN_KEY; veilcast-enroll make-key makes one)"
        raise KeyRefusedError(text) from exc
    if keys.role != "admin":
        raise KeyRefusedError(f"{access.key} holds a key of role {keys.role}: an admin's is needed here")
    try:
        hub_key = read_public_key(access.hub_key)
    except KeyFileError as exc:
        text = f"{exc} (--hub-key or VEILCAST_HUB_KEY; the hub's owner has it)"
        raise KeyRefusedError(text) from exc
    if hub_key.role != "hub":
        raise KeyRefusedError(
            f"{access.hub_key} holds a key of role {hub_key.role}: the hub's is needed here"
        )
    limits = TimeLimits(connect_s=access.wait_s)
    return HubClient(Connection(access.hub, keys, hub_key.public, limits))


@contextmanager
def _hub_for(ctx: typer.Context, as_json: bool) -> Iterator[HubClient]:
    """A connected client for the commands that are mounted from elsewhere."""
    with _lines_for_errors(as_json), _client(ctx.obj) as hub:
        yield hub


app.add_typer(visitor_app(_hub_for), name="visitor")
add_subject_commands(app, consent_app, _hub_for)


@contextmanager
def _progress(total: int) -> Iterator[Progress]:
    """A bar with one task, on standard error, where that is a terminal."""
    screen = report.console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    bar = Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal)
    bar.add_task("", total=total)
    with bar:
        yield bar


add_evaluate_command(app, _hub_for, _progress)


@contextmanager
def _lines_for_errors(as_json: bool) -> Iterator[None]:
    try:
        yield
    except (EnrollmentError, KeyFileError, ModelError) as exc:
        error = _as_enrollment_error(exc)
        if as_json:
            report.print_json(_error_part(error))
        report.print_error(error)
        raise typer.Exit(_exit_code(error)) from exc


def _as_enrollment_error(error: Exception) -> Exception:
    return KeyRefusedError(str(error)) if isinstance(error, KeyFileError) else error


def _exit_code(error: Exception) -> int:
    return error.exit_code if isinstance(error, EnrollmentError) else EXIT_REFUSED


def _error_part(error: Exception) -> dict[str, Any]:
    return {"error": report.error_json(error)}
