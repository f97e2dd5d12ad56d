"""`veilcast-hub`: make a hub, say who may connect, run it. Also `python -m hub`.

Thin: every command reads its settings, does one thing, and turns what a person can meet into one line
and an exit code. The hub itself is built in hub/service.py.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from hub import model_commands, people_commands, user_commands
from hub.audit.commands import app as audit_app
from hub.command_line import ConfigOption, StateOption, made, one_line_errors, settings_of
from hub.config import HubSettings, StateFiles
from hub.interpreter import answer_soon
from hub.service import open_hub
from hub.signing import load_or_create, public_bytes
from hub.vault import key_source
from hub.web.site import Site
from protocol.errors import KeyFileError
from protocol.keys import (
    KeyPair,
    Peer,
    PublicKey,
    allowed_file,
    create_keypair,
    load_keypair,
    read_public_key,
    scan_public_keys,
    write_public_key,
)
from protocol.messages import Role
from protocol.new_file import write_new

log = logging.getLogger("hub")

HELP = "The hub: face crops in, decisions out. Only keys that were let in can talk to it."
EPILOG = """Examples:

  veilcast-hub init

  veilcast-hub keys make-node door var/door

  veilcast-hub keys add ann.pub

  veilcast-hub run --config deploy/hub.toml

  veilcast-hub users add ann --role operator

  veilcast-hub backup people.backup

