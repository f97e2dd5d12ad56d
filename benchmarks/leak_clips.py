"""Labeled clips for the leak benchmark: real ones beside the repository, and drawn scenes.

Owns reading labels, decoding, and drawing scenes once into `var/benchmarks/scenes` (lightly compressed
files, so that a run spends no time on drawing). Called by `benchmarks.leak`.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from benchmarks.leak_check import Box, Face
from edge_node.capture.portraits import Portrait, folder_portraits
from edge_node.capture.room import COUNTER_TOP
from edge_node.capture.scene import Scenario, moment
from edge_node.capture.synthetic import GroundTruth, SceneRenderer

ROOT = Path(__file__).parent.parent
DATA = ROOT.parent / "shared" / "data"
SCENES = ROOT / "var" / "benchmarks" / "scenes"
REAL = ("royal_opera", "hamilton")
MIN_FACE_PX = 24
LFW_FACE: Box = (80.0, 72.0, 170.0, 190.0)
"""The deep-funneled photos are aligned: every face is here. No detector chooses who takes part."""
CRF = "12"
"""H.264 quality of the drawn clips: no loss that could be seen."""
_DRAWING = ("scene", "synthetic", "room", "portraits")
"""Modules of `edge_node.capture` that decide what a drawn clip shows."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A video file and every face in it that counts."""

    name: str
    path: Path
    faces: dict[int, list[Face]]
    """By frame, 0-based in order of decoding."""

    @property
    def face_frames(self) -> int:
        return sum(len(faces) for faces in self.faces.values())


@dataclass(frozen=True, slots=True)
class Scene:
    """A drawn clip to be made."""

    name: str
    scenario: Scenario
    seconds: float = 12.0
    begin_s: float = 0.0
    """Where in the scenario the clip begins."""


SCENES_TO_DRAW = (
    Scene("walk", Scenario(seed=11, people=8, face_px=75, visit_s=6, absence_s=1, turning_deg=40,
                           motion_blur=True)),
    Scene("cuts", Scenario(seed=12, people=6, face_px=70, shot_every_s=1.2, turning_deg=25)),
    Scene("far", Scenario(seed=13, people=12, face_px=32, visit_s=9, absence_s=1)),
    Scene("near", Scenario(seed=14, people=3, face_px=210, visit_s=5, absence_s=1, turning_deg=30,
                           lighting=0.4)),
    Scene("large", Scenario(seed=15, people=2, face_px=330, shot_every_s=3, turning_deg=30,
                            lighting=0.3)),
    Scene("crossing", Scenario(seed=16, people=6, face_px=110, crossing_every_s=4,
                               occluder_every_s=8)),
    Scene("fast", Scenario(seed=17, people=5, face_px=90, visit_s=1.6, absence_s=0.6,
                           motion_blur=True)),
    Scene("turns", Scenario(seed=18, people=5, face_px=110, turning_deg=65, occluder_every_s=9)),
)  # fmt: skip
QUICK_SCENES = ("walk", "cuts")


def frames_of(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Every picture of a file, (H, W, 3) BGR."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        for frame in container.decode(video=0):
            yield np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)


