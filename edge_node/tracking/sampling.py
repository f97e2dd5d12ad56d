"""Which face to ask the hub about, and when: only when something can be learned.

Pure; owned by the analysis thread. A new track is asked about at once and, while it is being proven,
a few times in short order; a face that is shown is proven again well before its lease ends; a stranger
is asked about less and less often. A question that nobody answers teaches nothing: it does not count.
When a question is due, the best crop of a short window is sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edge_node.privacy.decisions import Leases
from vision.crops import FaceCrop


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """Spacing of questions."""

    first_spacing_s: float = 0.25
    """Between the first questions about a track: the hub wants several agreeing looks."""
    first_looks: int = 4
    """How many of those."""
    stranger_spacing_s: float = 1.0
    """After that, for a face that stays veiled; doubled with each question..."""
    stranger_spacing_max_s: float = 4.0
    """... up to this."""
    unanswered_spacing_s: float = 1.5
    """After a question without an answer: a hub that comes to itself finds one soon, a hub that has
    trouble is not pressed."""
    renew_before_s: float = 1.2
    """A shown face is proven again when its lease has less than this left: time for three questions. Earlier
    would cost bytes (1.6: a quarter more), later would veil who turns away for a second..."""
    renew_spacing_s: float = 0.5
    """... and again this much later if no answer came."""
    collect_s: float = 0.2
    """Once a question is due, crops are compared for this long and the best is sent..."""
    good_quality: float = 0.7
    """... or the first that is at least this good."""


@dataclass(frozen=True, slots=True)
class Look:
    """A crop that could be asked about."""

    track: int
    crop: FaceCrop
    quality: float


@dataclass(slots=True)
class _Asked:
    answered: int
    """Questions that were answered, without the last one."""
    last_at: float

    def looks(self, leases: Leases, track: int) -> int:
        """Questions that were answered."""
        return self.answered + (leases.answered_at.get(track, float("-inf")) >= self.last_at)


@dataclass(slots=True)
class _Collecting:
    since: float
    best: Look


class Sampler:
    """Remembers what was asked; forgets tracks that are gone."""

    def __init__(self, settings: SamplingSettings | None = None) -> None:
        self._settings = settings or SamplingSettings()
        self._asked: dict[int, _Asked] = {}
        self._collecting: dict[int, _Collecting] = {}
        self._leases = Leases()

    def due(self, tracks: Iterable[int], leases: Leases, now: float) -> list[int]:
        """The tracks, of those in view, to ask about now; those never asked about come first.

        Nothing is due while there is no session; a new session knows nothing of earlier questions.
        """
        if leases.session != self._leases.session:
            self._asked.clear()
            self._collecting.clear()
        self._leases = leases
        in_view = list(tracks)
        self._asked = {t: a for t, a in self._asked.items() if t in in_view}
        self._collecting = {t: c for t, c in self._collecting.items() if t in in_view}
        if leases.session is None:
            return []
        wanted = [t for t in in_view if now >= self._next_at(t, leases, now)]
        return sorted(wanted, key=lambda t: self._asked[t].last_at if t in self._asked else -1.0)

    def choose(self, looks: Iterable[Look], now: float) -> list[Look]:
        """Of the crops offered for due tracks, the questions to send now. Counts them as asked."""
        questions = []
        for look in looks:
            collecting = self._collecting.setdefault(look.track, _Collecting(now, look))
            if look.quality > collecting.best.quality:
                collecting.best = look
            is_time = now - collecting.since >= self._settings.collect_s
            if is_time or collecting.best.quality >= self._settings.good_quality:
                questions.append(collecting.best)
                del self._collecting[look.track]
                before = self._asked.get(look.track)
                answered = before.looks(self._leases, look.track) if before else 0
                self._asked[look.track] = _Asked(answered, now)
        return questions

    def _next_at(self, track: int, leases: Leases, now: float) -> float:
        s = self._settings
        asked = self._asked.get(track)
        if asked is None:
            return now
        lease = leases.live(track, now)
        if lease is not None:
            return max(lease.expires_at - s.renew_before_s, asked.last_at + s.renew_spacing_s)
        looks = asked.looks(leases, track)
        if looks == asked.answered:
            return asked.last_at + s.unanswered_spacing_s
        if looks < s.first_looks:
            return asked.last_at + s.first_spacing_s
        doublings = min(looks - s.first_looks, 8)
        spacing_s = min(s.stranger_spacing_s * 2.0**doublings, s.stranger_spacing_max_s)
        return float(asked.last_at + spacing_s)
