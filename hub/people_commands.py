"""Commands of `veilcast-hub` about kept people: backup and restore, the vault key, receipts of erasure.

Owns options and words; the work is in `hub.backup`, `hub.store.transfer`, `hub.vault` and `hub.receipts`.
Mounted by `hub.__main__`.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from hub.audit.log import AuditLog, new_run
from hub.backup import MIN_PASSPHRASE_CHARS, AnyRecord, BackupError, Head, Identity, read_backup, write_backup
from hub.command_line import ConfigOption, StateOption, made, one_line_errors, settings_of
from hub.config import StateFiles
from hub.errors import HubError
from hub.receipts import MAX_RECEIPT_CHARS, ReceiptError, verify_receipt
from hub.secret_files import SecretFileError, read_secret, sync_folder
from hub.signing import fingerprint, load, load_or_create, public_bytes
from hub.store.alone import OwnedStore, reading
from hub.store.transfer import Mode, Restored, records_of, restore
from hub.vault import GivenKey, key_source, write_key_file

vault_app = typer.Typer(help="The key that opens what is kept about people.", no_args_is_help=True)
receipt_app = typer.Typer(help="Signed receipts of erasure.", no_args_is_help=True)

FileArgument = Annotated[Path, typer.Argument(metavar="FILE")]
PassphraseOption = Annotated[
    Path | None,
    typer.Option("--passphrase-file", metavar="FILE", help="Its first line (mode 0600). [default: ask]"),
]


def mount(app: typer.Typer) -> None:
    """Add the commands of this module to the program's."""
    app.command("backup")(make_backup)
    app.command("restore")(restore_backup)
    app.add_typer(vault_app, name="vault")
    app.add_typer(receipt_app, name="receipt")


# --- backup -----------------------------------------------------------------------------------


