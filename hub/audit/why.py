"""The answer to "why was I shown there and then?", in sentences. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hub.audit.query import ConsentTerms, Interval
from hub.audit.times import written


@dataclass(frozen=True, slots=True)
class Asked:
    """The question: who, where, and the time span that was meant (UTC epoch seconds)."""

    who: str
    camera: str
    begin: float
    end: float


def answer(asked: Asked, shown: Sequence[Interval], terms: Mapping[str, ConsentTerms | None]) -> str:
    """`shown`: every reveal of the person on this camera; `terms`: of the consents of those meant."""
    hits = [i for i in shown if i.start < asked.end and _latest(i) >= asked.begin]
    if hits:
        return "\n\n".join(_why(asked, i, terms.get(i.consent)) for i in sorted(hits, key=lambda i: i.start))
    lines = [
        f"{_capital(asked.who)} was not shown on camera {asked.camera} at {written(asked.begin)}, "
        "as far as this log goes back."
    ]
    before = max((i for i in shown if _latest(i) < asked.begin), key=_latest, default=None)
    after = min((i for i in shown if i.start >= asked.end), key=lambda i: i.start, default=None)
    for word, other in (("before", before), ("after", after)):
        if other is not None:
            lines.append(
                f"The nearest time {word}: from {written(other.start)} to {written(_latest(other))}."
            )
    return "\n".join(lines)


def _why(asked: Asked, i: Interval, terms: ConsentTerms | None) -> str:
    if i.end is None:
        span = f"since {written(i.start)}, and still is at the end of this log"
    else:
        span = f"from {written(i.start)} to {written(i.end)} ({i.end - i.start:.1f} s)"
    lines = [f"{_capital(asked.who)} was shown on camera {i.camera} {span}."]
    lines.append(
        f"  Recognized: similarity {i.similarity:.3f} to the templates of identity {i.identity}; the "
        f"threshold in force was {i.threshold:.3f}. The second most similar person was {i.margin:.3f} behind."
    )
    lines.append(f"  Allowed: {_consent(i, terms)}")
    lines.append(f"  Compared with: gallery version {i.gallery_version}, on a camera of mode {i.mode}.")
    if i.end is not None and i.latest is not None:
        late = (
            f"; a camera out of reach showed it until {written(i.latest)} at most" if i.latest > i.end else ""
        )
        lines.append(f"  Ended: {i.cause}{late}.")
    lines.append(f"  Record {i.record} of the log, reveal {i.reveal}, track {i.track}.")
    return "\n".join(lines)


def _consent(i: Interval, terms: ConsentTerms | None) -> str:
    if terms is None:
        return f"consent {i.consent}; its terms are older than this log and no longer kept."
    by = f" by {terms.by}" if terms.by else ""
    where = "for camera " + ", ".join(terms.cameras) if terms.cameras else "for every camera"
    until = f", until {written(terms.until)}" if terms.until is not None else ", until withdrawn"
    return f"consent {i.consent}, recorded {written(terms.granted_at)}{by}, {where}{until}."


def _latest(i: Interval) -> float:
    return float("inf") if i.latest is None else i.latest


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
