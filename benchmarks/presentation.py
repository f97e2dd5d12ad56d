"""Photos and phones held before the camera: how many are caught, and who else is veiled for it.

Drawn attacks (`presentation_attacks`) over a drawn room and a real street, and real clips and the demo for
living people, through the node's own detector, tracker and watch. The hub is taken to recognize every face at
once, which is the attacker's best case. Keys: `attacks_missed` (share of attacks that could be shown at their
end), `attack_shown_rate` (share of an attack's analyses in which it could be shown), `live_veiled_rate`
(share of the trusted sights of living people that are taken for a sheet), `ms_per_face` (processor time of
the watch for each face of an analyzed frame). `--out DIR` writes a picture of the attacks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.presentation_attacks import Attack, Background, Box, Sheet, make_sheet, render
from edge_node.capture.portraits import DEMO_NAMES, demo_portrait, demo_portraits
from edge_node.capture.room import draw_room
from edge_node.capture.scene import DEMO, Scenario
from edge_node.capture.synthetic import SceneRenderer
from edge_node.liveness.watch import LivenessWatch
from edge_node.tracking.track import Observation
from edge_node.tracking.tracker import Tracker
from vision.detections import Image
from vision.detector import Mtcnn, MtcnnSettings
from vision.geometry import iou_matrix

DATA = Path(__file__).parents[2] / "shared" / "data"
LFW_FACE: Box = (80.0, 70.0, 170.0, 188.0)
"""Where the face is in LFW's aligned photos."""
FPS = 25.0
EVERY = 2
"""Frames for each analysis: what a busy node manages."""
ATTACK_S = 4.0
FIRST_SEED = 500
"""The limits were chosen with other people, places and hands (lower seeds)."""

KINDS: dict[str, Attack] = {
    "print": Attack("print"),
    "print, tight": Attack("print", margin=0.25),
    "print, passport photo": Attack("print", margin=0.45, tilt_deg=12.0),
    "print, wide": Attack("print", margin=1.2, face_px=100.0),
    "print, bent": Attack("print", bend=0.35),
    "print, tilted": Attack("print", tilt_deg=22.0),
    "print, small": Attack("print", face_px=60.0),
    "print, held still": Attack("print", sway=0.02, shake=0.004, tilt_deg=1.0),
    "print, on a stand": Attack("print", sway=0.0, shake=0.0, tilt_deg=0.0),
    "phone": Attack("phone", margin=0.35),
    "phone, pattern": Attack("phone", margin=0.35, moire=0.04, banding=0.03),
    "phone, filled": Attack("phone", margin=0.4, fills=True),
    "phone, held still": Attack("phone", margin=0.35, sway=0.02, shake=0.004, tilt_deg=1.0),
    "phone, on a stand, pattern": Attack("phone", margin=0.35, sway=0.0, shake=0.0, tilt_deg=0.0, moire=0.04),
    "tablet": Attack("phone", margin=0.9, aspect=1.3),
}
QUICK = ("print", "print, tight", "phone", "phone, on a stand, pattern")


@dataclass(slots=True)
class Outcome:
    """What became of one attack, or of the living people of one clip."""

    sights: int = 0
    """Analyses in which the tracker trusted the face."""
    shown: int = 0
    """Of those, in which it could be shown."""
    suspected: int = 0
    late_shown: int = 0
    """Shown in the last quarter of an attack."""
    late: int = 0
    first_caught_s: float | None = None
    cost_s: list[float] = field(default_factory=list)

    @property
    def is_missed(self) -> bool:
        """An attack that can be shown at its end. One that the tracker never trusted is not shown either."""
        return self.late_shown > 0.5 * self.late if self.late else False


class Watched:
    """The node's way from a frame to observations, one clip long."""

    def __init__(self, detector: Mtcnn) -> None:
        self._detector = detector
        self._tracker = Tracker()
        self._watch = LivenessWatch()
        self._n = 0

    def see(self, image: Image, now: float) -> tuple[tuple[Observation, ...], tuple[Observation, ...], float]:
        """Observations before and after the watch, and its processor time in seconds."""
        refined = self._detector.refine(image, self._tracker.predict(now))
        scanned = self._detector.detect(image) if self._n % 3 == 0 else None
        self._n += 1
        before = self._tracker.step(now, refined, scanned)
        started = time.thread_time()
        after = self._watch.judge(image, before, now)
        return before, after, time.thread_time() - started


