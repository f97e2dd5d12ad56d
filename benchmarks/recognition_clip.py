"""`hamilton.mp4` with `people/` enrolled, through the node's and the hub's own parts, every frame analyzed.

Photos pass the enrollment's gate; frames pass analyzer, tracker, sampler, decision book, timeline and plan;
crops pass as JPEG through the hub's recognizer. There is no socket and no thread, and time is the clip's own:
an answer comes ANSWER_S after its question, a frame leaves LOOKBACK_S after its capture. So this measures
what the product decides, not what a machine has time for. Called by `benchmarks.recognition`.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.leak_clips import DATA, frames_of
from edge_node.analysis import AnalysisSettings, Analyzer
from edge_node.config import NodeSettings
from edge_node.frames import RawFrame
from edge_node.liveness.watch import LivenessWatch
from edge_node.privacy.decisions import DecisionBook, Plan, plan
from edge_node.privacy.timeline import Timeline
from edge_node.tracking.sampling import Look, Sampler
from edge_node.tracking.tracker import Tracker
from enrollment.examine import AcceptedPhoto, examine
from hub.embedding.dlib_resnet import DlibResnet
from hub.evidence import EvidenceSettings
from hub.gallery import Gallery
from hub.policy import LiveConsent, PolicySettings, Verdict
from hub.recognizer import Look as Question
from hub.recognizer import Recognizer
from protocol.messages import FaceDecision, Revoke
from vision.centerface import CenterFace, CenterFaceSettings
from vision.crops import decode_crop, encode_crop
from vision.detections import Image
from vision.detector import Mtcnn, MtcnnSettings

FPS = 30_000 / 1_001
KNOWN, STRANGERS = (0, 23), (37, 39, 40)
SETTLE_S = 1.0
"""After the first second of a track a person who is enrolled must be shown."""
ANSWER_S = 0.1
LOOKBACK_S = 0.06
SESSION = bytes(16)
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Label:
    """A face of the clip, by hand."""

    track: int
    box: Box
    kind: str


@dataclass(slots=True)
class Shown:
    """What was counted."""

    frames: int = 0
    shown: int = 0
    wrongly: int = 0
    stranger_frames: int = 0
    missed: list[int] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return self.shown / self.frames if self.frames else 0.0


class Bench:
    """One node and one hub without a line between them."""

    def __init__(self, people: Path) -> None:
        detect = NodeSettings().detect
        self.analyzer = Analyzer(
            Mtcnn(MtcnnSettings(min_face_px=detect.min_face_px, onet_score=detect.min_score, exact=False)),
            Tracker(), AnalysisSettings(), CenterFace(CenterFaceSettings(detect.veil_width_px)),
            clock=lambda: 0.0,  # scans take no time here, so that every run is the same
            liveness=LivenessWatch(NodeSettings().liveness.limit),
        )  # fmt: skip
        self.timeline, self.sampler, self.book = Timeline(), Sampler(), DecisionBook()
        self.book.opened()
        self.recognizer = recognizer(people)
        self._frames: list[tuple[float, int]] = []
        self._answers: list[tuple[float, int, Look, Verdict]] = []
        self._seq = 0

    def take(self, number: int, image: Image) -> Iterator[tuple[int, Plan]]:
        """One frame in; the plans of the frames that may leave by now."""
        now = 1_000 + number / FPS
        self._hear(now)
        analysis = self.analyzer.analyze(RawFrame(seq=number, captured_at=now, pts_s=now, image=image))
        self.timeline.add(analysis)
        trusted = [o.track for o in analysis.observations if o.trusted]
        due = self.sampler.due(trusted, self.book.leases, now)
        for look in self.sampler.choose(self.analyzer.looks(image, analysis.observations, due), now):
            self._ask(look, now)
        self._frames.append((now, number))
        yield from self._leaving(now - LOOKBACK_S + 1e-6)

    def end(self) -> Iterator[tuple[int, Plan]]:
        """The frames that still wait."""
        yield from self._leaving(float("inf"))

    def _leaving(self, until: float) -> Iterator[tuple[int, Plan]]:
        growth = NodeSettings().veil.growth
        while self._frames and self._frames[0][0] <= until:
            at, number = self._frames.pop(0)
            yield number, plan(self.timeline.regions_at(at), self.book.leases, at + LOOKBACK_S, growth)
            self.timeline.forget_before(at)

    def _ask(self, look: Look, now: float) -> None:
        self._seq += 1
        self.book.asked(self._seq, look.track, now)
        a, b, c, d, e = ((float(x), float(y)) for x, y in look.crop.landmarks)
        jpeg = encode_crop(look.crop)
        question = Question("door", SESSION, look.track, jpeg, (a, b, c, d, e), look.quality, now)
        verdict = self.recognizer.recognize([question])[0]
        if isinstance(verdict, Verdict):
            self._answers.append((now + ANSWER_S, self._seq, look, verdict))

    def _hear(self, now: float) -> None:
        for at, seq, look, verdict in [a for a in self._answers if a[0] <= now]:
            if verdict.ousted:
                self.book.revoked(Revoke(session=SESSION, tracks=verdict.ousted))
            self.book.answered(
                FaceDecision(
                    session=SESSION, seq=seq, track=look.track, reveal=verdict.reveal,
                    lease_s=verdict.lease_s, identity=verdict.identity, name=verdict.name,
                ),
                at,
            )  # fmt: skip
        self._answers = [a for a in self._answers if a[0] > now]


def measure_clip() -> Shown:
    """Who of the labeled faces was shown."""
    labels = read_labels(DATA / "labels" / "hamilton.csv")
    first: dict[int, int] = {}
    for number in sorted(labels):
        for label in labels[number]:
            first.setdefault(label.track, number)
    bench, counted = Bench(DATA / "people"), Shown()
    for number, image in enumerate(frames_of(DATA / "video" / "hamilton.mp4")):
        for left, decided in bench.take(number, image):
            _count(counted, left, labels[left], decided, first)
    for left, decided in bench.end():
        _count(counted, left, labels[left], decided, first)
    return counted


def recognizer(people: Path) -> Recognizer:
    """A hub's recognizer with everyone of a folder enrolled, as its settings ship."""
    model, detector = DlibResnet(threads=1), Mtcnn()
    owners: list[str] = []
    templates = []
    for folder in sorted(p for p in people.iterdir() if p.is_dir()):
        for photo in sorted(folder.iterdir()):
            found = examine(photo, detector)
            if isinstance(found, AcceptedPhoto):
                crop = decode_crop(found.jpeg, np.array(found.photo.landmarks, np.float32))
                templates.append(model.embed([crop])[0])
                owners.append(folder.name)
    manifest = model.manifest
    gallery = Gallery(1, manifest.dimension, owners, np.stack(templates))
    consents = {name: LiveConsent(name, name, frozenset(), None, name) for name in owners}
    settings = EvidenceSettings(manifest.threshold, manifest.margin, per_tenfold=manifest.per_tenfold)
    return Recognizer(model, gallery, consents, settings, PolicySettings(), lambda: 0.0)


