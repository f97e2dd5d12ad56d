"""The tracker: detections of one frame after another in, observations with identity out.

Pure and single-threaded; owned by `edge_node.analysis`. A *path* is one moving face. The *track* of
a path is what the hub is asked about; it changes whenever the tracker doubts that the path still
follows the same person (a jump, two faces that crossed), so a lease never outlives a doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_node.tracking.appearance import Signature, difference
from edge_node.tracking.association import REACH, associate
from edge_node.tracking.motion import Motion, to_center
from edge_node.tracking.track import Evidence, Observation, TrackState
from vision.detections import Detections
from vision.geometry import iou_matrix

SAME_FACE = 0.45
"""Two boxes that share more than this of the smaller one are one face."""

SHRINK_PER_S = 0.5
"""A head does not shrink faster than to this share in a second, whatever hides its face..."""
MAX_HIDDEN = 1.6
"""... but a box is never taken for less than 1 / this of a face: it may have been too large before."""

SAME_SEARCH = 0.7
"""A weaker box of which more than this lies in a face seen at the same frame is a part of that face. MTCNN
says so itself of the boxes of one search, but the parts of a search are made at different frames."""

APPEARANCE_JUMP = 0.7
"""Of 585 pairs of successive looks at one face in the clips one differs more; of pairs of people half do."""
Look = Callable[[NDArray[np.float32]], Signature]
"""The signature of a box (4,) of the frame at hand."""


@dataclass(frozen=True, slots=True)
class TrackerSettings:
    """Times in seconds, scores in 0..1, ratios in face sizes."""

    min_score: float = 0.6
    """Detections below are nothing."""
    min_found_score: float = 0.14
    """A veil-only detection starts a path from this score on; any continues one."""
    young_reach: float = 1.6
    """A face seen once or twice has no known speed: it may be this many sizes from where it was."""
    trust_score: float = 0.9
    """Below, a face is veiled but neither asked about nor shown..."""
    keep_score: float = 0.8
    """... except from this score on, for..."""
    keep_s: float = 0.12
    """... so long after the last sight that was trusted: a score dips for a frame or two in a turn."""
    confirm_hits: int = 2
    """Analyses that must see a face before the hub is asked about it."""
    coast_s: float = 1.0
    """A lost face is veiled on along its motion for this long..."""
    coast_tentative_s: float = 0.3
    """... and for this long where it had been seen only once or twice..."""
    coast_unsure_s: float = 0.2
    """... and for this long where no detector was ever as sure of it as..."""
    sure_score: float = 0.5
    """... this, and MTCNN as sure as..."""
    sure_mtcnn_score: float = 0.8
    """... this. Most of what stays below both is no face: hands, ears, ornaments."""
    crossing_iou: float = 0.15
    """Two faces that overlap more than this may have swapped when they part."""
    jump: float = 0.6
    """A fresh box further from its prediction than this many face sizes is a suspected switch."""
    appearance_jump: float = APPEARANCE_JUMP
    """A face whose look differs more than this from its last one is a suspected switch."""
    reprove_after_s: float = 0.4
    """Whoever was not seen for longer than this may be somebody else now."""


@dataclass(slots=True)
class _Path:
    path: int
    track: int
    motion: Motion
    seen_at: float
    score: float
    evidence: Evidence
    landmarks: NDArray[np.float32] | None
    extent: NDArray[np.float64]
    """(2,) width and height that the head may have, whatever part of it is seen."""
    hits: int = 1
    is_sure: bool = False
    """A detector was once sure that it is a face."""
    sure_at: float = float("-inf")
    """When it last had a score that is trusted."""
    crossed_with: set[int] = field(default_factory=set)
    signature: Signature | None = None
    """Of the last sight that MTCNN confirmed."""


class Tracker:
    """Follows faces. Call `predict`, let the detector look there, then `step`."""

    def __init__(self, settings: TrackerSettings | None = None) -> None:
        self._settings = settings or TrackerSettings()
        self._paths: list[_Path] = []
        self._next_path = 1
        self._next_track = 1

    def predict(self, now: float) -> NDArray[np.float32]:
        """(T, 4) pixels: where the live paths are expected at `now`, in the order `step` expects. They are
        carried there; `step` for the same `now` finds nothing left to carry."""
        for path in self._paths:
            path.motion = path.motion.predict(now)
        return np.array([p.motion.box_xyxy for p in self._paths], np.float32).reshape(-1, 4)

    def reset(self) -> None:
        """Forget all paths (the shot changed). Ids go on."""
        self._paths.clear()

    def step(
        self,
        now: float,
        refined: Detections,
        scanned: Detections | None,
        found: Detections | None = None,
        look: Look | None = None,
    ) -> tuple[Observation, ...]:
        """Advance to the frame captured at `now`.

        refined: one row for each box of `predict(now)`; score 0 where nothing was confirmed.
        scanned: the faces of a full scan, or None where none was made.
        found: the faces of the veil-only detector, where there is one.
        look: gives the signature of a box of this frame, so that a sudden change of looks is noticed.
        """
        if len(refined) != len(self._paths):
            raise ValueError(f"{len(self._paths)} paths but {len(refined)} refined boxes")
        for path in self._paths:
            path.motion = path.motion.predict(now)
        fresh: dict[int, tuple[Evidence, int]] = {}
        new: list[int] = []
        if scanned is not None:
            fresh, new = self._match_scan(scanned)
        self._match_refined(refined, fresh, scanned)
        sources = {Evidence.DETECTED: scanned, Evidence.REFINED: refined, Evidence.FOUND: found}
        unclaimed = self._match_found(found, fresh, sources) if found is not None else []
        others: list[tuple[Detections, int, Evidence]] = []
        for row, path in enumerate(self._paths):
            if row in fresh:
                evidence, index = fresh[row]
                source = sources[evidence]
                assert source is not None
                if path.evidence is Evidence.COASTED and self._has_jumped(path, source.boxes_xyxy[index]):
                    # Perhaps somebody else: whoever was lost here is veiled on, this one is new.
                    self._miss(path)
                    others.append((source, index, evidence))
                    continue
                self._observe(path, source, index, evidence, now)
                if look is not None and evidence is not Evidence.FOUND:
                    self._compare(path, look(source.boxes_xyxy[index]))
            else:
                self._miss(path)
        for source, index, evidence in others:
            self._start(source, index, evidence, now)
        for index in new:
            assert scanned is not None
            if not self._is_part(scanned.boxes_xyxy[index], float(scanned.scores[index]), now):
                self._start(scanned, index, Evidence.DETECTED, now)
        for index in unclaimed:
            assert found is not None
            if not self._is_followed(found.boxes_xyxy[index], now):
                self._start(found, index, Evidence.FOUND, now)
        self._paths = [p for p in self._paths if now - p.seen_at <= self._patience(p)]
        self._note_crossings()
        return tuple(self._view(p, now) for p in self._paths)

    # --- matching ---------------------------------------------------------------------------

    def _match_scan(self, scanned: Detections) -> tuple[dict[int, tuple[Evidence, int]], list[int]]:
        usable = [int(i) for i in np.flatnonzero(scanned.scores >= self._settings.min_score)]
        boxes = scanned.boxes_xyxy[usable].astype(np.float64)
        predicted = np.array([p.motion.box_xyxy for p in self._paths]).reshape(-1, 4)
        pairs = associate(predicted, boxes, self._reach(self._paths))
        fresh = {row: (Evidence.DETECTED, usable[column]) for row, column in pairs}
        taken = {column for _, column in pairs}
        return fresh, [index for column, index in enumerate(usable) if column not in taken]

    def _match_refined(
        self,
        refined: Detections,
        fresh: dict[int, tuple[Evidence, int]],
        scanned: Detections | None,
    ) -> None:
        """Give each path that the scan left open its refined box, unless another path has it."""
        taken = [scanned.boxes_xyxy[i] for _, i in fresh.values()] if scanned is not None else []
        is_lost = [path.evidence is Evidence.COASTED for path in self._paths]
        open_rows = [  # a face goes to the path that has it rather than to one that lost another
            row
            for row in np.lexsort((-refined.scores, np.array(is_lost, np.bool_)))
            if row not in fresh and refined.scores[row] >= self._settings.min_score
        ]
        for row in open_rows:
            box = refined.boxes_xyxy[row]
            if taken and iou_matrix(box[None], np.array(taken)).max() > 0.5:
                continue  # two paths on one face: the other one keeps it
            fresh[int(row)] = (Evidence.REFINED, int(row))
            taken.append(box)

    def _match_found(
        self,
        found: Detections,
        fresh: dict[int, tuple[Evidence, int]],
        sources: Mapping[Evidence, Detections | None],
    ) -> list[int]:
        """Give each path that is still open its box of the veil-only detector; what remains may start
        paths of its own."""
        taken = []
        for evidence, index in fresh.values():
            source = sources[evidence]
            assert source is not None
            taken.append(source.boxes_xyxy[index])
        free = list(range(len(found)))
        if taken:
            overlaps = iou_matrix(found.boxes_xyxy, np.array(taken), over="smaller").max(axis=1)
            free = [i for i in free if overlaps[i] <= SAME_FACE]
        open_rows = [row for row in range(len(self._paths)) if row not in fresh]
        predicted = np.array([self._paths[row].motion.box_xyxy for row in open_rows]).reshape(-1, 4)
        reach = self._reach([self._paths[row] for row in open_rows])
        pairs = associate(predicted, found.boxes_xyxy[free].astype(np.float64), reach)
        for row, column in pairs:
            fresh[open_rows[row]] = (Evidence.FOUND, free[column])
        claimed = {free[column] for _, column in pairs}
        enough = self._settings.min_found_score
        return [i for i in free if i not in claimed and found.scores[i] >= enough]

    def _is_followed(self, box: NDArray[np.float32], now: float) -> bool:
        """A path that was seen just now covers this box already."""
        return _lies_in(box, [p for p in self._paths if p.seen_at == now], SAME_FACE)

    def _is_part(self, box: NDArray[np.float32], score: float, now: float) -> bool:
        """The box (4,) of a scan lies in a face that was seen just now, and better."""
        better = [p for p in self._paths if p.seen_at == now and p.score > score]
        return _lies_in(box, better, SAME_SEARCH)

    def _reach(self, paths: Sequence[_Path]) -> NDArray[np.float64]:
        young = self._settings.young_reach
        return np.array([young if p.hits <= self._settings.confirm_hits else REACH for p in paths])

    # --- life of a path ---------------------------------------------------------------------

    def _start(self, source: Detections, index: int, evidence: Evidence, now: float) -> None:
        self._paths.append(
            _Path(
                path=self._next_path,
                track=self._new_track(),
                motion=Motion.start(source.boxes_xyxy[index].astype(np.float64), now),
                seen_at=now,
                score=float(source.scores[index]),
                is_sure=self._is_sure(float(source.scores[index]), evidence),
                evidence=evidence,
                landmarks=source.landmarks[index] if evidence is Evidence.DETECTED else None,
                extent=_extent(source.boxes_xyxy[index]),
            )
        )
        self._next_path += 1

    def _observe(self, path: _Path, source: Detections, index: int, evidence: Evidence, now: float) -> None:
        box = source.boxes_xyxy[index].astype(np.float64)
        if self._has_jumped(path, box) or now - path.seen_at > self._settings.reprove_after_s:
            path.track = self._new_track()
            path.motion = Motion.start(box, now)
        else:
            path.motion = path.motion.update(box)
        seen = _extent(box)
        faded = path.extent * SHRINK_PER_S ** (now - path.seen_at)
        path.extent = np.clip(faded, seen, MAX_HIDDEN * seen)
        path.seen_at = now
        path.score = float(source.scores[index])
        path.evidence = evidence
        path.is_sure = path.is_sure or self._is_sure(path.score, evidence)
        path.landmarks = source.landmarks[index] if evidence is not Evidence.FOUND else None
        path.hits += 1
        if evidence is not Evidence.FOUND and path.score >= self._settings.trust_score:
            path.sure_at = now

    def _has_jumped(self, path: _Path, box_xyxy: NDArray[np.floating]) -> bool:
        """The box (4,) is further from where the path was expected than anybody moves."""
        expected = path.motion.position
        gap = float(np.hypot(*(to_center(box_xyxy.astype(np.float64)) - expected)[:2]))
        return gap > self._settings.jump * max(float(expected[2:].mean()), 1.0)

    def _compare(self, path: _Path, now: Signature) -> None:
        """A face that looks unlike itself a moment ago may be somebody else's: it gets a new track."""
        before, path.signature = path.signature, now
        if before is not None and difference(before, now) > self._settings.appearance_jump:
            path.track = self._new_track()

    def _miss(self, path: _Path) -> None:
        path.evidence = Evidence.COASTED
        path.landmarks = None
        path.motion = path.motion.damped(0.85)

    def _is_sure(self, score: float, evidence: Evidence) -> bool:
        s = self._settings
        return score >= (s.sure_score if evidence is Evidence.FOUND else s.sure_mtcnn_score)

    def _patience(self, path: _Path) -> float:
        s = self._settings
        if not path.is_sure:
            return s.coast_unsure_s
        return s.coast_s if path.hits > s.confirm_hits else s.coast_tentative_s

    def _note_crossings(self) -> None:
        """Two faces that overlapped get new tracks when they part: they may have swapped."""
        boxes = np.array([p.motion.box_xyxy for p in self._paths]).reshape(-1, 4)
        overlaps = iou_matrix(boxes, boxes) > self._settings.crossing_iou
        for row, path in enumerate(self._paths):
            touching = {
                other.path
                for column, other in enumerate(self._paths)
                if column != row and overlaps[row, column]
            }
            if path.crossed_with - touching:
                path.track = self._new_track()
            path.crossed_with = touching

    def _new_track(self) -> int:
        track = self._next_track
        self._next_track += 1
        return track

    def _view(self, path: _Path, now: float) -> Observation:
        s = self._settings
        is_fresh = path.evidence is not Evidence.COASTED
        if not is_fresh:
            state = TrackState.LOST
        elif path.hits >= s.confirm_hits:
            state = TrackState.CONFIRMED
        else:
            state = TrackState.TENTATIVE
        # MTCNN's box is the face's; the others may hold only the part of it that is seen.
        is_exact = path.evidence in (Evidence.DETECTED, Evidence.REFINED)
        box = path.motion.box_xyxy if is_exact else _at_least(path.motion.box_xyxy, path.extent)
        x1, y1, x2, y2 = (float(v) for v in box)
        return Observation(
            path=path.path,
            track=path.track,
            state=state,
            evidence=path.evidence,
            box_xyxy=(x1, y1, x2, y2),
            score=path.score if is_fresh else 0.0,
            unseen_s=now - path.seen_at,
            trusted=(
                state is TrackState.CONFIRMED
                and path.evidence is not Evidence.FOUND
                and path.score >= (s.keep_score if now - path.sure_at <= s.keep_s else s.trust_score)
                and not path.crossed_with
            ),
            landmarks=path.landmarks,
            sure=path.is_sure,
        )


def _lies_in(box: NDArray[np.float32], paths: Sequence[_Path], share: float) -> bool:
    """One of the paths and the box (4,) share more than this of the smaller one."""
    boxes = np.array([p.motion.box_xyxy for p in paths])
    return bool(paths) and float(iou_matrix(box[None], boxes, "smaller").max()) > share


def _extent(box_xyxy: NDArray[np.floating]) -> NDArray[np.float64]:
    """(4,) corners -> (2,) width and height."""
    return np.asarray(box_xyxy[2:] - box_xyxy[:2], np.float64)


def _at_least(box_xyxy: NDArray[np.float64], extent: NDArray[np.float64]) -> NDArray[np.float64]:
    """The box (4,) about its own center, no smaller than the extent (2,)."""
    missing = np.maximum(extent - (box_xyxy[2:] - box_xyxy[:2]), 0.0) / 2
    return np.concatenate([box_xyxy[:2] - missing, box_xyxy[2:] + missing])
