"""The pictures that detectors are compared on: WIDER FACE, frames of clips, 720p frames with faces.

Called by `benchmarks.detect`. Data: `../shared/data`; where it is absent FileNotFoundError is raised.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.leak_clips import DATA, frames_of, real_clips
from vision.detections import Image

WIDER = DATA / "wider"
SIZE = (1280, 720)
INVALID = 7
"""Column of WIDER's labels that says a face is none to be counted."""
MIN_LABEL_PX = {"easy": 50, "medium": 30, "hard": 10}
"""Least height of a face that counts. WIDER's own lists for the three are not part of its labels; they were
drawn by how well faces are found by a generic method, and these heights are what they come to."""


@dataclass(frozen=True, slots=True)
class Labeled:
    """A picture and the faces in it."""

    image: Image
    faces_xyxy: NDArray[np.float64]
    """(N, 4)"""
    is_valid: NDArray[np.bool_]
    """(N,)"""

    def taller_than(self, height_px: float) -> NDArray[np.bool_]:
        """(N,) the valid faces of at least this height."""
        heights = self.faces_xyxy[:, 3] - self.faces_xyxy[:, 1]
        return np.asarray(self.is_valid & (heights >= height_px))


def wider_labels(text: str) -> dict[str, NDArray[np.float64]]:
    """Of each picture the labels (N, 10): left, top, width, height, then six attributes."""
    lines = iter(text.splitlines())
    labels = {}
    for name in lines:
        count = int(next(lines))
        # A picture without a face has one line of zeros.
        rows = [[float(v) for v in next(lines).split()] for _ in range(max(1, count))]
        labels[name.strip()] = np.array(rows[:count], np.float64).reshape(-1, 10)
    return labels


def wider_pictures(count: int | None = None) -> Iterator[Labeled]:
    """WIDER's pictures, or so many of them spread over all."""
    labels = wider_labels((WIDER / "boxes.txt").read_text())
    names = sorted(labels)
    chosen = names if count is None else [names[i] for i in spread(len(names), count)]
    for name in chosen:
        rows = labels[name]
        boxes = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
        yield Labeled(_read(WIDER / "images" / name), boxes, rows[:, INVALID] == 0)


def clip_pictures(count: int) -> Iterator[Labeled]:
    """So many frames, spread over the labeled clips."""
    clips = real_clips()
    for n, clip in enumerate(clips):
        share = count // len(clips) + (n < count % len(clips))
        wanted = set(spread(max(clip.faces) + 1, share))
        for frame, image in enumerate(frames_of(clip.path)):
            if frame in wanted:
                faces = [face.box_xyxy for face in clip.faces.get(frame, [])]
                boxes = np.array(faces, np.float64).reshape(-1, 4)
                yield Labeled(image, boxes, np.ones(len(boxes), np.bool_))


def frames_720p(count: int) -> list[Image]:
    """Frames of a busy clip, 1280x720, each with three to seven faces."""
    every = list(frames_of(DATA / "video" / "royal_opera.mp4"))
    chosen = (every[i] for i in spread(len(every), count))
    return [np.asarray(cv2.resize(f, SIZE, interpolation=cv2.INTER_AREA), np.uint8) for f in chosen]


def spread(total: int, count: int) -> list[int]:
    """`count` different indices, as far apart as `total` allows; all where there are no more."""
    count = min(count, total)
    return [(2 * i + 1) * total // (2 * count) for i in range(count)]


def _read(path: Path) -> Image:
    image = cv2.imread(str(path))
    if image is None:
        raise FileNotFoundError(f"no picture at {path}")
    return np.asarray(image, np.uint8)