def real_clips() -> list[Clip]:
    """The labeled clips. Raises FileNotFoundError where they are absent."""
    clips = []
    for name in REAL:
        faces: dict[int, list[Face]] = defaultdict(list)
        with (DATA / "labels" / f"{name}.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                box = (float(row["x1"]), float(row["y1"]), float(row["x2"]), float(row["y2"]))
                if row["kind"] == "back" or box[3] - box[1] < MIN_FACE_PX:
                    continue
                frame = int(row["frame"])
                faces[frame].append(Face(frame, int(row["track"]), box, row["kind"]))
        clips.append(Clip(name, DATA / "video" / f"{name}.mp4", dict(faces)))
    return clips


def drawn_clips(quick: bool) -> list[Clip]:
    """The drawn scenes, made where they are missing. Raises FileNotFoundError without LFW."""
    SCENES.mkdir(parents=True, exist_ok=True)
    people = sorted(p for p in (DATA / "lfw" / "images").iterdir() if p.is_dir())
    clips, first = [], 0
    for scene in SCENES_TO_DRAW:
        count = _people_of(scene)
        if not quick or scene.name in QUICK_SCENES:
            # Every 7th: the folders are in the order of the names, and namesakes look alike at times.
            clips.append(_drawn(scene, people[first * 7 : (first + count) * 7 : 7]))
        first += count
    return clips


def drawn_clip(scene: Scene) -> Clip:
    """One more scene, made where it is missing. Raises FileNotFoundError without LFW."""
    SCENES.mkdir(parents=True, exist_ok=True)
    people = sorted(p for p in (DATA / "lfw" / "images").iterdir() if p.is_dir())
    return _drawn(scene, people[: _people_of(scene) * 7 : 7])


def people_drawn(quick: bool) -> int:
    """How many different people the drawn clips show."""
    return sum(_people_of(s) for s in SCENES_TO_DRAW if not quick or s.name in QUICK_SCENES)


def _people_of(scene: Scene) -> int:
    every = scene.scenario.shot_every_s
    shots = 1 if not every else round(scene.seconds / every)
    return scene.scenario.people * shots


def _drawn(scene: Scene, people: list[Path]) -> Clip:
    video, labels = SCENES / f"{scene.name}.mp4", SCENES / f"{scene.name}.json"
    key = _key(scene, people)
    known = json.loads(labels.read_text()) if labels.is_file() and video.is_file() else {}
    if known.get("key") != key:
        faces = _draw(scene, _portraits(scene.name, people), video)
        known = {"key": key, "faces": [asdict(face) for face in faces]}
        labels.write_text(json.dumps(known))
    by_frame: dict[int, list[Face]] = defaultdict(list)
    for row in known["faces"]:
        hidden = tuple(_box(b) for b in row["hidden"])
        face = Face(row["frame"], row["track"], _box(row["box_xyxy"]), row["kind"], hidden)
        by_frame[face.frame].append(face)
    return Clip(scene.name, video, dict(by_frame))


def _box(values: list[float]) -> Box:
    x1, y1, x2, y2 = values
    return (x1, y1, x2, y2)


def _key(scene: Scene, people: list[Path]) -> str:
    """Changes with everything that a clip is made from."""
    digest = hashlib.sha256(repr((scene, [p.name for p in people], LFW_FACE, CRF)).encode())
    for name in _DRAWING:
        digest.update((ROOT / "edge_node" / "capture" / f"{name}.py").read_bytes())
    digest.update(Path(__file__).read_bytes())
    return digest.hexdigest()


def _portraits(name: str, people: list[Path]) -> list[Portrait]:
    """One photo of each person; `folder_portraits` takes at most 64 from one folder."""
    portraits = []
    for begin in range(0, len(people), 50):
        folder = SCENES / f"{name}.people" / str(begin)
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for person in people[begin : begin + 50]:
            photo = sorted(person.glob("*.jpg"))[0]
            (folder / photo.name).symlink_to(photo.resolve())
        portraits += folder_portraits(folder, lambda photo: LFW_FACE)
    return portraits


def _draw(scene: Scene, portraits: list[Portrait], path: Path) -> list[Face]:
    """Draw a scene into a file and say where its faces are."""
    scenario = scene.scenario
    renderer = SceneRenderer(scenario, portraits)
    without = SceneRenderer(replace(scenario, occluder_every_s=0.0), portraits)
    labels: list[Face] = []
    begin = round(scene.begin_s * scenario.fps)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=round(scenario.fps))
        stream.width, stream.height, stream.pix_fmt = scenario.width, scenario.height, "yuv420p"
        stream.options = {"preset": "veryfast", "crf": CRF}
        for n in range(round(scene.seconds * scenario.fps)):
            image, truth = renderer.render(begin + n)
            hidden = [(0.0, COUNTER_TOP * scenario.height - 2, float(scenario.width), float(scenario.height))]
            if moment(scenario, begin + n).balloon_xy is not None:
                hidden += _changed(image, without.render(begin + n)[0])
            labels += _labels(n, truth, hidden)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())
    return labels


def _labels(frame: int, truth: list[GroundTruth], hidden: list[Box]) -> list[Face]:
    """The faces that count; who stands nearer comes later in `truth` and hides the ones before."""
    faces = []
    for i, one in enumerate(truth):
        if one.box_xyxy[3] - one.box_xyxy[1] < MIN_FACE_PX or one.visible <= 0.0:
            continue
        before = [b for nearer in truth[i + 1 :] for b in _silhouette(nearer.box_xyxy)]
        faces.append(Face(frame, one.track, one.box_xyxy, one.kind, (*hidden, *before)))
    return faces


def _silhouette(box: Box) -> list[Box]:
    """Head and shoulders around a face box, as the portraits are cut out."""
    x, y, w, h = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1]
    head = (x - 0.85 * w, y - h, x + 0.85 * w, y + 0.9 * h)
    return [head, (x - 1.6 * w, y + 0.6 * h, x + 1.6 * w, y + 3 * h)]


def _changed(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> list[Box]:
    """The box around everything that differs between two pictures."""
    rows, columns = np.nonzero((a != b).any(axis=2))
    if not len(rows):
        return []
    return [(float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1))]
