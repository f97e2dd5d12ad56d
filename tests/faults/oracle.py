"""The checker: did a face leave that nobody honestly allowed to be seen?

Independent of the product's bookkeeping. It knows the scene behind every frame, what travelled on the
wire and when, and the output pixels. A face has leaked when its texture can be found in the output
though its person held no lease that an honest answer gave, or though the frame was to be veiled in full.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_node.frames import MaskedFrame, ReleaseReason
from protocol.messages import FaceDecision, Revoke
from tests.faults.world import HEIGHT, WIDTH, Face, Person, Scene, World, overlap
from vision.detections import Image

FOUND = 0.35
"""Correlation of texture and output above which a face counts as seen. Fully exposed it is 0.7; the
standard deviation by chance is 0.06 for the smallest counted face."""
SHOWN = 0.6
"""A face that is as clear as this is shown, not only found at its rim."""
PARTLY_SHOWN = 0.42
"""A face that is as clear as this is shown, and a neighbor's veil covers some of it."""
INNER = 0.15
"""What is left out at each side of a face: rim, hair, background."""
MIN_PIXELS = 150
MIN_VISIBLE = 0.5
"""Faces of which less can be seen in the source, in pixels or as a share, are not counted."""
MAX_ANSWER_S = 2.0
"""A later answer must not show anybody (promised in docs/protocol.md)."""
MAX_LEASE_S = 10.0
SILENCE_S = 3.0
"""A hub that was not heard for this long is gone, and so is what it allowed."""
SLACK_S = 0.02
LOOKBACK_S, SHORT_LOOKBACK_S = 0.06, 0.03
"""A face is veiled backwards if the first analysis that is so much later than the frame finds it, or one
before. The second holds for whoever appears within reach of a known face while nothing else changes..."""
BESIDE, ABOVE, BELOW = 1.0, 0.75, 3.5
"""... in that face's sizes, somewhat more than the node's own."""
LOOKBACK_BY_S = 0.48
"""So long a frame waits for such an analysis."""
COAST_S, COAST_NEW_S = 0.7, 0.3
"""How long a face that no detector sees must stay covered: seen steadily before and by itself, or only
just found, or lost behind another. Both lie within the product's own settings."""
ALONE_OVERLAP = 0.2
"""A face that shares more than this of the smaller box with another may be lost behind it."""
DOUBTFUL_OVERLAP = 0.1
"""A shown face that shares more than this of the smaller box with a veiled one is in doubt."""


@dataclass(frozen=True, slots=True)
class Question:
    person: int | None
    """Whom the crop shows, as an honest hub sees it."""
    track: int
    asked_at: float
    shot: int
    """Of the latest frame when it was asked."""


@dataclass(slots=True)
class Grant:
    asked_at: float
    until: float
    shot: int


@dataclass(frozen=True, slots=True)
class Look:
    """One analysis that succeeded."""

    at: float
    shot: int
    reported: frozenset[tuple[int, int]]
    """(person, epoch) of the faces that the detector reported."""
    sure: frozenset[tuple[int, int]]
    """Those of them without a low score."""
    found: frozenset[tuple[int, int]]
    """Those of them that it had, though it may not have looked at the whole picture."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A face that left bare, when no detector had seen it yet."""

    frame: MaskedFrame
    face: Face
    shot: int
    lookback_s: float
    clearness: float


@dataclass(frozen=True, slots=True)
class Leak:
    at: float
    seq: int
    person: int
    kind: str
    correlation: float


@dataclass(slots=True)
class Tally:
    """What one run amounted to."""

    face_frames: int = 0
    shown: int = 0
    fully_veiled: int = 0
    failed: int = 0
    """Of these, because a part of the node raised."""
    frames: int = 0
    uncounted: int = 0
    """Face-frames that no detector could have known of."""
    backwards: int = 0
    """Face-frames veiled before any detector had seen the face."""
    calm: int = 0
    """Analyses in which nobody can have come into view, as the node says."""
    leaks: list[Leak] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """Broken promises other than a leak: a frame lost, doubled or out of order."""


