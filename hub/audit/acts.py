"""What the log says about an act of an admin: never a person's name, a note, a file name. Pure."""

from __future__ import annotations

from typing import Any

from protocol.messages import Message, People, Person

VEILING = frozenset({"withdraw-consent", "remove-person", "stop-visitors"})
"""What veils people is never held up because it cannot be recorded at once."""
READING = ("list-", "show-", "export-")
_FACTS = (
    "cameras", "camera", "consent_until", "until", "duration_s", "visitor", "offset", "identity",
    "model_id", "threshold", "margin",
)  # fmt: skip
"""Members of requests that may be written down, where they are set."""


def is_veiling(what: str) -> bool:
    """The act ends reveals, or can; `what` is the request's type."""
    return what in VEILING


def is_reading(what: str) -> bool:
    """The act changes nothing."""
    return what.startswith(READING)


def facts_of(request: Message) -> dict[str, Any]:
    """The terms of a request."""
    facts: dict[str, Any] = {}
    for name in _FACTS:
        value = getattr(request, name, None)
        if value is not None and value not in ((), "", 0):
            facts["until" if name == "consent_until" else name] = (
                list(value) if isinstance(value, tuple) else value
            )
    photos = getattr(request, "photos", ())
    return {**facts, "photos": len(photos)} if photos else facts


def outcome_of(request: Message, answer: object) -> dict[str, Any]:
    """Whom it was about, and which consent they hold after it."""
    if not isinstance(answer, People):
        return {}
    if not hasattr(request, "name") or len(answer.people) != 1:
        return {"people": len(answer.people)}
    person = answer.people[0]
    return {
        "identity": person.identity,
        "consent": _latest(person),
        "gallery_version": answer.gallery_version,
    }


def _latest(person: Person) -> str:
    """The consent that was granted last, live or ended."""
    return max(person.consents, key=lambda c: c.granted_at).id if person.consents else ""
