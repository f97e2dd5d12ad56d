"""What all commands of `veilcast-hub` share: their options, settings, and errors as one line.

Used by `hub.__main__` and the modules whose commands it mounts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from hub.config import HubSettings, StateFiles
from hub.errors import HubError
from hub.store.errors import StoreError
from protocol.errors import KeyFileError, SettingsError
from protocol.settings import load_settings
from vision.errors import VisionError

EXIT_FAILED = 1

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings file; see deploy/hub.toml."),
]
StateOption = Annotated[
    Path | None,
    typer.Option("--state", metavar="DIR", help="The state folder, instead of the settings' one."),
]


@contextmanager
def one_line_errors() -> Iterator[None]:
    """What a person can meet becomes one line and exit code 1."""
    try:
        yield
    except (HubError, KeyFileError, SettingsError, StoreError, VisionError) as exc:
        typer.echo(f"veilcast-hub: {exc}", err=True)
        raise typer.Exit(EXIT_FAILED) from exc


def settings_of(config: Path | None, state: Path | None, listen: str | None = None) -> HubSettings:
    """The command line's words stand above the file's."""
    settings = load_settings(config, HubSettings) if config is not None else HubSettings()
    return settings.with_options(str(state) if state is not None else None, listen)


def made(files: StateFiles) -> StateFiles:
    """The files of a hub that was made. Raises KeyFileError where there is none."""
    if not files.key.exists():
        raise KeyFileError(f"there is no hub in {files.folder}; run: veilcast-hub init")
    return files
