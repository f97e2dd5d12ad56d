"""What the looks of one track say together: a fused probe, agreement, contradiction. Pure.

Owned by `hub.recognizer`. A reveal needs the quality-weighted mean of the last N looks to be one person with
threshold and margin, and K of the looks to agree by themselves; one look at someone else ends it (promise 6).
The threshold rises with the number of people enrolled. Nobody is in one picture twice: `rivals` finds the
other faces of a camera that are proven to be the same person.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import is_
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hub.gallery import Candidate

Probe = NDArray[np.float32]
TrackKey = tuple[str, bytes, int]
"""Node, session, track."""

MIN_WEIGHT = 0.01
MIN_LENGTH = 1e-6
"""Of a mean: shorter than that, its looks cancel each other."""
MAX_TRACKS = 4_096
"""Tracks remembered; the one not looked at for longest is forgotten (and veiled)."""
FORGET_S = 30.0
"""A track without a look for this long has left."""


@dataclass(frozen=True, slots=True)
class EvidenceSettings:
    """K of N, and the model's threshold and margin."""

    threshold: float
    """With one person enrolled..."""
    margin: float
    k: int = 2
    n: int = 5
    per_tenfold: float = 0.0
    """... and how much more it takes for each tenfold of them."""
    vote_slack: float = 0.02
    """A single look agrees with the mean from this far below the threshold on: it says less than the mean,
    of which all is asked."""
    contradiction: float = 0.05
    """A look whose similarity to the person shown is this far below the threshold of a gallery of one ends
    the reveal."""
    stranger_gap: float = 0.05
    """Someone is proven to be nobody of the gallery only this far below the threshold."""


class Finding(NamedTuple):
    """Who the track is, as far as can be told."""

    identity: str
    """Empty where nobody is proven."""
    similarity: float = 0.0
    margin: float = 0.0
    reason: str = ""
    is_stranger: bool = False
    """Proven to be nobody of the gallery: enough looks, all of them clearly unlike everyone."""


@dataclass(slots=True)
class _Look:
    probe: Probe
    quality: float
    vote: str
    best: float
    """Similarity to the closest person."""


@dataclass(eq=False, slots=True)
class Foreseen:
    """What the looks of a track will say together with its next one, if nothing happens to it before."""

    before: tuple[_Look, ...]
    probe: Probe
    """Their mean, of length 1."""
    candidates: Sequence[Candidate] = ()
    """To be put here by whoever searches for the probe."""


@dataclass(slots=True)
class _TrackEvidence:
    looks: deque[_Look]
    first_at: float
    seen_at: float
    proven: str = ""
    similarity: float = 0.0
    """Of the proof."""


