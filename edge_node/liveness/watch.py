"""Watches the faces that could be asked about, and takes the trust from those that look held up.

Pure: a picture, the tracker's observations and `now` in, observations out. Owned by the analysis thread
(`edge_node.analysis`). A face in doubt is veiled, and the hub is not asked about it (promise 4). Suspicion
belongs to a path; a path that begins where a suspected one has just ended inherits it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from edge_node.liveness.motion import Gray, Patch, Vector, compare, scene_shift, take_patch, thumbnail_of
from edge_node.liveness.suspicion import Suspicion
from edge_node.liveness.texture import screen_pattern
from edge_node.tracking.track import Box, Observation
from vision.detections import Image
from vision.geometry import iou_matrix

MIN_FACE_PX = 32.0
"""Smaller faces are never asked about."""
WATCH_S = 0.7
"""A face is shown after this time at the earliest: a sheet that moves is found out by then."""
SOON_S, MOVED = 0.16, 0.025
"""Two looks are compared after this time where the face moved by so many boxes..."""
LATE_S = 0.5
"""... or after this time in any case."""
STALE_S = 1.0
"""Looks further apart than this are not compared: too much has changed."""
PATTERN_EVERY = 3
"""Comparisons for each look at the pattern: it does not change."""
CALM, CALM_S = 0.1, 0.32
"""While suspicion is below this, a face that is shown already is looked at no more often than this."""
REMEMBER_S = 3.0
"""A suspected face that is gone is remembered for this long where it was."""
SAME_PLACE = 0.2
"""A face that overlaps a remembered place by this much (IoU) inherits the suspicion."""
MAX_REMEMBERED = 16


@dataclass(slots=True)
class _Watched:
    suspicion: Suspicion
    track: int
    box: Box
    since: float
    patch: Patch | None = None
    compared: int = 0
    has_passed: bool = False
    """Watched for long enough, without much suspicion: may be shown."""


@dataclass(frozen=True, slots=True)
class _Remembered:
    value: float
    box: Box
    at: float


class _Scene:
    """One picture, and what is computed of it once for all of its faces, where any face needs it."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self._thumbnail: Gray | None = None
        self._moved: dict[float, Vector] = {}

    def thumbnail(self) -> Gray:
        if self._thumbnail is None:
            self._thumbnail = thumbnail_of(self.image)
        return self._thumbnail

    def moved_since(self, before: Patch) -> Vector:
        """(2,) pixels."""
        if before.at not in self._moved:
            self._moved[before.at] = scene_shift(before.thumbnail, self.thumbnail(), self.image.shape[1])
        return self._moved[before.at]


class LivenessWatch:
    """`limit`: suspicion from which a face counts as held up."""

    def __init__(self, limit: float = 0.6) -> None:
        self._limit = limit
        self._watched: dict[int, _Watched] = {}
        self._remembered: list[_Remembered] = []

    @property
    def suspected(self) -> int:
        """Faces in view that count as held up."""
        return sum(w.suspicion.is_suspected for w in self._watched.values())

    def suspicion(self, path: int) -> float:
        """Of a path, 0..1; 0 for one that is not watched."""
        watched = self._watched.get(path)
        return 0.0 if watched is None else watched.suspicion.value

    def reset(self) -> None:
        """The shot changed: nothing carries over."""
        self._watched.clear()
        self._remembered.clear()

    def judge(self, image: Image, observations: Iterable[Observation], now: float) -> tuple[Observation, ...]:
        """The same observations, without trust in those that look held up. image: (H, W, 3) BGR."""
        seen = tuple(observations)
        self._forget({o.path for o in seen}, now)
        faces = [o for o in seen if o.trusted and _side(o.box_xyxy) >= MIN_FACE_PX]
        scene = _Scene(image)
        for face in faces:
            self._look(scene, face, now)
        return tuple(self._judged(o, now) for o in seen)

    def _judged(self, o: Observation, now: float) -> Observation:
        watched = self._watched.get(o.path)
        if watched is None:
            return o
        is_young = now - watched.since < WATCH_S
        is_doubtful = not watched.has_passed and watched.suspicion.value >= self._limit / 2
        watched.has_passed = watched.has_passed or not (is_young or is_doubtful)
        if watched.has_passed and not watched.suspicion.is_suspected:
            return o
        return Observation(
            path=o.path, track=o.track, state=o.state, evidence=o.evidence, box_xyxy=o.box_xyxy,
            score=o.score, unseen_s=o.unseen_s, trusted=o.trusted and not watched.suspicion.is_suspected,
            landmarks=o.landmarks, watched=watched.has_passed, sure=o.sure,
        )  # fmt: skip

    def _look(self, scene: _Scene, face: Observation, now: float) -> None:
        watched = self._watched.get(face.path)
        if watched is None:
            watched = self._watched[face.path] = self._begin(face, now)
        if watched.track != face.track:
            watched.track, watched.patch, watched.since, watched.has_passed = face.track, None, now, False
            watched.suspicion.forget_motion()
        watched.box = face.box_xyxy
        before = watched.patch
        passed_s = now - before.at if before is not None else 0.0
        if before is not None and passed_s <= STALE_S:
            is_calm = watched.has_passed and watched.suspicion.value < CALM
            soon_s = CALM_S if is_calm else SOON_S
            is_due = passed_s >= soon_s and _moved(before.box, face.box_xyxy) > MOVED
            if not is_due and passed_s < LATE_S:
                return
            motion = compare(before, scene.image, face.box_xyxy, scene.moved_since(before))
            if motion is not None:
                watched.compared += 1
                is_turn = watched.compared % PATTERN_EVERY == 1
                pattern = screen_pattern(scene.image, face.box_xyxy) if is_turn else None
                watched.suspicion.take(motion, passed_s, pattern)
        watched.patch = take_patch(scene.image, face.box_xyxy, scene.thumbnail(), now)

    def _begin(self, face: Observation, now: float) -> _Watched:
        suspicion = Suspicion(self._limit)
        place = np.array([face.box_xyxy], np.float32)
        for other in self._remembered:
            if float(iou_matrix(place, np.array([other.box], np.float32))[0, 0]) > SAME_PLACE:
                suspicion.value = max(suspicion.value, other.value)
        suspicion.is_suspected = suspicion.value >= self._limit
        return _Watched(suspicion, face.track, face.box_xyxy, now)

    def _forget(self, paths: set[int], now: float) -> None:
        for path in [p for p in self._watched if p not in paths]:
            gone = self._watched.pop(path)
            if gone.suspicion.is_suspected:
                value = max(gone.suspicion.value, self._limit)
                self._remembered.append(_Remembered(value, gone.box, now))
        self._remembered = [r for r in self._remembered if now - r.at <= REMEMBER_S][-MAX_REMEMBERED:]


def _side(box: Box) -> float:
    return min(box[2] - box[0], box[3] - box[1])


def _moved(a: Box, b: Box) -> float:
    """Distance of the centers in boxes."""
    x, y = (b[0] + b[2] - a[0] - a[2]) / 2, (b[1] + b[3] - a[1] - a[3]) / 2
    return float(np.hypot(x / (a[2] - a[0]), y / (a[3] - a[1])))