def measure(quick: bool = False, out: Path | None = None) -> dict[str, Any]:
    """See the module."""
    cv2.setNumThreads(1)
    detector = Mtcnn(MtcnnSettings(min_face_px=40, exact=False, threads=1))
    kinds = {name: KINDS[name] for name in QUICK} if quick else KINDS
    places = backgrounds()
    attacks: dict[str, list[Outcome]] = {}
    seed = FIRST_SEED
    for name, attack in kinds.items():
        for background in places[: 1 if quick else None]:
            seed += 1
            own = replace(attack, seed=seed)
            sheet = make_sheet(own, *photo(seed))
            seconds = 8.0 if "stand" in name and not attack.moire and not quick else ATTACK_S
            attacks.setdefault(name, []).append(attacked(detector, own, sheet, background, seconds))
    people = {name: lived(detector, frames, fps) for name, frames, fps in clips(quick)}
    if out is not None:
        _draw(out / "presentation.jpg", kinds, places[0])
    return _summary(attacks, people)


def _summary(attacks: dict[str, list[Outcome]], people: dict[str, Outcome]) -> dict[str, Any]:
    every = [outcome for outcomes in attacks.values() for outcome in outcomes]
    costs = [cost for outcome in (*every, *people.values()) for cost in outcome.cost_s]
    sights, suspected = (sum(getattr(o, key) for o in people.values()) for key in ("sights", "suspected"))
    return {
        "attacks": len(every),
        "attacks_missed": round(sum(o.is_missed for o in every) / len(every), 4),
        "attack_shown_rate": round(sum(o.shown for o in every) / max(1, sum(o.sights for o in every)), 4),
        "live_sights": sights,
        "live_veiled_rate": round(suspected / max(1, sights), 4),
        "ms_per_face": round(1e3 * float(np.mean(costs)), 3),
        "ms_per_face_p95": round(1e3 * float(np.percentile(costs, 95)), 3),
        "by_attack": {
            name: {
                "missed": f"{sum(o.is_missed for o in outcomes)}/{len(outcomes)}",
                "shown": round(sum(o.shown for o in outcomes) / max(1, sum(o.sights for o in outcomes)), 3),
                "caught_after_s": [
                    None if o.first_caught_s is None else round(o.first_caught_s, 2) for o in outcomes
                ],
            }
            for name, outcomes in attacks.items()
        },
        "by_clip": {
            name: {"sights": o.sights, "veiled": round(o.suspected / max(1, o.sights), 4)}
            for name, o in people.items()
        },
    }


def attacked(
    detector: Mtcnn, attack: Attack, sheet: Sheet, background: Background, seconds: float
) -> Outcome:
    """One attack from its first frame."""
    node, outcome = Watched(detector), Outcome()
    frames = range(0, round(seconds * FPS), EVERY)
    for n in frames:
        image, box = render(attack, sheet, background, n, FPS)
        before, after, cost_s = node.see(image, n / FPS)
        faces = sum(o.trusted for o in before)
        if faces:
            outcome.cost_s.append(cost_s / faces)
        for o, judged in zip(before, after, strict=True):
            if not o.trusted or _overlap(o.box_xyxy, box) < 0.3:
                continue
            is_shown = judged.trusted and judged.watched
            outcome.sights += 1
            outcome.shown += is_shown
            if n >= 0.75 * len(frames) * EVERY:
                outcome.late += 1
                outcome.late_shown += is_shown
            if not judged.trusted and outcome.first_caught_s is None:
                outcome.first_caught_s = n / FPS
    return outcome