def make_backup(
    file: FileArgument,
    passphrase_file: PassphraseOption = None,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Write everyone who is enrolled, with consents and photos, to FILE, encrypted with a passphrase.

    A running hub goes on meanwhile. Any hub can restore it; without the passphrase nobody can. The keys
    of hub, nodes and admins are not in it.
    """
    with one_line_errors():
        files = made(settings_of(config, state).files)
        _check_new(file)
        passphrase = _passphrase(passphrase_file, is_new=True)
        with reading(files.people, os.environ) as store, _progress() as progress:
            people = _write_new(
                file,
                lambda path: _write_checked(path, records_of(store, time.time()), passphrase, progress),
            )
        typer.echo(f"{_people(people)} in {file}; it opens with the passphrase alone: keep the two apart")


def _write_checked(path: Path, records: Iterable[AnyRecord], passphrase: str, progress: Progress) -> int:
    """Write a backup and read it again; how many people are in it."""
    people = 0

    def counted() -> Iterator[AnyRecord]:
        nonlocal people
        task = progress.add_task("writing", total=None)
        for record in records:
            if isinstance(record, Head):
                progress.update(task, total=record.people)
            elif isinstance(record, Identity):
                people += 1
                progress.advance(task)
            yield record

    with path.open("wb") as out:
        write_backup(out, counted(), passphrase)
        out.flush()
        os.fsync(out.fileno())
    with path.open("rb") as back:
        task = progress.add_task("checking", total=path.stat().st_size)
        found = sum(
            isinstance(record, Identity)
            for record in read_backup(back, passphrase, partial(_advance, progress, task))
        )
    if found != people:
        raise BackupError("the backup does not hold what was written: look after the disk")
    return people


def restore_backup(
    file: FileArgument,
    merge: Annotated[bool, typer.Option("--merge", help="Add people who are not enrolled here.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take out everyone who is enrolled here first.")
    ] = False,
    receipts: Annotated[
        list[Path] | None,
        typer.Option("--receipt", metavar="FILE", help="Leave out whom this receipt says was erased."),
    ] = None,
    signed_by: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help="Public key of the hub that signed it.")
    ] = None,
    end_consents: Annotated[
        bool, typer.Option("--end-consents", help="Nobody is shown before a new consent.")
    ] = False,
    passphrase_file: PassphraseOption = None,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Bring back the people of a backup, of this or another hub. All of it or nothing.

    Whoever was erased here stays erased, and what was withdrawn here stays withdrawn. Withdrawals that
    only another hub knows are not known here: think of --end-consents. The hub must not run.
    """
    with one_line_errors():
        if merge and replace:
            raise HubError("--merge or --replace, not both")
        mode: Mode = "merge" if merge else "replace" if replace else "empty"
        files = made(settings_of(config, state).files)
        erased = [_erased(files, path, signed_by) for path in receipts or ()]
        store = OwnedStore(files.people, os.environ)
        try:
            with _open(file) as (source, size):
                passphrase = _passphrase(passphrase_file, is_new=False)
                with _recorded(files, f"restore-{mode}"), _progress() as progress:
                    task = progress.add_task("restoring", total=size)
                    records = read_backup(source, passphrase, partial(_advance, progress, task))
                    done = restore(
                        store, records, mode, time.time(), erased=erased, end_consents=end_consents
                    )
        finally:
            store.close()
        for line in _words(done):
            typer.echo(line)


@contextmanager
def _recorded(files: StateFiles, what: str) -> Iterator[None]:
    """An act in the audit log, before it is done and after. Raises AuditError: then it is not done."""
    log = AuditLog(files.folder, load_or_create(files.signing_key), time.time())
    named = {"act": f"{new_run()}-a1", "by": "veilcast-hub", "what": what}
    result = "failed"
    try:
        log.append([{"kind": "act-asked", "at": time.time(), **named}], time.time())
        try:
            yield
            result = "done"
        finally:
            log.append([{"kind": "act", "at": time.time(), **named, "result": result}], time.time())
    finally:
        log.close()


def _words(done: Restored) -> Iterator[str]:
    at = time.strftime("%Y-%m-%d %H:%M", time.localtime(done.made_at))
    yield f"{_people(done.people)} restored, as of {at}; withdrawals elsewhere since then are not known here"
    if done.kept:
        yield f"{_people(done.kept)} enrolled here already: left as here"
    if done.left_out:
        yield f"{_people(done.left_out)} left out: erased since"
    if done.still_here:
        yield f"{_people(done.still_here)} enrolled here, but erased where the backup was made: remove them"


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count} people"


def _passphrase(file: Path | None, *, is_new: bool) -> str:
    """From a private file, or typed. Raises HubError."""
    if file is not None:
        data = read_secret(file)
        if data is None:
            raise HubError(f"{file}: there is no such file")
        try:
            lines = data.decode().splitlines()
        except UnicodeDecodeError as exc:
            raise HubError(f"{file}: a passphrase is text in UTF-8") from exc
        text = lines[0] if lines else ""
    elif sys.stdin.isatty():
        text = typer.prompt("Passphrase of the backup", hide_input=True, confirmation_prompt=is_new, err=True)
    else:
        raise HubError("no terminal to ask for the passphrase: give --passphrase-file FILE")
    if is_new and len(text) < MIN_PASSPHRASE_CHARS:
        raise HubError(f"a passphrase has at least {MIN_PASSPHRASE_CHARS} characters: several words are good")
    return str(text)


def _check_new(file: Path) -> None:
    if file.exists():
        raise HubError(f"{file} exists already and is not overwritten: give another name")


def _write_new(file: Path, write: Callable[[Path], int]) -> int:
    """Have a draft (mode 0600) written and give it its name once it is whole. Raises HubError."""
    draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        try:
            result = write(draft)
            os.link(draft, file)  # unlike a rename, fails where the name is taken
        finally:
            draft.unlink()
        sync_folder(file.absolute().parent)
    except FileExistsError as exc:
        raise HubError(f"{file} exists already and is not overwritten: give another name") from exc
    except OSError as exc:
        raise HubError(f"{file}: cannot be written: {exc.strerror}") from exc
    return result