class Account:
    """Who may be seen because of what an honest hub said."""

    def __init__(self) -> None:
        self._questions: dict[int, Question] = {}
        self._answered_up_to: dict[int, float] = {}
        self._grants: dict[int, list[Grant]] = {}
        self._void_before = float("-inf")
        self._heard_at = float("-inf")

    def asked(self, seq: int, question: Question) -> None:
        self._questions[seq] = question

    def heard(self, at: float) -> None:
        """A message of the hub reached the node."""
        if at - self._heard_at > SILENCE_S + SLACK_S:
            self.voided(at)
        self._heard_at = at

    def voided(self, at: float) -> None:
        """Nothing that was said or asked before holds: a new session, or everyone is to be veiled."""
        self._void_before = at
        self._grants.clear()

    def decided(self, decision: FaceDecision, identity_of: dict[str, int], at: float) -> None:
        """A decision reached the node. It counts for the person it was asked for, once, in time."""
        question = self._questions.get(decision.seq)
        if question is None or question.track != decision.track or question.person is None:
            return
        del self._questions[decision.seq]
        is_current = question.asked_at >= self._void_before and at - question.asked_at <= MAX_ANSWER_S
        newest = self._answered_up_to.get(question.person, float("-inf"))
        if not is_current or question.asked_at < newest:
            return
        self._answered_up_to[question.person] = question.asked_at
        if not decision.reveal:
            self._grants.pop(question.person, None)
        elif identity_of.get(decision.identity) == question.person:
            until = question.asked_at + min(decision.lease_s, MAX_LEASE_S)
            grant = Grant(question.asked_at, until, question.shot)
            self._grants.setdefault(question.person, []).append(grant)

    def revoked(self, revoke: Revoke, identity_of: dict[str, int], at: float) -> None:
        if not revoke.identities and not revoke.tracks:
            self.voided(at)
            return
        # Answers under way may have been given before: none of them counts.
        self._questions = {s: q for s, q in self._questions.items() if q.asked_at > at}
        for identity in revoke.identities:
            self._grants.pop(identity_of[identity], None)

    def allows(self, person: int, shot: int, at: float) -> bool:
        if at > self._heard_at + SILENCE_S + SLACK_S:
            return False
        grants = [g for g in self._grants.get(person, []) if at < g.until]
        self._grants[person] = grants
        return any(g.shot == shot for g in grants)


