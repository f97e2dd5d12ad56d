"""How well the hub's model tells the people of a folder apart, and the threshold that follows from it.

Owns the walk through DIR/person/*.jpg (or DIR/group/person/*.jpg), the questions to the hub and the choice of
the threshold; rates are computed in `det`, the command stands in `evaluate_command`. Nobody is enrolled by
this and the hub keeps nothing of the photos.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from enrollment import det
from enrollment.enroll import RefusedPhoto
from enrollment.errors import EnrollmentError, HubRefusalError, HubUnreachableError, InputError
from enrollment.examine import AcceptedPhoto, examine, shown_name
from enrollment.inputs import PHOTO_SUFFIXES
from protocol.limits import MAX_PHOTOS
from protocol.messages import Likeness, Threshold
from vision.detections import Detector
from vision.reasons import Refused

MIN_PEOPLE = 3
"""Below it there is no second-best person among strangers, so no margin."""
LOWERING_SEARCHES = 3_000
"""Looks at strangers that a set must hold before the threshold may be lowered below the one in force: that
none of so many gets a name says, with 95 % confidence, that fewer than 0.1 % do (the rule of three)."""


class Hub(Protocol):
    """What evaluating needs of the hub (`enrollment.client.HubClient`)."""

    def likeness(self, photos: Sequence[AcceptedPhoto]) -> Likeness: ...

    def set_threshold(
        self, model_id: str, threshold: float, margin: float, people: int, photos: int, data: str
    ) -> Threshold: ...

    def keep_alive(self) -> None: ...


class ThresholdRefusedError(EnrollmentError):
    """At this threshold a stranger of the set would have been shown."""

    code = "stranger-shown"


@dataclass(frozen=True, slots=True)
class SetFile:
    """A photo of the set, and whose it is."""

    person: str
    group: str
    path: Path


@dataclass(frozen=True, eq=False, slots=True)
class Evaluation:
    """All that was measured."""

    faces: tuple[det.Face, ...]
    refused: tuple[RefusedPhoto, ...]
    likeness: Likeness
    """The last answer: model, threshold, margin in force."""
    pairs: det.Pairs
    searches: det.Searches

    @property
    def people(self) -> int:
        return len({face.person for face in self.faces})

    @property
    def groups(self) -> list[str]:
        return sorted({face.group for face in self.faces} - {""})

    @property
    def rise(self) -> float:
        """How much higher the threshold is among the people of the set than with one person enrolled."""
        return self.likeness.per_tenfold * math.log10(max(1, self.searches.enrolled))

    def rates(self, threshold: float, group: str = "") -> det.Rates:
        """At a threshold as the manifest has it: with one person enrolled."""
        return det.rates_at(self.pairs, self.searches, threshold + self.rise, self.likeness.margin, group)

    def curve(self, group: str = "") -> list[det.Rates]:
        """The DET curve."""
        return det.curve(self.pairs, self.searches, self.likeness.margin, group)


def set_files(root: Path) -> list[SetFile]:
    """The photos of DIR/person/ and DIR/group/person/, in order. Raises InputError."""
    files: list[SetFile] = []
    for folder in _folders(root):
        inner = _folders(folder)
        files += [SetFile(folder.name, "", photo) for photo in _photos(folder)]
        for person in inner:
            name = f"{folder.name}/{person.name}"
            files += [SetFile(name, folder.name, photo) for photo in _photos(person)]
    people = {file.person for file in files}
    if len(people) < MIN_PEOPLE:
        text = f"{root} holds photos of {len(people)} people, {MIN_PEOPLE} are needed"
        raise InputError(f"{text}: put each person's photos into {root}/NAME/ or {root}/GROUP/NAME/")
    if len(files) == len(people):
        raise InputError(f"{root} holds one photo of each person: some need two or more to be recognized")
    return files


def measure(
    files: Sequence[SetFile], detector: Detector, hub: Hub, advance: Callable[[], None]
) -> Evaluation:  # fmt: skip
    """Examine all photos and have the hub compare them. advance: called once per file.

    Raises InputError where too few can be used, ModelError, HubRefusalError, HubUnreachableError.
    """
    faces, accepted, refused = _examine_all(files, detector, hub, advance)
    likeness, answers = _ask(accepted, hub)
    scores = det.similarities(np.concatenate(answers))
    pairs, searches = det.pairs_of(faces, scores), det.searches_of(faces, scores)
    return Evaluation(tuple(faces), refused, likeness, pairs, searches)


def choose(found: Evaluation, wanted: float | None) -> float:
    """The threshold to write (with one person enrolled): the one wanted, or the one in force, raised to where
    no stranger of the set gets a name.

    Raises ThresholdRefusedError where a stranger would be shown at the one wanted, or where the set is too
    small to lower it.
    """
    margin, in_force = found.likeness.margin, found.likeness.threshold
    safe = det.safe_threshold(found.searches, margin) - found.rise
    if wanted is None:
        # Written without trailing digits: a thousandth upward at most.
        return min(1.0, max(in_force, math.ceil(round(safe * 1000, 6)) / 1000))
    shown = det.strangers_shown(found.searches, wanted + found.rise, margin)
    if shown:
        worst = max(shown, key=lambda i: found.searches.stranger[i])
        text = f"at {wanted:.3f} {len(shown)} of {len(found.searches.stranger)} looks at strangers get a name"
        least = math.ceil(round(safe * 1000, 6)) / 1000
        raise ThresholdRefusedError(
            f"{text}, the first of them {found.searches.stranger_photo[worst]}: {least:.3f} is the least"
        )
    if wanted < in_force and len(found.searches.stranger) < LOWERING_SEARCHES:
        raise ThresholdRefusedError(
            f"{wanted:.3f} is below the {in_force:.3f} in force, and {len(found.searches.stranger)} looks at "
            f"strangers do not prove it safe: {LOWERING_SEARCHES} are needed"
        )
    return wanted


def _examine_all(
    files: Sequence[SetFile], detector: Detector, hub: Hub, advance: Callable[[], None]
) -> tuple[list[det.Face], list[AcceptedPhoto], tuple[RefusedPhoto, ...]]:
    """The faces that can be used, their crops, and the photos that cannot. Raises InputError for too few."""
    faces: list[det.Face] = []
    accepted: list[AcceptedPhoto] = []
    refused: list[RefusedPhoto] = []
    for file in files:
        photo = f"{file.person}/{shown_name(file.path)}"
        verdict = examine(file.path, detector)
        if isinstance(verdict, Refused):
            refused.append(RefusedPhoto(photo, verdict))
        else:
            faces.append(det.Face(file.person, file.group, photo))
            accepted.append(verdict)
        hub.keep_alive()
        advance()
    people = len({face.person for face in faces})
    if people < MIN_PEOPLE:
        text = f"{len(refused)} photos cannot be used, and {people} people are left"
        raise InputError(f"{text}: {MIN_PEOPLE} are needed, with clear photos")
    if len(faces) == people:
        raise InputError("one usable photo of each person is left: some need two or more to be recognized")
    return faces, accepted, tuple(refused)


def _ask(photos: Sequence[AcceptedPhoto], hub: Hub) -> tuple[Likeness, list[NDArray[np.float32]]]:
    """The hub's last answer, and the rows of all. One question right after the other, since a photo that
    takes seconds to examine could cost the session, and with it what its answers can be compared with."""
    answers = []
    sessions: set[bytes] = set()
    for at in range(0, len(photos), MAX_PHOTOS):
        batch = photos[at : at + MAX_PHOTOS]
        likeness = hub.likeness(batch)
        sessions.add(likeness.session)
        if len(sessions) > 1:
            text = "the session with the hub was lost, and answers of two sessions cannot be compared"
            raise HubUnreachableError(f"{text}: evaluate again")
        answers.append(_rows(likeness, len(batch)))
    return likeness, answers


def _rows(likeness: Likeness, count: int) -> NDArray[np.float32]:
    """(count, D) directions. Raises HubRefusalError for an answer of another shape."""
    fits = len(likeness.vectors) == 4 * count * likeness.dimension
    rows = np.frombuffer(likeness.vectors, "<f4") if fits else np.zeros(0, np.float32)
    if not fits or not np.isfinite(rows).all():
        raise HubRefusalError("internal", "the hub's answer does not fit the photos: update it")
    return rows.reshape(count, likeness.dimension)


def _folders(root: Path) -> list[Path]:
    try:
        return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    except OSError as exc:
        raise InputError(f"cannot read the folder {root}: {exc.strerror}") from exc


def _photos(folder: Path) -> list[Path]:
    return sorted(
        p
        for p in folder.iterdir()
        if p.suffix.lower() in PHOTO_SUFFIXES and not p.name.startswith(".") and p.is_file()
    )
