"""Photos of one person from files to templates at the hub; what was done and what was refused.

Owns the order of the work: examine each photo, send the good ones in messages of MAX_PHOTOS. Sees the
hub and the detector only as ports. Called by the command line.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from enrollment.errors import HubRefusalError
from enrollment.examine import AcceptedPhoto, examine, shown_name
from enrollment.inputs import ConsentTerms
from protocol.limits import MAX_PHOTOS, MAX_TEMPLATES
from protocol.messages import Person
from vision.detections import Detector
from vision.reasons import Reason, Refused


class Hub(Protocol):
    """What enrolling needs of the hub (`enrollment.client.HubClient`)."""

    def add(
        self, name: str, photos: Sequence[AcceptedPhoto], terms: ConsentTerms, keep_photos: bool = False
    ) -> Person: ...

    def keep_alive(self) -> None: ...


@dataclass(frozen=True, slots=True)
class RefusedPhoto:
    """A photo that was not enrolled."""

    file: str
    refused: Refused


@dataclass(frozen=True, slots=True)
class PersonReport:
    """What became of one person's photos."""

    name: str
    enrolled: tuple[str, ...] = ()
    """Files whose templates the hub keeps now."""
    refused: tuple[RefusedPhoto, ...] = ()
    problem: str = ""
    """Why the person as a whole, or the rest of the photos, was not enrolled; empty where they were."""
    problem_code: str = ""
    person: Person | None = None
    """As the hub knows the person now; None where nothing was enrolled."""

    @property
    def complete(self) -> bool:
        return bool(self.enrolled) and not self.refused and not self.problem


def enroll(
    name: str,
    files: Sequence[Path],
    terms: ConsentTerms,
    detector: Detector,
    hub: Hub,
    advance: Callable[[], None],
    keep_photos: bool = False,
) -> PersonReport:
    """Examine all files and enrol the good ones. advance: called once per file.

    keep_photos: the hub keeps the crops as well.

    Raises ModelError where no photo can be examined, HubUnreachableError and KeyRefusedError.
    """
    accepted, refused = _examine_all(files, detector, hub, advance)
    if not accepted:
        problem = "no photo can be used, so nothing was enrolled"
        return PersonReport(name, (), refused, problem, "no-photo")
    enrolled: list[str] = []
    person: Person | None = None
    for at in range(0, len(accepted), MAX_PHOTOS):
        photos = accepted[at : at + MAX_PHOTOS]
        try:
            person = hub.add(name, photos, terms, keep_photos)
        except HubRefusalError as exc:
            return PersonReport(name, tuple(enrolled), refused, str(exc), exc.refusal_code, person)
        enrolled += [p.photo.source for p in photos]
    return PersonReport(name, tuple(enrolled), refused, person=person)


def _examine_all(
    files: Sequence[Path], detector: Detector, hub: Hub, advance: Callable[[], None]
) -> tuple[list[AcceptedPhoto], tuple[RefusedPhoto, ...]]:
    accepted: list[AcceptedPhoto] = []
    refused: list[RefusedPhoto] = []
    seen: dict[bytes, str] = {}
    for path in files:
        name = shown_name(path)
        verdict = _too_many() if len(accepted) >= MAX_TEMPLATES else examine(path, detector)
        if isinstance(verdict, AcceptedPhoto):
            # The same picture twice would count as two agreeing templates.
            digest = hashlib.sha256(verdict.jpeg).digest()
            if digest in seen:
                verdict = Refused(Reason.REPEATED, f"the same picture as {seen[digest]}")
            else:
                seen[digest] = name
        if isinstance(verdict, Refused):
            refused.append(RefusedPhoto(name, verdict))
        else:
            accepted.append(verdict)
        hub.keep_alive()
        advance()
    return accepted, tuple(refused)


def _too_many() -> Refused:
    text = f"a person has at most {MAX_TEMPLATES} photos, and more do not help: choose the best"
    return Refused(Reason.TOO_MANY, text)
