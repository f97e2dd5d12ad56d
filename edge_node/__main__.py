"""`veilcast-node`: the command line of a node. Also `python -m edge_node`."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import signal
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from edge_node.bench import measure
from edge_node.bench_report import show
from edge_node.capture.listing import everything
from edge_node.config import NodeSettings
from edge_node.errors import NodeError
from edge_node.memory import map_frames, share_arenas
from edge_node.node import Node
from edge_node.privacy.veil import WEAK_STYLES, Style
from protocol.errors import KeyFileError, SettingsError
from protocol.settings import load_settings
from vision.errors import VisionError

app = typer.Typer(
    name="veilcast-node",
    help="A camera in, an anonymized stream out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def root() -> None:
    """A camera in, an anonymized stream out."""


@app.command(
    epilog="Examples: veilcast-node run --config deploy/node.toml · "
    "veilcast-node run --source clip.mp4 --once --record out.mkv"
)
def run(
    config: Annotated[Path | None, typer.Option(help="Settings file (see deploy/node.toml).")] = None,
    source: Annotated[str | None, typer.Option(help="demo, a camera number, a file, rtsp://…")] = None,
    once: Annotated[bool, typer.Option("--once", help="Stream a file once, then exit.")] = False,
    record: Annotated[Path | None, typer.Option(help="Record what leaves: a .mkv file or a folder.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the live page.")] = None,
    style: Annotated[Style | None, typer.Option(help="How faces are painted.")] = None,
    allow_weak: Annotated[
        bool,
        typer.Option("--allow-weak", help="Accept --style pixelate or blur: an attacker can undo them."),
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Counters each second.")] = False,
) -> None:
    """Stream until Ctrl-C."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO, stream=sys.stderr,
        format="%(asctime)s %(levelname).1s node %(message)s", datefmt="%H:%M:%S",
    )  # fmt: skip
    for noisy in ("asyncio", "aiohttp.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        settings = load_settings(config, NodeSettings) if config else NodeSettings()
        settings = _with_options(settings, source, once, record, port)
        settings = _with_style(settings, style, allow_weak)
        share_arenas()
        map_frames()
        asyncio.run(_stream(settings))
    except (NodeError, VisionError, KeyFileError, SettingsError) as exc:
        typer.echo(f"veilcast-node: {exc}", err=True)
        raise typer.Exit(1) from exc
    except Exception as exc:
        if verbose:
            raise
        # A mistake of ours: its text could hold anything, so only its kind is told.
        typer.echo(f"veilcast-node: internal error ({type(exc).__name__}); --verbose shows more", err=True)
        raise typer.Exit(70) from exc


@app.command(epilog="Examples: veilcast-node sources · veilcast-node sources --json")
def sources(
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list instead of lines.")] = False,
) -> None:
    """List what this machine can take pictures from, with the line for node.toml."""
    found = everything()
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(one) for one in found]))
        return
    for one in found:
        typer.echo(one.name)
        typer.echo(f'  [source] spec = "{one.spec}"')
        for line in (*one.formats, *([one.note] if one.note else [])):
            typer.echo(f"  {line}")


@app.command(epilog="Examples: veilcast-node bench · veilcast-node bench --json")
def bench(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Measure this machine for less than a minute and recommend settings."""
    try:
        report = measure(lambda words: typer.echo(f"measuring {words} …", err=True))
    except (NodeError, VisionError, OSError) as exc:
        typer.echo(f"veilcast-node: {exc}", err=True)
        raise typer.Exit(1) from exc
    except KeyboardInterrupt:
        typer.echo("veilcast-node: stopped, nothing was measured to the end", err=True)
        raise typer.Exit(130) from None
    if as_json:
        typer.echo(json.dumps(report.as_json()))
    else:
        show(report, Console())
    if report.best is None:
        raise typer.Exit(1)


def _with_options(
    settings: NodeSettings, source: str | None, once: bool, record: Path | None, port: int | None
) -> NodeSettings:
    """The command line's words stand above the file's."""
    replace = msgspec.structs.replace
    if source is not None:
        settings = replace(settings, source=replace(settings.source, spec=source))
    if once:
        settings = replace(settings, source=replace(settings.source, once=True))
    if record is not None:
        settings = replace(settings, record=replace(settings.record, path=str(record)))
    if port is not None:
        settings = replace(settings, web=replace(settings.web, port=port))
    return settings


def _with_style(settings: NodeSettings, style: Style | None, allow_weak: bool) -> NodeSettings:
    """Raises SettingsError for a weak style that is not asked for twice."""
    veil = settings.veil
    allow_weak = allow_weak or veil.allow_weak
    if style is not None and style in WEAK_STYLES and not allow_weak:
        raise SettingsError(
            f"the style {style} can be undone by an attacker: choose veil or solid, or add --allow-weak"
        )
    name = veil.style if style is None else style.value
    replaced = msgspec.structs.replace(veil, style=name, allow_weak=allow_weak)
    return msgspec.structs.replace(settings, veil=replaced)


async def _stream(settings: NodeSettings) -> None:
    """Run a node until SIGINT, SIGTERM or the end of a source that is streamed once."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(Node(settings, loop).run())
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        logging.getLogger(__name__).info("stopped")


def main() -> None:
    """Entry point of `veilcast-node`."""
    app()


if __name__ == "__main__":
    main()
