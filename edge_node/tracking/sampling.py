"""Which face to ask the hub about, and when: only when something can be learned.

Pure; owned by the event loop. A new track is asked about at once and, while it is being proven, a few
times in short order; a face that is shown is proven again well before its lease ends; a stranger is
asked about less and less often. Crops travel only for what `due` names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edge_node.privacy.decisions import Leases


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
    renew_before_s: float = 1.6
    """A shown face is proven again when its lease has less than this left..."""
    renew_spacing_s: float = 0.5
    """... and again this much later if no answer came."""


@dataclass(slots=True)
class _Asked:
    looks: int
    last_at: float


class Sampler:
    """Remembers what was asked; forgets tracks that are gone."""

    def __init__(self, settings: SamplingSettings | None = None) -> None:
        self._settings = settings or SamplingSettings()
        self._asked: dict[int, _Asked] = {}

    def due(self, tracks: Iterable[int], leases: Leases, now: float) -> list[int]:
        """The tracks, of those in view, to ask about now; those never asked about come first."""
        in_view = list(tracks)
        self._asked = {t: a for t, a in self._asked.items() if t in in_view}
        wanted = [t for t in in_view if now >= self._next_at(t, leases, now)]
        return sorted(wanted, key=lambda t: self._asked[t].last_at if t in self._asked else -1.0)

    def asked(self, track: int, now: float) -> None:
        """A question about `track` left."""
        before = self._asked.get(track)
        self._asked[track] = _Asked(before.looks + 1 if before else 1, now)

    def restart(self) -> None:
        """The session is new: the hub knows nothing of what was asked before."""
        self._asked.clear()

    def _next_at(self, track: int, leases: Leases, now: float) -> float:
        s = self._settings
        asked = self._asked.get(track)
        if asked is None:
            return now
        lease = leases.live(track, now)
        if lease is not None:
            return max(lease.expires_at - s.renew_before_s, asked.last_at + s.renew_spacing_s)
        if asked.looks < s.first_looks:
            return asked.last_at + s.first_spacing_s
        doublings = min(asked.looks - s.first_looks, 8)
        spacing_s = min(s.stranger_spacing_s * 2**doublings, s.stranger_spacing_max_s)
        return asked.last_at + spacing_s