class Oracle:
    """Checks every frame that leaves. Implements the sink's port."""

    def __init__(self, world: World, account: Account, may_be_calm: bool = False) -> None:
        """may_be_calm: the node can tell scenes in which nothing changes."""
        self._may_be_calm = may_be_calm
        self._unknown: list[Unknown] = []
        self._world = world
        self._account = account
        self._inner = [_Inner.of(person) for person in world.people]
        self._sources: dict[int, tuple[Scene, NDArray[np.uint8]]] = {}
        self._looks: list[Look] = []
        self._last_seq = -1
        self.now = 0.0
        self.tally = Tally()
        self.waits_for: tuple[int, float] | None = None
        """(person, since): how long until this person is shown again is to be measured."""
        self.recovered_in: float | None = None

    def captured(self, seq: int, scene: Scene, owner: NDArray[np.uint8]) -> None:
        self._sources[seq] = (scene, owner)

    def analyzed(self, look: Look) -> None:
        """An analysis succeeded. What left before it, and should have waited for it, has leaked."""
        self._looks.append(look)
        for unknown in self._unknown:
            if unknown.shot == look.shot and (unknown.face.person, unknown.face.epoch) in look.found:
                self._leak(unknown.frame, unknown.face, "before the look-back was over", unknown.clearness)
        self._unknown = [u for u in self._unknown if look.at < u.frame.captured_at + u.lookback_s]

    def push(self, frame: MaskedFrame) -> None:
        """A frame left at `self.now`."""
        if frame.reason is ReleaseReason.NO_SOURCE:
            return  # a notice has no captured frame behind it
        if frame.seq <= self._last_seq:
            self.tally.faults.append(f"frame {frame.seq} left after {self._last_seq}")
        self._last_seq = frame.seq
        self.tally.frames += 1
        scene, owner = self._sources[frame.seq]
        for old in [s for s in self._sources if s < frame.seq - 80]:
            del self._sources[old]
        if frame.fully_veiled:
            self._check_full(frame, scene, owner)
        else:
            self._check_covered(frame, scene, owner)

    def close(self) -> None: ...

    def _check_full(self, frame: MaskedFrame, scene: Scene, owner: NDArray[np.uint8]) -> None:
        self.tally.fully_veiled += 1
        self.tally.failed += frame.reason is ReleaseReason.FAULT
        for face in scene.faces:
            clearness = self._clearness(frame.image, face, owner)
            if clearness is None:
                continue
            self.tally.face_frames += 1
            if clearness > FOUND:
                self._leak(frame, face, "in a frame veiled in full", clearness)
        if frame.seq % 16 == 0 and likeness(frame.image, self._world.background(scene.shot)) > 0.3:
            self.tally.faults.append(f"frame {frame.seq} is called fully veiled and shows its picture")

    def _check_covered(self, frame: MaskedFrame, scene: Scene, owner: NDArray[np.uint8]) -> None:
        visible: list[Face] = []
        partly: list[Face] = []
        veiled: list[Face] = []
        for face in scene.faces:
            clearness = self._clearness(frame.image, face, owner)
            if clearness is None:
                continue
            allowed = self._account.allows(face.person, scene.shot, self.now)
            is_known = self._counts(face, scene, frame.captured_at)
            if not allowed and not is_known and self._note_unknown(frame, face, scene, clearness):
                continue
            self.tally.face_frames += 1
            if not allowed and clearness > FOUND:
                self._leak(frame, face, "without a lease", clearness)
            elif clearness > SHOWN:
                visible.append(face)
                self._check_doubt(frame, face, is_known, clearness)
            elif clearness > PARTLY_SHOWN:
                partly.append(face)
            elif clearness <= FOUND and self._is_covered(face, frame.captured_at):
                veiled.append(face)
        for face in visible + partly:
            if any(overlap(face.box, other.box) > DOUBTFUL_OVERLAP for other in veiled):
                self._leak(frame, face, "shown across a veiled face", 1.0)
        self.tally.shown += len(visible)
        self._note_recovery(frame, {f.person for f in visible})

    def _note_unknown(self, frame: MaskedFrame, face: Face, scene: Scene, clearness: float) -> bool:
        """Remember a face that no analysis had seen, up to the one that covers the frame; one of those after
        it may. True where it does not count, for now."""
        if clearness <= FOUND:
            self.tally.uncounted += 1
            self.tally.backwards += 1
            return True
        is_near = self._may_be_calm and self._is_within_reach(face, scene)
        lookback_s = SHORT_LOOKBACK_S if is_near else LOOKBACK_S
        key = face.person, face.epoch
        for look in self._looks:
            if look.at < frame.captured_at or look.shot != scene.shot:
                continue
            if key in look.found:
                return False
            if look.at >= frame.captured_at + lookback_s:
                break
        else:
            if self.now - frame.captured_at < LOOKBACK_BY_S:
                self._unknown.append(Unknown(frame, face, scene.shot, lookback_s, clearness))
        self.tally.uncounted += 1
        return True

    def _is_within_reach(self, face: Face, scene: Scene) -> bool:
        """All of the face lies where others who were there before may move without being noticed."""
        moves = np.zeros((HEIGHT, WIDTH), np.bool_)
        for other in scene.faces:
            if other is not face:
                x1, y1, x2, y2 = other.box
                width, height = x2 - x1, y2 - y1
                top, left = max(0, int(y1 - ABOVE * height)), max(0, int(x1 - BESIDE * width))
                moves[top : int(y2 + BELOW * height) + 1, left : int(x2 + BESIDE * width) + 1] = True
        x1, y1, x2, y2 = (max(0, int(v)) for v in face.box)
        return bool(moves[y1:y2, x1:x2].all())

    def _check_doubt(self, frame: MaskedFrame, face: Face, is_known: bool, clearness: float) -> None:
        """A face may be shown only where the covering analysis saw it, and surely. One that no detector
        has seen at all is beyond the node's knowledge."""
        cover = self._cover(frame.captured_at)
        if is_known and (cover is None or (face.person, face.epoch) not in cover.sure):
            self._leak(frame, face, "shown though its detector was not sure", clearness)

    def _is_covered(self, face: Face, captured_at: float) -> bool:
        """The analysis under which the frame leaves saw this face, so the node knows where it is."""
        cover = self._cover(captured_at)
        return cover is not None and (face.person, face.epoch) in cover.reported

    def _note_recovery(self, frame: MaskedFrame, visible: set[int]) -> None:
        if self.waits_for is None:
            return
        person, since = self.waits_for
        if person in visible and frame.captured_at >= since:
            self.recovered_in = self.now - since
            self.waits_for = None

    def _counts(self, face: Face, scene: Scene, captured_at: float) -> bool:
        """The detector saw this face: in the analysis that covers the frame, or a short while ago."""
        key = (face.person, face.epoch)
        cover = self._cover(captured_at)
        if cover is not None and cover.shot == scene.shot and key in cover.reported:
            return True
        before = [key in k.reported for k in self._looks if k.at <= captured_at]
        if not any(before):
            return False
        last = len(before) - 1 - before[::-1].index(True)
        is_well_known = last >= 3 and all(before[last - 3 : last + 1])
        is_alone = not any(
            other is not face and overlap(face.box, other.box) > ALONE_OVERLAP for other in scene.faces
        )
        patience_s = COAST_S if is_well_known and is_alone else COAST_NEW_S
        return captured_at - self._looks[last].at <= patience_s

    def _cover(self, captured_at: float) -> Look | None:
        """The analysis under which a frame leaves."""
        while len(self._looks) > 1 and self._looks[1].at < captured_at - 1.0:
            self._looks.pop(0)
        return next((k for k in self._looks if k.at >= captured_at), None)

    def _clearness(self, output: Image, face: Face, owner: NDArray[np.uint8]) -> float | None:
        """Correlation of the face's texture with the output, over the inner pixels that show it in the
        source; None where there are too few."""
        inner = self._inner[face.person]
        top, left = face.top + inner.rows.start, face.left + inner.columns.start
        bottom, right = face.top + inner.rows.stop, face.left + inner.columns.stop
        x1, x2, y1, y2 = max(0, left), min(WIDTH, right), max(0, top), min(HEIGHT, bottom)
        if (x2 - x1) * (y2 - y1) < MIN_PIXELS or x1 >= x2:
            return None
        own = owner[y1:y2, x1:x2] == face.person
        shown = output[y1:y2, x1:x2, 1]
        if own.size == inner.texture.size and own.all():  # most faces, at a third of the cost
            return likeness(shown, inner.texture)
        texture = inner.texture[y1 - top : y2 - top, x1 - left : x2 - left][own]
        if texture.size < max(MIN_PIXELS, MIN_VISIBLE * inner.texture.size):
            return None
        return likeness(shown[own], texture)

    def _leak(self, frame: MaskedFrame, face: Face, kind: str, correlation: float) -> None:
        self.tally.leaks.append(Leak(self.now, frame.seq, face.person, kind, round(correlation, 2)))


@dataclass(frozen=True, slots=True)
class _Inner:
    """The part of a face that is looked for."""

    rows: slice
    columns: slice
    texture: NDArray[np.float32]

    @classmethod
    def of(cls, person: Person) -> _Inner:
        dy, dx = round(INNER * person.height), round(INNER * person.width)
        rows, columns = slice(dy, person.height - dy), slice(dx, person.width - dx)
        return cls(rows, columns, person.noise[rows, columns])


def likeness(a: NDArray[np.generic], b: NDArray[np.generic]) -> float:
    """Correlation of two sets of values."""
    x = a.astype(np.float32).ravel()
    y = b.astype(np.float32).ravel()
    x -= np.add.reduce(x) / x.size
    y -= np.add.reduce(y) / y.size
    return float(x @ y) / max(1e-3, math.sqrt(float(x @ x) * float(y @ y)))