@contextmanager
def _open(file: Path) -> Iterator[tuple[BinaryIO, int]]:
    """The file and its size in bytes. Raises HubError."""
    try:
        with file.open("rb") as source:
            yield source, os.fstat(source.fileno()).st_size
    except OSError as exc:
        raise HubError(f"{file}: cannot be read: {exc.strerror}") from exc


def _advance(progress: Progress, task: TaskID, read: int) -> None:
    progress.update(task, completed=read)


def _progress() -> Progress:
    screen = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    return Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal)


# --- vault ------------------------------------------------------------------------------------


@vault_app.command()
def show(config: ConfigOption = None, state: StateOption = None) -> None:
    """Where the vault key comes from, and its id."""
    with one_line_errors():
        files = made(settings_of(config, state).files)
        with reading(files.people, os.environ) as store:
            typer.echo(f"key {store.vault.id} from {key_source(files.folder, os.environ).place}")


@vault_app.command()
def rotate(
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FILE", help="Where the new key goes, if the hub is given its key."),
    ] = None,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Make a new vault key and destroy the old one. The hub must not run.

    Where the key is given by environment or credential: --to FILE, and give that file's key from then on.
    """
    with one_line_errors():
        files = made(settings_of(config, state).files)
        is_given = isinstance(key_source(files.folder, os.environ), GivenKey)
        if is_given != (to is not None):
            raise HubError(
                "the vault key is given from outside: --to FILE is needed for the new one"
                if is_given
                else "the vault key is a file of the hub, which is replaced: leave out --to"
            )
        store = OwnedStore(files.people, os.environ)
        try:
            with _recorded(files, "vault-rotate"):
                vault = store.rotate(write_key_file(to) if to is not None else None)
        finally:
            store.close()
        typer.echo(f"new key {vault.id}" + (f" in {to}: give that one to the hub now" if to else ""))


# --- receipts ---------------------------------------------------------------------------------

KeyOption = Annotated[
    Path | None,
    typer.Option("--key", metavar="FILE", help="The signer's public key. [default: this hub's]"),
]


@receipt_app.command()
def verify(
    file: FileArgument, key: KeyOption = None, config: ConfigOption = None, state: StateOption = None
) -> None:
    """Check that a hub signed this receipt and nobody changed it since."""
    with one_line_errors():
        body = _verified(settings_of(config, state).files, file, key)
        words = "unknown to the hub then" if body["is_unknown"] else "NOT unknown to the hub then: read it"
        typer.echo(f"holds: identity {body['identity']} was erased at {body['erased_at']}, {words}")


@receipt_app.command("key")
def public_key(config: ConfigOption = None, state: StateOption = None) -> None:
    """Print the public key that checks this hub's receipts anywhere (--key FILE)."""
    with one_line_errors():
        public = public_bytes(load_or_create(made(settings_of(config, state).files).signing_key))
        typer.echo(base64.b64encode(public).decode())
        typer.echo(f"fingerprint {fingerprint(public)}", err=True)


def _erased(files: StateFiles, path: Path, key: Path | None) -> tuple[str, str]:
    return str(_verified(files, path, key)["identity"]), _text(path)


def _verified(files: StateFiles, path: Path, key: Path | None) -> dict[str, Any]:
    text = _text(path)
    return dict(verify_receipt(text, _public(files, key)))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(4 * MAX_RECEIPT_CHARS).decode()
    except OSError as exc:
        raise ReceiptError(f"{path}: cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ReceiptError(f"{path}: not a receipt") from exc


def _public(files: StateFiles, key: Path | None) -> bytes:
    if key is None:
        own = load(files.signing_key)
        if own is None:
            raise SecretFileError(f"{files.signing_key}: there is no such key; give --key FILE of the signer")
        return public_bytes(own)
    try:
        public = base64.b64decode(_text(key).strip(), validate=True)
    except (ValueError, binascii.Error) as exc:
        raise ReceiptError(f"{key}: not a public key; veilcast-hub receipt key prints one") from exc
    if len(public) != 32:
        raise ReceiptError(f"{key}: not a public key; veilcast-hub receipt key prints one")
    return public
