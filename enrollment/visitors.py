"""The commands `veilcast-enroll visitor ...`: enrol somebody by letting them walk past a camera.

Owns their options and words; how the hub is reached and how errors become lines is `enrollment.cli`'s, which
mounts `visitor_app(session)`. Nothing about a visitor's face ever comes here: only when and how often.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from enrollment import inputs, report
from enrollment.client import HubClient
from enrollment.errors import InputError
from protocol.keys import NAME_PATTERN
from protocol.limits import MAX_GROUPING_S
from protocol.messages import Visitors

OpenHub = Callable[[typer.Context, bool], AbstractContextManager[HubClient]]
"""(context, as_json) -> a connected client, under which errors become lines and exit codes."""

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
MAX_MINUTES = MAX_GROUPING_S / 60


def visitor_app(open_hub: OpenHub) -> typer.Typer:
    """The group of commands."""
    app = typer.Typer(
        help="Enrol a visitor by letting them walk past a camera, which shows nobody meanwhile.",
        no_args_is_help=True,
    )

    @app.command()
    def start(
        ctx: typer.Context,
        camera: Annotated[str, typer.Option("--camera", metavar="NODE", help="Where they will walk past.")],
        minutes: Annotated[
            float,
            typer.Option("--minutes", min=0.1, max=MAX_MINUTES, help="Everyone is forgotten after this."),
        ] = 5.0,
        as_json: JsonOption = False,
    ) -> None:
        """Group unknown faces at a camera, in the hub's memory, for some minutes.

        That camera shows nobody until the time is over or `visitor stop`, and its page says so.
        """
        with open_hub(ctx, as_json) as hub:
            if not NAME_PATTERN.fullmatch(camera):
                raise InputError(f"{camera!r} is no camera name: give a node's name like door")
            _print(hub.start_visitors(camera, minutes * 60), as_json)

    @app.command("list")
    def list_visitors(ctx: typer.Context, as_json: JsonOption = False) -> None:
        """Who walked past: a number for each, when and how often they were seen."""
        with open_hub(ctx, as_json) as hub:
            _print(hub.visitors(), as_json)

    @app.command()
    def enrol(
        ctx: typer.Context,
        visitor: Annotated[int, typer.Argument(metavar="ID", min=1, help="From visitor list.")],
        name: Annotated[str, typer.Argument(metavar="NAME", help="The person's name.")],
        consent_until: Annotated[
            str | None,
            typer.Option(
                "--consent-until",
                metavar="DATE",
                help="Last day of the consent, or an ISO 8601 moment. [default: until it is withdrawn]",
            ),
        ] = None,
        cameras: Annotated[
            str | None,
            typer.Option(
                "--cameras", metavar="A,B", help="Cameras the consent is for. [default: every camera]"
            ),
        ] = None,
        note: Annotated[str, typer.Option("--note", metavar="TEXT", help="Kept with the consent.")] = "",
        as_json: JsonOption = False,
    ) -> None:
        """Enrol a visitor under a name and RECORD THEIR CONSENT. Ask them first."""
        with open_hub(ctx, as_json) as hub:
            terms = inputs.consent_terms(consent_until, cameras, note, time.time())
            person = hub.enrol_visitor(visitor, inputs.person_name(name), terms)
            if as_json:
                report.print_json({"person": report.person_json(person)})
            else:
                line = report.consent_line(person, time.time())
                report.console().print(f"{report.plain(person.name)}: enrolled; {line}")

    @app.command()
    def stop(ctx: typer.Context, as_json: JsonOption = False) -> None:
        """Forget every visitor now; the camera shows people again."""
        with open_hub(ctx, as_json) as hub:
            _print(hub.stop_visitors(), as_json)

    return app


def _print(answer: Visitors, as_json: bool) -> None:
    if as_json:
        report.print_json(_json(answer))
        return
    out = report.console()
    if not answer.camera:
        out.print("No visitors are grouped, and none are kept.")
        return
    out.print(
        f"Visitors at {report.plain(answer.camera)} are grouped for {_duration(answer.left_s)} more; "
        "that camera shows nobody meanwhile."
    )
    if not answer.visitors:
        out.print("Nobody unknown has walked past yet.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("Id", "First seen", "Last seen", "Looks", "Quality", "Ready"):
        table.add_column(title)
    for v in answer.visitors:
        ready = "yes" if v.ready else "no: more looks from the front are needed"
        ago = (f"{_duration(s)} ago" for s in (v.first_seen_s, v.last_seen_s))
        table.add_row(*(Text(c) for c in (str(v.id), *ago, str(v.looks), f"{v.quality:.2f}", ready)))
    out.print(table, soft_wrap=False)


def _json(answer: Visitors) -> dict[str, Any]:
    return {
        "camera": answer.camera or None,
        "left_s": round(answer.left_s, 1),
        "visitors": [
            {
                "id": v.id,
                "looks": v.looks,
                "quality": round(v.quality, 3),
                "first_seen_s": round(v.first_seen_s, 1),
                "last_seen_s": round(v.last_seen_s, 1),
                "ready": v.ready,
            }
            for v in answer.visitors
        ],
    }


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