def read_labels(path: Path) -> dict[int, list[Label]]:
    """By frame."""
    labels: dict[int, list[Label]] = defaultdict(list)
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            box = (float(row["x1"]), float(row["y1"]), float(row["x2"]), float(row["y2"]))
            labels[int(row["frame"])].append(Label(int(row["track"]), box, row["kind"]))
    return labels


def _count(
    counted: Shown, number: int, labels: list[Label], decided: Plan, first: dict[int, int]
) -> None:  # fmt: skip
    for label in labels:
        if label.kind == "back":
            continue
        is_shown = _is_seen(label.box, decided)
        if label.track in STRANGERS:
            counted.stranger_frames += 1
            counted.wrongly += is_shown
        settled = (number - first[label.track]) / FPS >= SETTLE_S
        if label.track in KNOWN and label.kind == "frontal" and settled:
            counted.frames += 1
            counted.shown += is_shown
            if not is_shown:
                counted.missed.append(number)


def _is_seen(box: Box, decided: Plan) -> bool:
    """The face's middle lies in a shown face and under no veil."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    inside = [b[0] <= x <= b[2] and b[1] <= y <= b[3] for b in decided.veiled]
    shown = [s.box_xyxy for s in decided.shown]
    return not any(inside) and any(b[0] <= x <= b[2] and b[1] <= y <= b[3] for b in shown)