def lived(detector: Mtcnn, frames: Iterator[Image], fps: float) -> Outcome:
    """Everyone in a clip is alive."""
    node, outcome = Watched(detector), Outcome()
    before_cut: NDArray[np.float32] | None = None
    for n, image in enumerate(frames):
        if n % EVERY:
            continue
        small = cv2.resize(image, (32, 18), interpolation=cv2.INTER_AREA).astype(np.float32)
        if before_cut is not None and float(np.abs(small - before_cut).mean()) > 30:
            node = Watched(detector)
        before_cut = small
        before, after, cost_s = node.see(image, n / fps)
        faces = [(o, judged) for o, judged in zip(before, after, strict=True) if o.trusted]
        if faces:
            outcome.cost_s.append(cost_s / len(faces))
        outcome.sights += len(faces)
        outcome.suspected += sum(not judged.trusted for _, judged in faces)
        outcome.shown += sum(judged.trusted and judged.watched for _, judged in faces)
    return outcome


# --- material ---------------------------------------------------------------------------------


def photo(number: int) -> tuple[Image, Box]:
    """A photo with the face's box: of LFW where it is at hand, else of the demo."""
    folder = DATA / "lfw" / "images"
    if not folder.is_dir():
        return _demo_photo(number)
    people = sorted(folder.iterdir())
    path = sorted(people[(number * 37) % len(people)].glob("*.jpg"))[0]
    return np.asarray(cv2.imread(str(path)), np.uint8), LFW_FACE


def backgrounds() -> list[Background]:
    """A room in which nothing moves, and a street with people, where it is at hand."""
    room = draw_room(1280, 720)
    still = room.back.copy()
    still[720 - room.counter.shape[0] :] = room.counter
    found: list[Background] = [lambda n: still]
    if (DATA / "video").is_dir():
        street = [
            np.asarray(cv2.resize(f, (1280, 720), interpolation=cv2.INTER_AREA), np.uint8)
            for f in _video("royal_opera.mp4")
        ]
        back_and_forth = street + street[-2:0:-1]
        found.append(lambda n: back_and_forth[n % len(back_and_forth)])
    return found


def clips(quick: bool) -> Iterator[tuple[str, Iterator[Image], float]]:
    """Living people: name, frames, frames a second."""
    yield "demo", _scene(DEMO, 100 if quick else 250), FPS
    if not (DATA / "video").is_dir():
        return
    yield "hamilton", _video("hamilton.mp4"), 30.0
    if quick:
        return
    yield "royal_opera", _video("royal_opera.mp4"), 25.0
    yield "one_face_portrait", _video("one_face_portrait.mp4", 300), 30.0
    walk = replace(DEMO, people=2, crossing_every_s=0.0, occluder_every_s=0.0, visit_s=6.0, absence_s=1.0)
    yield "drawn, walking", _scene(walk, 250), FPS


def _scene(scenario: Scenario, count: int) -> Iterator[Image]:
    renderer = SceneRenderer(scenario, demo_portraits())
    return (renderer.render(n)[0] for n in range(count))


def _video(name: str, at_most: int = 10_000) -> Iterator[Image]:
    video = cv2.VideoCapture(str(DATA / "video" / name))
    for _ in range(at_most):
        is_read, image = video.read()
        if not is_read:
            return
        yield np.asarray(image, np.uint8)


def _overlap(a: Box, b: Box) -> float:
    return float(iou_matrix(np.array([a], np.float32), np.array([b], np.float32))[0, 0])


def _demo_photo(number: int) -> tuple[Image, Box]:
    portrait = demo_portraits()[number % len(DEMO_NAMES)]
    return demo_portrait(portrait.identity), portrait.face_xyxy


def _draw(path: Path, kinds: dict[str, Attack], room: Background) -> None:
    """One of each kind, with the demo's people in the drawn room: nobody else's picture may be published."""
    small = []
    for n, attack in enumerate(kinds.values()):
        own = replace(attack, seed=FIRST_SEED + n)
        image = render(own, make_sheet(own, *_demo_photo(n)), room, 20)[0]
        small.append(np.asarray(cv2.resize(image, (320, 180), interpolation=cv2.INTER_AREA), np.uint8))
    small += [np.zeros_like(small[0])] * (-len(small) % 5)
    rows = [np.hstack(small[i : i + 5]) for i in range(0, len(small), 5)]
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.vstack(rows), [cv2.IMWRITE_JPEG_QUALITY, 85])