@dataclass(slots=True)
class EvidenceBook:
    """All tracks of all nodes."""

    settings: EvidenceSettings
    people: int = 1
    """In the gallery; set by the recognizer with each snapshot."""
    _tracks: OrderedDict[TrackKey, _TrackEvidence] = field(default_factory=OrderedDict)
    _of_session: dict[tuple[str, bytes], dict[TrackKey, None]] = field(default_factory=dict)
    """The same by camera: with hundreds of them, rivals are not looked for among all."""

    def __len__(self) -> int:
        return len(self._tracks)

    @property
    def threshold(self) -> float:
        """In force among the people of the gallery."""
        return self.settings.threshold + self.settings.per_tenfold * math.log10(max(1, self.people))

    def foresee(self, asked: Sequence[tuple[TrackKey, Probe, float]]) -> list[Foreseen | None]:
        """For looks to come (track, probe, quality) what may be searched for together, in one go; None where
        there is nothing to search for besides the probe itself. Nothing is taken in."""
        found: list[Foreseen | None] = [None] * len(asked)
        rows: list[Probe] = []
        weights: list[float] = []
        starts: list[int] = []
        numbers: list[int] = []
        for number, (key, probe, quality) in enumerate(asked):
            track = self._tracks.get(key)
            if track is None or not track.looks:
                continue
            before = tuple(track.looks)[-(self.settings.n - 1) :] if self.settings.n > 1 else ()
            starts.append(len(rows))
            numbers.append(number)
            rows += [look.probe for look in before]
            rows.append(probe)
            weights += [look.quality for look in before]
            weights.append(max(quality, MIN_WEIGHT))
            found[number] = Foreseen(before, probe)
        if not numbers:
            return found
        # Not np.stack, which looks at each row twice: there are some hundred.
        weighed = np.concatenate(rows).reshape(len(rows), -1) * np.array(weights, np.float32)[:, None]
        sums = np.add.reduceat(weighed, starts, axis=0)
        lengths = np.sqrt(np.einsum("ij,ij->i", sums, sums))
        totals = np.add.reduceat(np.array(weights), starts)
        for number, total, length, row in zip(numbers, totals.tolist(), lengths.tolist(), sums, strict=True):
            foreseen = found[number]
            if foreseen is not None and length >= MIN_LENGTH * total:
                foreseen.probe = row / np.float32(length)
            else:
                found[number] = None
        return found

    def look(
        self, key: TrackKey, probe: Probe, quality: float, now: float,
        identify: Callable[[Probe], Sequence[Candidate]], foreseen: Foreseen | None = None,
    ) -> Finding:  # fmt: skip
        """Take in a look at a track: probe (D,) of length 1, quality in 0..1. foreseen: what `foresee` said
        of it, with candidates; used only if it still holds."""
        self._forget_old(now)
        track = self._tracks.pop(key, None) or _TrackEvidence(deque(maxlen=self.settings.n), now, now)
        self._tracks[key] = track
        self._of_session.setdefault(key[:2], {})[key] = None
        track.seen_at = now
        candidates, threshold = identify(probe), self.threshold
        vote = self._vote(candidates, threshold)
        if track.proven and self._contradicts(track.proven, vote, candidates):
            self.unprove(key)
        best = candidates[0].similarity if candidates else 0.0
        track.looks.append(_Look(probe, max(quality, MIN_WEIGHT), vote, best))
        if len(track.looks) == 1:  # the mean of one is itself
            fused: Sequence[Candidate] | None = candidates
        else:
            fused = foreseen.candidates if foreseen is not None and _holds(foreseen, track.looks) else None
        finding = self._judge(track, identify, fused, threshold)
        track.proven, track.similarity = finding.identity, finding.similarity
        return finding

    def rivals(self, key: TrackKey, within_s: float) -> list[tuple[TrackKey, float]]:
        """The other tracks of the camera that are proven to be the same person, with their similarity.

        A rival is in the picture at the same time: it was looked at within `within_s` before this track's
        last look, and after its first one. A track that ended before this one began is no rival: the
        person was lost and found again.
        """
        own = self._tracks.get(key)
        if own is None or not own.proven:
            return []
        since = max(own.first_at, own.seen_at - within_s)
        others = ((other, self._tracks[other]) for other in self._of_session[key[:2]] if other != key)
        return [
            (other, track.similarity)
            for other, track in others
            if track.proven == own.proven and track.seen_at >= since
        ]

    def unprove(self, key: TrackKey) -> None:
        """The track is nobody until it is proven from nothing."""
        track = self._tracks.get(key)
        if track is not None:
            track.looks.clear()
            track.proven, track.similarity = "", 0.0

    def proven(self, identity: str) -> list[TrackKey]:
        """The tracks that are proven to be this identity."""
        return [key for key, track in self._tracks.items() if track.proven == identity]

    def forget(self, key: TrackKey) -> None:
        """The track starts from nothing."""
        if self._tracks.pop(key, None) is not None:
            those = self._of_session[key[:2]]
            del those[key]
            if not those:
                del self._of_session[key[:2]]

    def forget_session(self, node: str, session: bytes) -> None:
        """The node's session is over."""
        for key in self._of_session.pop((node, session), ()):
            del self._tracks[key]

    def clear(self) -> None:
        """The gallery changed: votes given before compare with people who may be gone."""
        self._tracks.clear()
        self._of_session.clear()

    def _vote(self, candidates: Sequence[Candidate], threshold: float) -> str:
        return self._accepted(candidates, threshold - self.settings.vote_slack).identity

    def _accepted(self, candidates: Sequence[Candidate], threshold: float) -> Finding:
        if not candidates:
            return Finding("", reason="nobody is enrolled")
        best = candidates[0]
        # With nobody to compare with, the margin is to a similarity of zero.
        second = candidates[1].similarity if len(candidates) > 1 else 0.0
        margin = best.similarity - second
        if best.similarity < threshold:
            return Finding("", best.similarity, margin, "not similar enough to anyone")
        if margin < self.settings.margin:
            return Finding("", best.similarity, margin, "two people are about equally similar")
        return Finding(best.identity, best.similarity, margin)

    def _contradicts(self, proven: str, vote: str, candidates: Sequence[Candidate]) -> bool:
        if vote and vote != proven:
            return True
        similarity = next((c.similarity for c in candidates if c.identity == proven), 0.0)
        # Not of the threshold in force: that rises with the gallery, but not how unlike oneself one may look.
        return similarity < self.settings.threshold - self.settings.contradiction

    def _judge(
        self,
        track: _TrackEvidence,
        identify: Callable[[Probe], Sequence[Candidate]],
        candidates: Sequence[Candidate] | None,
        threshold: float,
    ) -> Finding:
        """candidates: those of the mean of the looks, where that was searched for."""
        if candidates is None:
            mean = _mean(track.looks)
            if mean is None:
                return Finding("", reason="the looks disagree")
            candidates = identify(mean)
        fused = self._accepted(candidates, threshold)
        if not fused.identity:
            limit = threshold - self.settings.stranger_gap
            closest = max(fused.similarity, *(look.best for look in track.looks))
            is_stranger = len(track.looks) >= self.settings.k and closest < limit
            return Finding("", fused.similarity, fused.margin, fused.reason, is_stranger)
        votes = [look.vote for look in track.looks]
        agreeing = votes.count(fused.identity)
        if agreeing < self.settings.k:
            return Finding("", fused.similarity, fused.margin, f"{agreeing} of {self.settings.k} looks agree")
        if agreeing + votes.count("") < len(votes):
            return Finding("", fused.similarity, fused.margin, "the looks disagree")
        return fused

    def _forget_old(self, now: float) -> None:
        while self._tracks:
            key, track = next(iter(self._tracks.items()))
            if len(self._tracks) < MAX_TRACKS and now - track.seen_at < FORGET_S:
                return
            self.forget(key)


def _mean(looks: Sequence[_Look]) -> Probe | None:
    """Weighed by quality, of length 1; None where the looks cancel each other."""
    weights = np.array([look.quality for look in looks], np.float32)
    mean = (weights / weights.sum()) @ np.stack([look.probe for look in looks])
    length = math.sqrt(float(mean @ mean))
    return np.asarray(mean / length, np.float32) if length >= MIN_LENGTH else None


def _holds(foreseen: Foreseen, looks: Sequence[_Look]) -> bool:
    """The looks are those that were foreseen, and one more."""
    if len(looks) != len(foreseen.before) + 1:
        return False
    return all(map(is_, foreseen.before, looks))
