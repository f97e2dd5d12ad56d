"""A drawn clip whose every frame carries its number, so that any picture of it can be judged.

Owns drawing and the code of black and white cells at the lower edge, which survives JPEG and H.264 and
tells of a picture which frame it shows, whatever was lost, repeated or restarted on its way. Called by
`tests.faults.real`; the faces are those of the demo, so that nothing beside the repository is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np

from benchmarks.leak_check import Face
from edge_node.capture.portraits import demo_portraits
from edge_node.capture.room import COUNTER_TOP
from edge_node.capture.scene import Scenario
from edge_node.capture.synthetic import SceneRenderer
from vision.detections import Image

FPS = 25
DRAWN = 500
"""Frames that are drawn: 20 s."""
LENGTH = 2 * DRAWN - 2
"""Frames of the clip: to the end and back again, so that a player that starts over makes no jump."""
SCENARIO = Scenario(width=640, height=360, fps=FPS, seed=21, people=3, face_px=104, turning_deg=18)
"""Small, so that pictures cost little beside finding faces; faces as large as at 720p."""
BITS = 12
CELL_W, CELL_H = 20, 16
LEFT, TOP = 60, SCENARIO.height - 20
CONTRAST = 40.0
"""Gray levels from the middle; a cell closer to it is not read."""


@dataclass(frozen=True, slots=True)
class Known:
    """A face of one frame, and whose."""

    identity: str
    face: Face


@dataclass(slots=True)
class Footage:
    """Pictures and truth of the clip by frame number, 0 to LENGTH - 1."""

    _renderer: SceneRenderer = field(init=False)

    def __post_init__(self) -> None:
        known, stranger = demo_portraits()
        # The known one once: nobody is shown twice. She stands in the middle.
        self._renderer = SceneRenderer(SCENARIO, [stranger, known, stranger])

    def frame(self, n: int) -> tuple[Image, list[Known]]:
        """(H, W, 3) uint8 BGR with its code, and the faces that are in sight."""
        drawn = n if n < DRAWN else LENGTH - n
        image, truth = self._renderer.render(drawn)
        write_code(image, n)
        hidden = ((0.0, COUNTER_TOP * SCENARIO.height - 2, float(SCENARIO.width), float(SCENARIO.height)),)
        faces = [
            Known(one.identity, Face(n, one.track, one.box_xyxy, one.kind, hidden))
            for one in truth
            if one.visible > 0
        ]
        return image, faces

    def pictures(self) -> Iterator[Image]:
        """All frames in order."""
        for n in range(LENGTH):
            yield self.frame(n)[0]

    def write(self, path: Path) -> None:
        """As an H.264 file, hardly compressed."""
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=FPS)
            stream.width, stream.height, stream.pix_fmt = SCENARIO.width, SCENARIO.height, "yuv420p"
            stream.options = {"preset": "superfast", "crf": "16"}
            for image in self.pictures():
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
            container.mux(stream.encode())


def write_code(image: Image, n: int) -> None:
    """Paint number `n` into a picture of the clip: its bits, then their complements."""
    if not 0 <= n < 1 << BITS:
        raise ValueError(f"{n} does not fit into {BITS} bits")
    for i, is_white in enumerate(_cells(n)):
        x = LEFT + i * CELL_W
        image[TOP : TOP + CELL_H, x : x + CELL_W] = 255 if is_white else 0


def read_code(image: Image) -> int | None:
    """The number in a picture; None where there is none, or where it cannot be read for sure."""
    gray = cv2.cvtColor(image[TOP : TOP + CELL_H, LEFT : LEFT + 2 * BITS * CELL_W], cv2.COLOR_BGR2GRAY)
    if gray.shape != (CELL_H, 2 * BITS * CELL_W):
        return None
    inner = gray.reshape(CELL_H, 2 * BITS, CELL_W)[4:-4, :, 5:-5].mean(axis=(0, 2)) - 127.5
    if float(np.abs(inner).min()) < CONTRAST:
        return None
    bits = [bool(value > 0) for value in inner]
    if any(bit == other for bit, other in zip(bits[:BITS], bits[BITS:], strict=True)):
        return None
    return sum(bit << i for i, bit in enumerate(bits[:BITS]))


@cache
def _cells(n: int) -> tuple[bool, ...]:
    bits = tuple(bool(n >> i & 1) for i in range(BITS))
    return (*bits, *(not bit for bit in bits))