Exit codes: 0 done; 1 it cannot go on, and one line says why; 2 wrong usage.
"""

app = typer.Typer(
    name="veilcast-hub",
    help=HELP,
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
keys_app = typer.Typer(help="Who may connect.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")
app.add_typer(audit_app, name="audit")
app.add_typer(model_commands.app, name="models")
app.add_typer(user_commands.app, name="users")
people_commands.mount(app)

FolderArgument = Annotated[Path, typer.Argument(metavar="OUTDIR", help="Folder for the files.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Of the node or person.")]


@app.command()
def run(
    config: ConfigOption = None,
    state: StateOption = None,
    listen: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="tcp://ADDRESS:PORT, instead of the settings' one."),
    ] = None,
    web: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT|off", help="Where the pages are served, instead of the settings."),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="A line of counters each second that has any.")
    ] = False,
) -> None:
    """Serve until Ctrl-C. Prints one line when it is ready, and where the pages are."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname).1s hub %(message)s",
        datefmt="%H:%M:%S",
    )
    for noisy in ("asyncio", "zmq.auth"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    with one_line_errors():
        asyncio.run(_serve(settings_of(config, state, listen).with_web(web)))


@app.command()
def init(config: ConfigOption = None, state: StateOption = None) -> None:
    """Make the state folder and the hub's key; print the public key. Changes nothing that is there."""
    with one_line_errors():
        files = settings_of(config, state).files
        keys, is_new = _make_state(files)
        if not files.people.exists():
            key_source(files.folder, os.environ).take_or_create()
        typer.echo(f"{'made' if is_new else 'kept'} {files.folder}")
        typer.echo(f"public key {keys.public.decode()} in {files.public_key}")


@keys_app.command()
def add(
    file: Annotated[Path, typer.Argument(metavar="FILE.pub", help="A node's or admin's public key.")],
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Let a public key in. A hub that runs notices within a second."""
    with one_line_errors():
        files = made(settings_of(config, state).files)
        _authorize(files, read_public_key(file))


@keys_app.command("list")
def list_keys(config: ConfigOption = None, state: StateOption = None) -> None:
    """Who is let in: role and name, one a line."""
    with one_line_errors():
        peers, problems = scan_public_keys(made(settings_of(config, state).files).allow_list)
        for peer in sorted(peers.values(), key=lambda p: (p.role, p.name)):
            typer.echo(f"{peer.role}\t{peer.name}")
        if problems:
            raise KeyFileError(problems[0])


@keys_app.command()
def remove(
    name: NameArgument,
    admin: Annotated[bool, typer.Option("--admin", help="An admin's key, not a node's.")] = False,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Shut a key out. A hub that runs ends its session within a second; the node then veils everyone."""
    with one_line_errors():
        files = made(settings_of(config, state).files)
        peer = Peer(name, "admin" if admin else "node")
        path = allowed_file(files.allow_list, peer)
        try:
            path.unlink()
        except FileNotFoundError as exc:
            text = f"no {peer.role} {name} is let in; veilcast-hub keys list shows who is"
            raise KeyFileError(text) from exc
        except OSError as exc:
            raise KeyFileError(f"{path}: cannot be removed: {exc.strerror}") from exc
        typer.echo(f"removed {peer.role} {name}")


@keys_app.command("make-node")
def make_node(
    name: NameArgument,
    outdir: FolderArgument,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Make a node's key, let it in, and write what the node needs: node.key, hub.pub and sign.pub."""
    with one_line_errors():
        _make_client(made(settings_of(config, state).files), name, "node", outdir)


@keys_app.command("make-admin")
def make_admin(
    name: NameArgument,
    outdir: FolderArgument,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Make a key for someone who enrols people, let it in, and write admin.key and hub.pub."""
    with one_line_errors():
        _make_client(made(settings_of(config, state).files), name, "admin", outdir)


def main() -> None:
    """Entry point of `veilcast-hub`."""
    app()


def _make_state(files: StateFiles) -> tuple[KeyPair, bool]:
    """The hub's key, made with its folder where there is none; whether it was made."""
    if files.key.exists():
        keys, is_new = load_keypair(files.key), False
    else:
        keys, is_new = create_keypair(files.key, "hub", "hub"), True
    if not files.public_key.exists():
        write_public_key(files.public_key, keys)
    try:
        files.allow_list.mkdir(mode=0o700, exist_ok=True)
    except OSError as exc:
        raise KeyFileError(f"{files.allow_list}: cannot be made: {exc.strerror}") from exc
    return keys, is_new


def _authorize(files: StateFiles, key: PublicKey) -> None:
    if key.role == "hub":
        raise KeyFileError("this is a hub's key; nodes and admins are let in, hubs are not")
    role: Role = key.role
    peers, _ = scan_public_keys(files.allow_list)
    known = peers.get(key.public)
    if known is not None:
        raise KeyFileError(f"this key is let in already, as {known.role} {known.name}")
    write_public_key(allowed_file(files.allow_list, Peer(key.name, role)), key)
    typer.echo(f"let in {key.role} {key.name}")


def _make_client(files: StateFiles, name: str, role: Role, outdir: Path) -> None:
    secret, hub_public = outdir / f"{role}.key", outdir / "hub.pub"
    if allowed_file(files.allow_list, Peer(name, role)).exists():
        raise KeyFileError(f"{role} {name} has a key already; remove that first")
    hub = read_public_key(files.public_key)
    keys = create_keypair(secret, name, role)
    if hub_public.exists():
        if read_public_key(hub_public).public != hub.public:
            raise KeyFileError(f"{hub_public} is the key of another hub; remove it first")
    else:
        write_public_key(hub_public, hub)
    if role == "node":
        _write_signer(outdir / "sign.pub", files)
    _authorize(files, PublicKey(name, role, keys.public))
    beside = f", {hub_public} and {outdir / 'sign.pub'}" if role == "node" else f" and {hub_public}"
    typer.echo(f"wrote {secret}{beside}: these belong on the {role}'s machine")


def _write_signer(path: Path, files: StateFiles) -> None:
    """With which a node checks the tickets of viewers."""
    public = base64.b64encode(public_bytes(load_or_create(files.signing_key)))
    try:
        if not path.exists():
            write_new(path, public + b"\n", 0o644)
        elif path.read_bytes().strip() != public:
            raise KeyFileError(f"{path} is the key of another hub; remove it first")
    except OSError as exc:
        raise KeyFileError(f"{path}: cannot be written: {exc.strerror}") from exc


async def _serve(settings: HubSettings) -> None:
    """Run a hub until SIGINT or SIGTERM."""
    keys, _ = _make_state(settings.files)
    task = asyncio.current_task()
    assert task is not None, "runs inside asyncio.run"
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    hub = open_hub(settings, keys)
    site: Site | None = None
    try:
        await hub.start()
        if settings.web.enabled:
            site = Site(settings, hub)
            await site.start()
        answer_soon()
        typer.echo(f"hub ready on {hub.address} {hub.summary}")
        if site is None:
            await hub.run()
        else:
            for line in site.words(is_terminal=sys.stdout.isatty()):
                typer.echo(line)
            await asyncio.gather(hub.run(), site.run())
    except asyncio.CancelledError:
        log.info("stopping")
    finally:
        if site is not None:
            await site.stop()
        await hub.stop()


if __name__ == "__main__":
    main()
