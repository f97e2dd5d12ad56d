"""`veilcast-hub users`: who may open the hub's pages. Works beside a running hub.

Thin: options and words; users are kept by `hub.web.users`. Nobody needs another's password: a one-time link
is printed, by which it is set.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from hub.command_line import ConfigOption, StateOption, made, one_line_errors, settings_of
from hub.config import HubSettings
from hub.errors import HubError
from hub.secret_files import read_secret
from hub.store.errors import StoreError
from hub.web.access import Role, User
from hub.web.passwords import Passwords, check_new
from hub.web.users import LINK_S, Account, UserStore

BY = "console"
"""Who did it, in the audit log: somebody who may run commands on the hub."""
EPILOG = """Examples:

  veilcast-hub users add ann --role operator

  veilcast-hub users add lobby --role viewer --camera door --camera hall

  veilcast-hub users reset-link ann

  veilcast-hub users list
"""

app = typer.Typer(help="Who may open the hub's pages.", no_args_is_help=True, epilog=EPILOG)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Of the user.")]
RoleOption = Annotated[Role, typer.Option("--role", help="What the user may do; see docs/users.md.")]
CameraOption = Annotated[
    list[str] | None,
    typer.Option("--camera", metavar="NODE", help="A camera that a viewer may watch; again for more."),
]
AllOption = Annotated[bool, typer.Option("--all-cameras", help="A viewer may watch every camera.")]
NamesOption = Annotated[
    bool, typer.Option("--names", help="A viewer may see the names of people who are shown.")
]


@app.command("list", epilog="Example: veilcast-hub users list")
def list_users(config: ConfigOption = None, state: StateOption = None) -> None:
    """Everybody: name, role, cameras, and whether a password was set. One a line."""
    with one_line_errors():
        store = _open(settings_of(config, state))
        try:
            for account in store.all():
                typer.echo("\t".join(_row(account)))
        finally:
            store.close()


@app.command(epilog="Example: veilcast-hub users add lobby --role viewer --camera door")
def add(
    name: NameArgument,
    role: RoleOption,
    camera: CameraOption = None,
    all_cameras: AllOption = False,
    names: NamesOption = False,
    password_file: Annotated[
        Path | None,
        typer.Option(
            "--password-file", metavar="FILE", help="Its first line (mode 0600), in place of a link."
        ),
    ] = None,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Make a user and print the one-time link by which the user sets the password."""
    with one_line_errors():
        settings = settings_of(config, state)
        user = _user(name, role, camera or [], all_cameras, names)
        store = _open(settings)
        try:
            password = None if password_file is None else _hashed(name, password_file)
            store.add(user, password, BY, time.time())
            typer.echo(f"added {role} {name}")
            if password is None:
                _print_link(store, settings, name)
        finally:
            store.close()


@app.command(epilog="Example: veilcast-hub users remove ann")
def remove(name: NameArgument, config: ConfigOption = None, state: StateOption = None) -> None:
    """Remove a user and end all sessions. A picture goes on until its ticket ends (web.ticket_s)."""
    with one_line_errors():
        store = _open(settings_of(config, state))
        try:
            store.remove(name, BY, time.time())
            typer.echo(f"removed {name}")
        finally:
            store.close()


@app.command("set-role", epilog="Example: veilcast-hub users set-role ann --role admin")
def set_role(
    name: NameArgument,
    role: RoleOption,
    camera: CameraOption = None,
    all_cameras: AllOption = False,
    names: NamesOption = False,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Change what a user may do, from the next request on. Cameras and --names are set anew as well."""
    with one_line_errors():
        user = _user(name, role, camera or [], all_cameras, names)
        store = _open(settings_of(config, state))
        try:
            store.set_role(user, BY, time.time())
            typer.echo(f"{name} is {role} now")
        finally:
            store.close()


@app.command("reset-link", epilog="Example: veilcast-hub users reset-link ann")
def reset_link(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Of the user; nobody: the first admin.")
    ] = None,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Print a one-time link by which a user sets a new password; older links are void.

    Without NAME, and only while there is no admin who can sign in: the link that makes the first one.
    The old password holds until the link is used, which ends all sessions. A link works however many
    wrong passwords were tried.
    """
    with one_line_errors():
        settings = settings_of(config, state)
        store = _open(settings)
        try:
            _print_link(store, settings, name)
        finally:
            store.close()


def _open(settings: HubSettings) -> UserStore:
    return UserStore(made(settings.files).folder)


def _hashed(name: str, file: Path) -> str:
    data = read_secret(file)
    if data is None:
        raise HubError(f"{file}: there is no such file")
    try:
        lines = data.decode().splitlines()
    except UnicodeDecodeError as exc:
        raise HubError(f"{file}: a password is text in UTF-8") from exc
    password = lines[0] if lines else ""
    check_new(name, password)
    return Passwords().hash(password)


def _user(name: str, role: Role, cameras: list[str], all_cameras: bool, names: bool) -> User:
    """Raises HubError where it is not clear what a viewer may watch."""
    if role is not Role.VIEWER:
        if cameras or all_cameras or names:
            raise HubError(f"an {role} sees all cameras and names: --camera and --names are for viewers")
        return User(name, role)
    if bool(cameras) == all_cameras:
        raise HubError("say what the viewer may watch: --camera NODE (again for more), or --all-cameras")
    return User(name, role, None if all_cameras else frozenset(cameras), names)


def _row(account: Account) -> tuple[str, ...]:
    user = account.user
    cameras = "all cameras" if user.cameras is None else ",".join(sorted(user.cameras)) or "no camera"
    names = "names" if user.sees_names else "no names"
    return user.name, user.role.value, cameras, names, "" if account.password else "no password yet"


def _print_link(store: UserStore, settings: HubSettings, name: str | None) -> None:
    try:
        code = store.new_link(name, BY, time.time())
    except StoreError as exc:
        raise HubError(str(exc)) from exc
    page = "first" if name is None else "reset"
    typer.echo(f"open once, within {LINK_S / 60:.0f} minutes: {_url(store, settings)}{page}?code={code}")


def _url(store: UserStore, settings: HubSettings) -> str:
    """Where the hub serves its pages, or will."""
    web = settings.web
    host = f"[{web.host}]" if ":" in web.host else web.host
    return store.url or f"{'https' if web.tls else 'http'}://{host or 'localhost'}:{web.port}/"
