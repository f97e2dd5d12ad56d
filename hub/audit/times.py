"""Times as people write them on a command line, in the time zone of the hub's machine. Pure."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta

from hub.audit.errors import AuditError

_TIME = re.compile(r"\d{1,2}:\d{2}(?::\d{2})?")
_SECONDS = re.compile(r"\d{1,2}:\d{2}:\d{2}")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
EXAMPLES = 'write 14:05, 14:05:30, 2026-11-21, "2026-11-21 14:05" or 2026-11-21T14:05:00+01:00'


def span(text: str, now: datetime) -> tuple[float, float]:
    """What a time covers, in UTC epoch seconds: a day, a minute or a second, from its begin to its end.

    A time without a day is the latest that is not in the future; one without a zone is local, as it was
    on that day. Raises AuditError.
    """
    words = text.strip()
    try:
        if _TIME.fullmatch(words):
            clock = time.fromisoformat(words.zfill(5 if words.count(":") == 1 else 8))
            today = now.astimezone().date()
            begin = datetime.combine(today, clock).astimezone()
            if begin > now:
                begin = datetime.combine(today - timedelta(days=1), clock).astimezone()
        elif _DAY.fullmatch(words):
            day = date.fromisoformat(words)
            begin, end = (datetime.combine(d, time()).astimezone() for d in (day, day + timedelta(days=1)))
            return begin.timestamp(), end.timestamp()
        else:
            begin = datetime.fromisoformat(words).astimezone()
    except (ValueError, OverflowError) as exc:
        raise AuditError(f"{text!r} is no time; {EXAMPLES}") from exc
    length_s = 1.0 if _SECONDS.search(words) else 60.0
    return begin.timestamp(), begin.timestamp() + length_s


def written(seconds: float) -> str:
    """UTC epoch seconds as a local time with its zone."""
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
