"""`veilcast-hub models`: which recognition models there are, and getting, checking and handing on one.

Thin: options in, one call of `hub.models`, lines out. Mounted by `hub.__main__`.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from hub import models
from hub.command_line import EXIT_FAILED, one_line_errors
from hub.download import Progress as Progressed
from hub.embedding import vggface2
from hub.embedding.agreement import BARS, agreement, faces_in
from hub.embedding.vggface2_graph import Precision
from hub.embedding.vggface2_layers import MODEL_ID
from vision.errors import ModelError

app = typer.Typer(help="Recognition models: what there is, and getting one.", no_args_is_help=True)

ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="As `models list` names it.")]
AcceptOption = Annotated[
    bool,
    typer.Option("--accept-license", "--accept-licence", help="Accept the terms without being asked."),
]
DigestOption = Annotated[
    str | None,
    typer.Option(
        "--sha256", metavar="HEX", help="The file must have this digest, whatever was noted before."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON value instead of a table.")]


@app.command("list")
def list_models(as_json: JsonOption = False) -> None:
    """What can be used, its license, digest and threshold, and where that was measured."""
    with one_line_errors():
        known = models.known_models()
        if as_json:
            typer.echo(json.dumps([asdict(model) for model in known], indent=1))
            return
        table = Table("model", "state", "license", "sha256", "threshold", "margin", box=None, pad_edge=False)
        for m in known:
            numbers = ["" if n is None else f"{n:.3f}" for n in (m.threshold, m.margin)]
            table.add_row(m.name, m.state, m.licence, m.digest[:12], *numbers)
        console = Console()
        console.print(table, soft_wrap=False)
        for m in known:
            if m.measured:
                console.print(f"\n{m.name}: {m.measured}", markup=False, highlight=False)


@app.command()
def fetch(
    model: ModelArgument = MODEL_ID,
    accept: AcceptOption = False,
    sha256: DigestOption = None,
    url: Annotated[
        str, typer.Option("--url", metavar="URL", help="Of a mirror, instead of the published address.")
    ] = "",
    ca_file: Annotated[
        Path | None, typer.Option("--ca-file", metavar="FILE", help="Certificates to trust, for a mirror.")
    ] = None,
) -> None:
    """Download and install a model. A download that was cut is continued by the next call."""
    with one_line_errors():
        _need_designated(model)
        _need_acceptance(accept)
        context = _context(ca_file)
        with _bars() as (progress, step):
            models.fetch(progress, step, url, sha256, context)
        _say_installed()


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A published weight file (.h5).")],
    accept: AcceptOption = False,
    sha256: DigestOption = None,
) -> None:
    """Install a model from a file, for a machine without internet."""
    with one_line_errors():
        if not file.is_file():
            raise ModelError(f"there is no file {file}")
        _need_acceptance(accept)
        with _bars() as (_, step):
            models.import_file(file, step, sha256)
        _say_installed()


@app.command()
def verify(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="One model; all installed ones without.")
    ] = None,
    faces: Annotated[
        Path | None,
        typer.Option(
            "--faces", metavar="DIR", help="Photos: measure how well the precisions agree on their faces."
        ),
    ] = None,
) -> None:
    """Compare the files of a model with the digests that were written down."""
    with one_line_errors():
        names = [model] if model else [m.name for m in models.known_models() if m.is_installed]
        for name in names:
            for line in models.check_files(name):
                typer.echo(f"{name}: {line}")
        if faces is not None:
            _report_agreement(faces)


@app.command()
def export(
    model: ModelArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The ONNX file to write.")],
    precision: Annotated[Precision, typer.Option(help="Which graph.")] = "fp32",
) -> None:
    """Write a model's ONNX graph to a file."""
    with one_line_errors():
        digest = models.export(model, precision, file)
        typer.echo(f"wrote {file}, sha256 {digest}")
        if model == MODEL_ID:
            typer.echo(f"its license goes with it: {vggface2.LICENCE}")


def _need_designated(model: str) -> None:
    if model != MODEL_ID:
        raise ModelError(f"only {MODEL_ID} is fetched; {model} comes with pip or does not exist")


def _need_acceptance(accepted: bool) -> None:
    """The license, on the terminal; a person says yes. Raises ModelError."""
    typer.echo(models.LICENCE_TEXT)
    if accepted:
        return
    try:
        answer = typer.prompt("Type yes to accept", default="no")
    except typer.Abort as exc:
        raise ModelError(
            "the license was not accepted; nothing was changed (--accept-license accepts it)"
        ) from exc
    if answer.strip().lower() != "yes":
        raise ModelError("the license was not accepted; nothing was changed")


def _context(ca_file: Path | None) -> ssl.SSLContext | None:
    if ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except OSError as exc:
        raise ModelError(f"{ca_file} holds no certificates: {exc}") from exc


@contextmanager
def _bars() -> Iterator[tuple[Progressed, models.FetchStep]]:
    """A bar for bytes and a line for each step after them."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task("fetching", total=None, visible=False)

        def progress(done: int, total: int | None) -> None:
            bars.update(task, completed=done, total=total, visible=True)

        yield progress, lambda text: bars.console.print(text, highlight=False)


def _say_installed() -> None:
    record = vggface2.read_record()
    typer.echo(f"{MODEL_ID} is installed in {vggface2.graph_file('fp32').parent}")
    typer.echo(f"made from {record.source}, sha256 {record.source_sha256}")
    typer.echo("people who were enrolled with another model must be enrolled again")


def _report_agreement(folder: Path) -> None:
    if vggface2.installed_weights() is None:
        raise ModelError(f"{MODEL_ID} is not installed; the other models have one precision")
    crops = faces_in(folder)
    found = agreement(crops)
    for precision, cosine in found.items():
        typer.echo(f"{MODEL_ID} {precision}: cosine {cosine:.5f} on {len(crops)} faces")
    weak = [p for p, cosine in found.items() if cosine < BARS[p]]
    if weak:
        typer.echo(f"veilcast-hub: do not use {', '.join(weak)}: below {BARS[weak[0]]}", err=True)
        raise typer.Exit(EXIT_FAILED)
