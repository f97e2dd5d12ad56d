"""Clips of drawn scenes whose every frame carries its number, and what a browser shows of them.

A picture that a test takes from a <video> is held against the very frame it came from, so that pixels say
who is shown and who is veiled, whatever the page writes beside it. Shared by the tests of the wall.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from benchmarks.leak_check import Face, check
from edge_node.capture.portraits import demo_portraits
from edge_node.capture.scene import Scenario
from edge_node.capture.synthetic import GroundTruth, SceneRenderer
from tests.e2e.rig import likeness
from vision.detections import Image

SECONDS = 6.0
"""One way through the scene; the clip goes back again, so that nobody jumps where it starts over."""
BITS, CHECK_BITS = 9, 4
CELLS = 64
"""Of the number's code, in the width of a picture: 10 pixels of 640, large enough for the codecs here."""
DARK, BRIGHT = 50, 190
SHOWN_SCORE, VEILED_SCORE = 1.0, 1.0
VEILED_LIKENESS = 0.4
"""The same as in test_webrtc: a veil has no detail of the face below it."""


@dataclass(frozen=True, slots=True)
class Film:
    """A scene from its frame `first` on, there and back."""

    path: Path
    scenario: Scenario
    first: int = 0

    @property
    def half(self) -> int:
        return round(SECONDS * self.scenario.fps)

    def frame(self, number: int) -> tuple[Image, list[GroundTruth]]:
        """What the clip's frame shows, and where every face is."""
        n = number if number <= self.half else 2 * self.half - number
        image, truth = renderer_of(self.scenario).render(self.first + n)
        return stamped(image, number), truth

    def write(self) -> None:
        """Draw and code the clip."""
        renderer = renderer_of(self.scenario)
        way = [renderer.render(self.first + n)[0] for n in range(self.half + 1)]
        fps = round(self.scenario.fps)
        with av.open(str(self.path), "w") as film:
            stream = film.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "crf": "16"})
            stream.width, stream.height = self.scenario.width, self.scenario.height
            stream.pix_fmt = "yuv420p"
            stream.time_base = Fraction(1, fps)
            for number, image in enumerate([*way, *way[-2:0:-1]]):
                frame = av.VideoFrame.from_ndarray(stamped(image, number), format="bgr24")
                frame.pts = number
                film.mux(stream.encode(frame))
            film.mux(stream.encode(None))

    def number(self, seen: Image) -> int | None:
        """Which frame a picture shows; None where its code cannot be read (the picture veiled in full)."""
        cell = seen.shape[1] / CELLS
        row = seen.shape[0] - round(cell / 2)
        limit = (DARK + BRIGHT) / 2
        middles = [round((n + 0.5) * cell) for n in range(BITS + CHECK_BITS)]
        bits = "".join("1" if seen[row - 1 : row + 2, x - 1 : x + 2].mean() > limit else "0" for x in middles)
        number, proof = divmod(int(bits, 2), 1 << CHECK_BITS)
        return number if proof == _proof(number) and number < 2 * self.half else None


@lru_cache(maxsize=8)
def renderer_of(scenario: Scenario) -> SceneRenderer:
    """One for each scene: drawing the room takes longer than a frame."""
    return SceneRenderer(scenario, demo_portraits())


def stamped(image: Image, number: int) -> Image:
    """A copy with the code of `number` at the lower edge, most significant bit first."""
    cell = image.shape[1] // CELLS
    marked = image.copy()
    for n, bit in enumerate(f"{number << CHECK_BITS | _proof(number):0{BITS + CHECK_BITS}b}"):
        marked[-cell:, n * cell : (n + 1) * cell] = BRIGHT if bit == "1" else DARK
    return marked


def _proof(number: int) -> int:
    """Four bits that tell a code from chance."""
    return (number * 7 + 3) % 16


GRAB = """(name) => {
  const video = document.querySelector(`[data-camera="${name}"] video`);
  if (!video || video.hidden || !video.videoWidth) return "";
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  return canvas.toDataURL("image/png").split(",")[1];
}"""


@dataclass(frozen=True, slots=True)
class Sight:
    """One face in one picture of a tile."""

    identity: str
    frame: int
    score: float
    """Of the leak checker: 1 and more is a face that can be seen."""
    likeness: float
    """Correlation of its detail with the source's."""

    @property
    def is_shown(self) -> bool:
        return self.score >= SHOWN_SCORE

    @property
    def is_veiled(self) -> bool:
        return self.score < VEILED_SCORE and self.likeness < VEILED_LIKENESS


def sights(page: Any, camera: str, film: Film) -> list[Sight]:
    """Every face that the tile's video of this moment would show without a veil; none without a video."""
    data = page.evaluate(GRAB, camera)
    return judged(base64.b64decode(data), film) if data else []


def judged(png: bytes, film: Film) -> list[Sight]:
    """The faces of a picture that a browser shows; none where it is veiled in full."""
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    seen = np.asarray(image, np.uint8)
    number = film.number(seen)
    if number is None:
        return []
    source, truth = film.frame(number)
    if seen.shape != source.shape:  # sent or shown smaller
        seen = np.asarray(cv2.resize(seen, (source.shape[1], source.shape[0])), np.uint8)
    found = []
    for face in truth:
        verdict = check(source, seen, Face(number, face.track, face.box_xyxy, face.kind))
        if face.visible >= 0.9 and verdict is not None:
            alike = likeness(source, seen, face.box_xyxy)
            found.append(Sight(face.identity, number, verdict.score, alike))
    return found
