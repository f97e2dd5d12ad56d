"""What can go wrong while enrolling, each with the exit code it ends the program with.

EnrollmentError              1   the hub or the gate refused, or the work could not be done
├── HubRefusalError          1   the hub did not do what was asked, and said why
├── InputError               2   something that was typed cannot be used
├── HubUnreachableError      3   no hub answers, or it speaks another version
└── KeyRefusedError          4   a key file cannot be used, or the two ends do not trust each other

A photo that is refused is no error but a value (`vision.reasons.Refused`): the others go on.
"""

from __future__ import annotations

from typing import ClassVar

EXIT_DONE = 0
EXIT_REFUSED = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3
EXIT_KEY = 4


class EnrollmentError(Exception):
    """One clear line for a person: what, and what to do."""

    exit_code: ClassVar[int] = EXIT_REFUSED
    code: ClassVar[str] = "failed"


class HubRefusalError(EnrollmentError):
    """The hub did not do what was asked."""

    code = "refused"

    def __init__(self, refusal_code: str, text: str) -> None:
        super().__init__(text)
        self.refusal_code = refusal_code
        """The code of `protocol.messages.Refusal`."""


class InputError(EnrollmentError):
    """Something that was typed cannot be used."""

    exit_code = EXIT_USAGE
    code = "usage"


class HubUnreachableError(EnrollmentError):
    """No hub answers there, or not in a language that both know."""

    exit_code = EXIT_UNREACHABLE
    code = "hub-unreachable"


class KeyRefusedError(EnrollmentError):
    """A key file cannot be used, or one end does not accept the other's key."""

    exit_code = EXIT_KEY
    code = "key"
