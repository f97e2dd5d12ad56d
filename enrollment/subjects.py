"""What a person may ask for, as commands: to be forgotten with a receipt, everything kept, the consents.

Owns the options and words of `remove`, `export` and `consent history`; how the hub is reached and how errors
become lines is `enrollment.cli`'s, which mounts them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

import typer

from enrollment import inputs, report
from enrollment.client import HubClient
from enrollment.errors import EnrollmentError, HubRefusalError, InputError
from protocol.new_file import write_new

OpenHub = Callable[[typer.Context, bool], AbstractContextManager[HubClient]]
"""(context, as_json) -> a connected client, under which errors become lines and exit codes."""

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The person's name.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


def add_subject_commands(app: typer.Typer, consent_app: typer.Typer, open_hub: OpenHub) -> None:
    """Mount the commands on the program's and on its group `consent`."""

    @app.command()
    def remove(
        ctx: typer.Context,
        name: NameArgument,
        yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
        receipt: Annotated[
            Path | None, typer.Option("--receipt", metavar="FILE", help="Write the signed receipt there.")
        ] = None,
        as_json: JsonOption = False,
    ) -> None:
        """Erase a person for good: the key of all that is kept of them, templates, photos and consents.

        Nodes veil the face at once. The hub then looks whether the face is unknown, and signs a receipt.
        """
        with open_hub(ctx, as_json) as hub:
            _check_new(receipt)
            _remove(hub, inputs.person_name(name), yes, receipt, as_json)

    @app.command()
    def export(
        ctx: typer.Context,
        name: NameArgument,
        out: Annotated[
            Path | None,
            typer.Option("--out", metavar="FILE", help="Write it there (mode 0600). [default: print it]"),
        ] = None,
        as_json: JsonOption = False,
    ) -> None:
        """All that is kept about a person, as one JSON document: for them, when they ask.

        Where their templates come from, kept photos, every consent, and when which camera showed them.
        """
        with open_hub(ctx, as_json) as hub:
            _check_new(out)
            name = inputs.person_name(name)
            document = hub.export(name)
            if out is None:
                report.print_json(document)
                return
            write_private(out, document)
            if as_json:
                report.print_json({"exported": name, "file": str(out)})
            else:
                report.console().print(f"{report.plain(name)}: exported to {report.plain(str(out))}")

    @consent_app.command()
    def history(ctx: typer.Context, name: NameArgument, as_json: JsonOption = False) -> None:
        """Every consent that was ever given, oldest first: when, for which cameras, why it ended."""
        with open_hub(ctx, as_json) as hub:
            person = hub.show(inputs.person_name(name))
            if as_json:
                report.print_json({"name": person.name, "consents": report.person_json(person)["consents"]})
            else:
                report.print_history(person, time.time())


def _remove(hub: HubClient, name: str, yes: bool, receipt: Path | None, as_json: bool) -> None:
    person = hub.show(name)
    shown = report.plain(person.name)
    if not yes:
        question = f"Erase {shown}, templates and consents, for good?"
        if not typer.confirm(question, err=True):
            raise EnrollmentError("nothing was removed")
    hub.remove(name)
    try:
        proof = hub.receipt(person.identity)
    except HubRefusalError as exc:
        raise EnrollmentError(f"{shown} was removed, but the hub gives no receipt: {exc}") from exc
    if receipt is not None:
        write_private(receipt, proof)
    if as_json:
        report.print_json({"removed": person.name, "identity": person.identity, "receipt": proof})
    else:
        report.console().print(f"{shown}: removed")
        if receipt is None:
            report.print_json(proof)
        else:
            report.console().print(f"receipt in {report.plain(str(receipt))}")
    problem = _problem(proof)
    if problem:
        raise EnrollmentError(f"{shown} was removed, but {problem}")


def _problem(proof: dict[str, Any]) -> str:
    """What a receipt says that somebody must look after; empty where nothing."""
    body = proof.get("receipt")
    if not isinstance(body, dict) or body.get("is_unknown") is True:
        return ""
    check = body.get("check")
    if not isinstance(check, dict):
        return "the hub could not look whether the face is unknown now: look at its log"
    if check.get("found_as_another"):
        return "the face is taken for another enrolled person: is somebody enrolled twice?"
    return "the hub still finds something: look at the receipt, restart the hub and look again"


def _check_new(path: Path | None) -> None:
    """Before anything is done, so that what was done is not lost for want of a file."""
    if path is not None and path.exists():
        raise InputError(f"{path} exists already and is not overwritten: give another name")
    if path is not None and not path.absolute().parent.is_dir():
        raise InputError(f"{path}: there is no such folder")


def write_private(path: Path, document: dict[str, Any]) -> None:
    """Write a new JSON file with mode 0600, whole or not at all. Raises InputError."""
    try:
        write_new(path, f"{json.dumps(document, indent=2)}\n".encode())
    except FileExistsError as exc:
        raise InputError(f"{path} exists already and is not overwritten: give another name") from exc
    except OSError as exc:
        raise InputError(f"{path}: cannot be written: {exc.strerror}") from exc
