"""The threshold that an evaluation at this place has chosen, kept in the hub's state folder.

A model's manifest says what was measured on public photos; the file says what was measured on photos of the
place (`veilcast-enroll evaluate`), when, and on what. It is read at start and takes the place of the
manifest's numbers. A file that cannot be read ends the start: deciding by other numbers than the owner
believes to be in force could show a stranger. Written by `hub.evaluation`, read by `hub.service`.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from hub.embedding.port import ModelManifest
from hub.errors import StartError
from vision.errors import ModelError
from vision.model_store import write_atomically

MAX_BYTES = 65_536
Number = Annotated[float, Meta(ge=-1.0, le=1.0)]
Unit = Annotated[float, Meta(ge=0.0, le=1.0)]


class Calibration(Struct, frozen=True, forbid_unknown_fields=True):
    """What stands in the file."""

    model_id: str
    threshold: Number
    """With one person enrolled."""
    per_tenfold: Unit
    margin: Unit
    made_at: float
    """UTC epoch seconds."""
    people: int
    photos: int
    data: str


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Put the file in place of the one before. Raises ModelError."""
    write_atomically(path, msgspec.json.format(msgspec.json.encode(calibration)) + b"\n")
    try:
        path.chmod(0o600)
    except OSError as exc:
        raise ModelError(f"cannot set the mode of {path}: {exc.strerror}") from exc


def read_calibration(path: Path) -> Calibration | None:
    """What the file says; None where there is none. Raises StartError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise StartError(f"{path} cannot be read: {exc.strerror}") from exc
    try:
        if len(data) > MAX_BYTES:
            raise StartError(f"{path} is too large for a calibration: remove it and evaluate again")
        return msgspec.json.decode(data, type=Calibration)
    except msgspec.DecodeError as exc:
        raise StartError(f"{path} is no calibration ({exc}): remove it and evaluate again") from exc


def in_force(manifest: ModelManifest, path: Path) -> tuple[ModelManifest, str]:
    """The manifest that the hub decides by, and a line about it. Raises StartError."""
    found = read_calibration(path)
    if found is None:
        return manifest, ""
    if found.model_id != manifest.model_id:
        text = f"{path.name} is for {found.model_id} and {manifest.model_id} runs: its numbers are not used"
        return manifest, f"{text}; run veilcast-enroll evaluate again"
    day = time.strftime("%Y-%m-%d", time.gmtime(found.made_at))
    measured = f"evaluated on {day} with {found.photos} photos of {found.people} people: {found.data}"
    numbers = (
        f"threshold {found.threshold:.3f} + {found.per_tenfold:.4f} per tenfold, margin {found.margin:.3f}"
    )
    changed = replace(
        manifest, threshold=found.threshold, per_tenfold=found.per_tenfold, margin=found.margin,
        measured=measured,
    )  # fmt: skip
    return changed, f"{numbers}, {measured}"
