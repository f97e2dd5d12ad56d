"""Unknown people grouped for some minutes, in memory only, so that one of them can be enrolled.

`VisitorBook` is pure and owned by the inference thread: it keeps nothing unless an operator has switched it
on for a camera, and then at most MAX_VISITORS people with MAX_LOOKS embeddings each, in one array whose rows
are overwritten as soon as they are given up: when the time is over, at `stop`, when somebody is enrolled. No
crop is kept and nothing is written anywhere. `hub.visitor_desk` answers admins with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hub.embedding.port import Embeddings
from hub.evidence import Probe, TrackKey
from protocol.limits import MAX_VISITORS

MAX_LOOKS = 8
"""Of one visitor: the best ones. More do not change what is enrolled."""
MIN_LOOKS = 3
"""Agreeing looks without which nobody is enrolled: one poor look must not become a template."""
MIN_QUALITY = 0.35
"""Worse looks teach nothing about a person."""
TOGETHER_S = 1.5
"""Two tracks seen within this time were in the picture together: they are two people."""


@dataclass(frozen=True, slots=True)
class VisitorView:
    """What an operator is told of a visitor: when and how often, nothing of the face."""

    id: int
    looks: int
    quality: float
    first_seen_s: float
    last_seen_s: float
    ready: bool


@dataclass(frozen=True, slots=True)
class VisitorLooks:
    """What is enrolled of a visitor: embeddings (N, D) and their qualities."""

    embeddings: Embeddings
    qualities: tuple[float, ...]


@dataclass(slots=True)
class _Look:
    row: int
    track: TrackKey
    quality: float


@dataclass(slots=True)
class _Visitor:
    looks: list[_Look]
    first_at: float
    last_at: float
    seen_at: dict[TrackKey, float]
    """When each of the visitor's tracks was last looked at: those of the last TOGETHER_S."""


class VisitorBook:
    """`threshold` is the model's similarity from which two looks are one person."""

    def __init__(self, dimension: int, threshold: float) -> None:
        self._threshold = threshold
        self._rows: NDArray[np.float32] = np.zeros((MAX_VISITORS * MAX_LOOKS, dimension), np.float32)
        self._visitors: dict[int, _Visitor] = {}
        self._next_id = 1
        self._camera = ""
        self._until = float("-inf")
        self.crowded_out = 0
        """Visitors forgotten because more came than are kept."""

    def __len__(self) -> int:
        return len(self._visitors)

    def start(self, camera: str, until: float) -> None:
        """Group the unknown faces of `camera` until `until` (monotonic seconds); forgets all before."""
        self.stop()
        self._camera, self._until = camera, until

    def stop(self) -> None:
        """Forget everyone, overwrite what was kept, keep nothing from now on."""
        self._rows.fill(0.0)
        self._visitors.clear()
        self._camera, self._until = "", float("-inf")

    def expire(self, now: float) -> bool:
        """Stop where the time is over; whether that was now."""
        is_over = bool(self._camera) and now >= self._until
        if is_over:
            self.stop()
        return is_over

    def take(self, key: TrackKey, probe: Probe, quality: float, is_known: bool, now: float) -> None:
        """A look at a track: kept where grouping is on for its camera and the face is nobody's.

        A track that turns out to be an enrolled person is forgotten, looks and all.
        """
        if not self._camera or self.expire(now) or key[0] != self._camera:
            return
        if is_known:
            self._forget_track(key)
            return
        if quality < MIN_QUALITY:
            return
        number = self._match(key, probe, now)
        if number is None:
            number = self._add_visitor(now)
        visitor = self._visitors[number]
        visitor.last_at = now
        visitor.seen_at = {k: at for k, at in visitor.seen_at.items() if at > now - TOGETHER_S} | {key: now}
        self._keep(visitor, _Look(self._free_row(visitor, quality), key, quality), probe)

    def view(self, now: float) -> list[VisitorView]:
        """Everyone who is grouped, in the order in which they came."""
        self.expire(now)
        return [
            VisitorView(
                number,
                len(visitor.looks),
                max(look.quality for look in visitor.looks),
                now - visitor.first_at,
                now - visitor.last_at,
                len(self._agreeing(visitor)) >= MIN_LOOKS,
            )
            for number, visitor in self._visitors.items()
        ]

    def looks_of(self, number: int, now: float) -> VisitorLooks | None:
        """The agreeing looks of a visitor, copied; None for somebody who is not (or no longer) there."""
        self.expire(now)
        visitor = self._visitors.get(number)
        if visitor is None:
            return None
        looks = self._agreeing(visitor)
        rows = [look.row for look in looks]
        return VisitorLooks(self._rows[rows].copy(), tuple(look.quality for look in looks))

    def forget(self, number: int) -> None:
        """Forget one visitor, whom somebody has just enrolled."""
        visitor = self._visitors.pop(number, None)
        for look in visitor.looks if visitor is not None else ():
            self._rows[look.row] = 0.0

    # --- one person or two --------------------------------------------------------------------

    def _match(self, key: TrackKey, probe: Probe, now: float) -> int | None:
        """The visitor whom this look shows: as similar as one person is, and not seen beside this track."""
        best, best_similarity = None, self._threshold
        for number, visitor in self._visitors.items():
            beside = any(at > now - TOGETHER_S for other, at in visitor.seen_at.items() if other != key)
            similarity = float(self._mean(visitor.looks) @ probe)
            if not beside and similarity >= best_similarity:
                best, best_similarity = number, similarity
        return best

    def _mean(self, looks: list[_Look]) -> Probe:
        mean = self._rows[[look.row for look in looks]].mean(axis=0)
        return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-6), np.float32)

    def _agreeing(self, visitor: _Visitor) -> list[_Look]:
        """The looks that are like the others: a track may have slipped to somebody else for a moment."""
        mean = self._mean(visitor.looks)
        return [look for look in visitor.looks if float(self._rows[look.row] @ mean) >= self._threshold]

    # --- room -----------------------------------------------------------------------------------

    def _add_visitor(self, now: float) -> int:
        if len(self._visitors) >= MAX_VISITORS:
            self.forget(min(self._visitors, key=lambda n: self._visitors[n].last_at))
            self.crowded_out += 1
        number = self._next_id
        self._next_id += 1
        self._visitors[number] = _Visitor([], now, now, {})
        return number

    def _free_row(self, visitor: _Visitor, quality: float) -> int:
        """A row for a look of this quality; -1 where the visitor's are all better."""
        if len(visitor.looks) < MAX_LOOKS:
            taken = set(self._taken())
            return next(row for row in range(len(self._rows)) if row not in taken)
        worst = min(visitor.looks, key=lambda look: look.quality)
        if worst.quality >= quality:
            return -1
        visitor.looks.remove(worst)
        return worst.row

    def _keep(self, visitor: _Visitor, look: _Look, probe: Probe) -> None:
        if look.row >= 0:
            self._rows[look.row] = probe
            visitor.looks.append(look)

    def _taken(self) -> Iterator[int]:
        return (look.row for visitor in self._visitors.values() for look in visitor.looks)

    def _forget_track(self, key: TrackKey) -> None:
        for number, visitor in list(self._visitors.items()):
            for look in [look for look in visitor.looks if look.track == key]:
                self._rows[look.row] = 0.0
                visitor.looks.remove(look)
            visitor.seen_at.pop(key, None)
            if not visitor.looks:
                self.forget(number)
