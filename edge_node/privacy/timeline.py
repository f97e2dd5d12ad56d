"""Where every face was at any instant between two analyses.

Owned by the release thread. Frames wait until an analysis at or after their capture has finished,
so a region is interpolated between two observations; a face first seen now is carried back into
the frames that still wait, a face that ended is held up to the analysis that no longer had it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from edge_node.privacy.entry import Entry, completed, entry_of
from edge_node.tracking.track import Analysis, Box, Evidence, Observation

TOUCHING = 0.1
"""Two boxes that share less of the smaller one touch at their edges, no more."""


@dataclass(frozen=True, slots=True)
class TimelineSettings:
    """How far a face is carried, and how its region grows while the evidence ages."""

    backfill_s: float = 0.6
    """A face first seen now is veiled this far back: people do not appear from nothing."""
    growth_per_s: float = 2.0
    """A region without fresh evidence grows by this share of its size a second..."""
    max_growth: float = 0.8
    """... and at most by this share."""
    max_gap_s: float = float("inf")
    """Between two analyses further apart than this, where a face was is guesswork (see `is_guesswork`)."""


@dataclass(frozen=True, slots=True)
class Region:
    """One face in one frame. Veiled unless `decisions.plan` finds a lease for it."""

    track: int
    box_xyxy: Box
    """Pixels; already grown for the age of its evidence, not yet for the veil."""
    trusted: bool
    """Fresh, undoubted evidence of one and the same track on both sides of the frame."""
    evidence: Evidence
    age_s: float = 0.0
    """Seconds between the instant and the confirmed sight of the face that the region rests on."""
    sure: bool = True
    """A detector was once sure that this is a face."""


class _Sight(NamedTuple):
    """A path at one analysis."""

    at: float
    seq: int
    face: Observation


@dataclass(slots=True)
class _PathLine:
    observations: list[_Sight] = field(default_factory=list)
    """By time, oldest first."""
    ended_at: float | None = None
    entry: Entry | None = None
    """Of a face that was first seen near an edge of the picture."""
    sights: int = 0
    """Analyses that saw the face."""
    shot_after: float = float("-inf")
    """Its shot began later than this, with a cut."""


class Timeline:
    """The observations of all paths that can still matter to a waiting frame."""

    def __init__(self, settings: TimelineSettings | None = None) -> None:
        self._settings = settings or TimelineSettings()
        self._lines: dict[int, _PathLine] = {}
        self.covered_until = float("-inf")
        """The capture time of the newest analyzed frame."""
        self._frame_width: int | None = None
        self._analyzed: deque[float] = deque()
        """Capture times of the analyzed frames that can still matter."""
        self._shot_after = float("-inf")
        """The analysis before the last cut."""

    def __len__(self) -> int:
        return sum(len(line.observations) for line in self._lines.values())

    def add(self, analysis: Analysis) -> None:
        """Take in an analysis; one that is not newer than the last is ignored."""
        if analysis.at <= self.covered_until:
            return
        if analysis.cut:
            self._shot_after = self.covered_until
        seen = {o.path for o in analysis.observations}
        for path, line in self._lines.items():
            if line.ended_at is None and (path not in seen or analysis.cut):
                line.ended_at = analysis.at
        for observation in analysis.observations:
            if observation.path not in self._lines:
                entry = _entry(observation, analysis)
                self._lines[observation.path] = _PathLine(entry=entry, shot_after=self._shot_after)
            line = self._lines[observation.path]
            line.sights += observation.unseen_s == 0
            line.observations.append(_Sight(analysis.at, analysis.seq, observation))
        self.covered_until = analysis.at
        self._frame_width = analysis.frame_width
        self._analyzed.append(analysis.at)

    def forget_before(self, at: float) -> None:
        """Drop what no frame captured at or after `at` can need."""
        while len(self._analyzed) > 1 and self._analyzed[1] <= at:
            self._analyzed.popleft()
        for path, line in list(self._lines.items()):
            if line.ended_at is not None and line.ended_at < at:
                del self._lines[path]
                continue
            keep_from = 0
            for index, sight in enumerate(line.observations):
                if sight.at <= at:
                    keep_from = index
            del line.observations[:keep_from]

    def is_guesswork(self, at: float) -> bool:
        """Whether an instant lies in a gap between two analyses that is too wide to interpolate across."""
        after = bisect_left(self._analyzed, at)
        if after == len(self._analyzed) or self._analyzed[after] == at:
            return False
        before = self._analyzed[after - 1] if after else self._analyzed[after]
        return self._analyzed[after] - before > self._settings.max_gap_s

    def regions_at(self, at: float, seq: int | None = None) -> tuple[Region, ...]:
        """Every face at the instant `at`, which must not be later than `covered_until`.

        seq: of the frame captured then, if it is one. Frames that were held up in a driver or on the line
        come in a burst, with times that say little: their number between two analyses tells where they were.
        """
        if at > self.covered_until:
            raise ValueError("no analysis covers this instant yet")
        regions = [(line, self._region(line, at, seq)) for line in self._lines.values()]
        seen = [r.box_xyxy for _, r in regions if r is not None and r.trusted]
        return tuple(
            region
            for line, region in regions
            # Who is first seen after a cut was not where somebody else was seen before it.
            if region is not None and not (at <= line.shot_after and _is_taken(region, seen))
        )

    def _region(self, line: _PathLine, at: float, seq: int | None) -> Region | None:
        first, last = line.observations[0], line.observations[-1]
        if at < first.at:
            return self._before(line, at)
        if at > last.at:
            if line.ended_at is None or at > line.ended_at:
                return None
            return self._held(line, last.face, at - last.at)
        for a, b in zip(line.observations, line.observations[1:], strict=False):
            if a.at <= at <= b.at:
                return self._between(line, a.face, b.face, (at - a.at) / (b.at - a.at), _passed(a, b, seq))
        return self._between(line, first.face, first.face, 0.0, None)

    def _between(
        self, line: _PathLine, a: Observation, b: Observation, share: float, by_number: float | None
    ) -> Region:
        box = _lerp(a.box_xyxy, b.box_xyxy, share)
        unseen_s = (1 - share) * a.unseen_s + share * b.unseen_s
        if by_number is not None:
            box = _union(box, _lerp(a.box_xyxy, b.box_xyxy, by_number))
            unseen_s = max(unseen_s, (1 - by_number) * a.unseen_s + by_number * b.unseen_s)
        if a.track != b.track:  # perhaps two people, of whom neither went from one place to the other
            box = _union(a.box_xyxy, b.box_xyxy)
        box = grow(box, self._growth(unseen_s))
        if unseen_s == 0 and self._frame_width is not None:
            box = completed(box, self._frame_width)
        worse = b if b.unseen_s >= a.unseen_s else a
        return Region(
            track=b.track,
            box_xyxy=_inward(line, box, unseen_s),
            trusted=_may_show(a) and _may_show(b) and a.track == b.track,
            evidence=worse.evidence,
            age_s=unseen_s,
            sure=b.sure,
        )

    def _before(self, line: _PathLine, at: float) -> Region | None:
        first_at, _, first = line.observations[0]
        age = first_at - at
        if age > self._settings.backfill_s:
            return None
        box = first.box_xyxy
        if len(line.observations) > 1:  # the path's own motion, run backwards
            second_at, _, second = line.observations[1]
            back = _lerp(box, second.box_xyxy, -age / (second_at - first_at))
            box = _union(box, _resized_like(back, box))
        box = grow(box, self._growth(age))
        if line.entry is not None:
            box = _union(box, line.entry.back(first.box_xyxy, age))
        return Region(first.track, box, False, Evidence.BACKFILLED, age, first.sure)

    def _held(self, line: _PathLine, last: Observation, age: float) -> Region:
        unseen_s = last.unseen_s + age
        box = _inward(line, grow(last.box_xyxy, self._growth(unseen_s)), unseen_s)
        return Region(last.track, box, False, Evidence.COASTED, unseen_s, last.sure)

    def _growth(self, age_s: float) -> float:
        s = self._settings
        return 1.0 + min(s.max_growth, s.growth_per_s * max(0.0, age_s))


def _passed(a: _Sight, b: _Sight, seq: int | None) -> float | None:
    """The share of the frames between two sights that came before the frame `seq`."""
    return (seq - a.seq) / (b.seq - a.seq) if seq is not None and a.seq <= seq <= b.seq != a.seq else None


def _entry(first: Observation, analysis: Analysis) -> Entry | None:
    if analysis.cut or analysis.frame_width is None:
        return None
    return entry_of(first.box_xyxy, analysis.frame_width)


def _inward(line: _PathLine, box: Box, unseen_s: float) -> Box:
    """Who was seen once, at the edge, has gone on since at an unknown speed."""
    return line.entry.on(box, unseen_s) if line.entry is not None and line.sights == 1 else box


def grow(box: Box, factor: float) -> Box:
    """The box scaled about its center."""
    x1, y1, x2, y2 = box
    dx, dy = (x2 - x1) * (factor - 1) / 2, (y2 - y1) * (factor - 1) / 2
    return (x1 - dx, y1 - dy, x2 + dx, y2 + dy)


def _may_show(o: Observation) -> bool:
    return o.trusted and o.watched


def shared(a: Box, b: Box) -> float:
    """What two boxes share, as a part of the smaller one."""
    smaller = min(_area(a), _area(b))
    return _common(a, b) / smaller if smaller > 0 else 0.0


def covered(face: Box, by: Box) -> float:
    """The part of a face that another box covers."""
    return _common(face, by) / _area(face) if _area(face) > 0 else 0.0


def _common(a: Box, b: Box) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _is_taken(region: Region, seen: list[Box]) -> bool:
    """The face was carried back to where another one, in no doubt, was seen."""
    is_guess = region.evidence is Evidence.BACKFILLED
    return is_guess and any(shared(region.box_xyxy, box) > TOUCHING for box in seen)


def _lerp(a: Box, b: Box, share: float) -> Box:
    x1, y1, x2, y2 = (p + (q - p) * share for p, q in zip(a, b, strict=True))
    return (x1, y1, x2, y2)


def _union(a: Box, b: Box) -> Box:
    return (min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))


def _resized_like(box: Box, like: Box) -> Box:
    """`box` moved, but with the size of `like`: sizes extrapolate badly, positions well."""
    cx, cy = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    w, h = like[2] - like[0], like[3] - like[1]
    return (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
