"""Why a photo is not enrolled: one closed list of codes, for tables, JSON and the guide.

Owns the codes only; the sentence that explains one case is made where the case is found.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Stable codes; `docs/enrollment.md` says what to do about each (held by a test)."""

    UNREADABLE = "unreadable"
    EMPTY = "empty"
    TOO_LARGE = "too-large"
    NOT_A_PHOTO = "not-a-photo"
    CORRUPT = "corrupt"
    NO_FACE = "no-face"
    SEVERAL_FACES = "several-faces"
    TOO_SMALL = "too-small"
    CUT_OFF = "cut-off"
    NOT_FRONTAL = "not-frontal"
    BADLY_LIT = "badly-lit"
    BLURRED = "blurred"
    REPEATED = "repeated"
    TOO_MANY = "too-many"


@dataclass(frozen=True, slots=True)
class Refused:
    """One photo was not accepted: the code for programs, the text for people."""

    reason: Reason
    text: str
