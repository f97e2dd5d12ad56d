"""Contact sheets and a table of leaked faces, for a person to look at. Called by `benchmarks.leak`.

They show faces: written only where `--out` says, never kept elsewhere.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.leak_check import Face, Verdict

TILE = 128
COLUMNS = 6
ROWS = 14
_CAPTION = 30
HEAD = ("clip", "frame", "track", "kind", "x1", "y1", "x2", "y2", "face_px", "score", "window",
        "correlation", "gain")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Leak:
    """A face that showed."""

    clip: str
    face: Face
    verdict: Verdict
    source: NDArray[np.uint8]
    output: NDArray[np.uint8]


def write(folder: Path, name: str, leaks: list[Leak]) -> None:
    """`name.csv` with every leak, and `name-1.png`, … with source and output side by side."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(HEAD)
        for leak in leaks:
            face, verdict = leak.face, leak.verdict
            box = [round(v, 1) for v in face.box_xyxy]
            table.writerow(
                [leak.clip, face.frame, face.track, face.kind, *box, round(box[3] - box[1]),
                 round(verdict.score, 2), verdict.window, round(verdict.correlation, 2),
                 round(verdict.gain, 2)]
            )  # fmt: skip
    a_page = COLUMNS * ROWS
    for page, begin in enumerate(range(0, len(leaks), a_page), 1):
        tiles = [_tile(leak) for leak in leaks[begin : begin + a_page]]
        tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % COLUMNS)
        rows = [np.hstack(tiles[i : i + COLUMNS]) for i in range(0, len(tiles), COLUMNS)]
        cv2.imwrite(str(folder / f"{name}-{page}.png"), np.vstack(rows))


def _tile(leak: Leak) -> NDArray[np.uint8]:
    tile = np.zeros((TILE + _CAPTION, 2 * TILE + 6, 3), np.uint8)
    for i, patch in enumerate((leak.source, leak.output)):
        scale = TILE / max(patch.shape[:2])
        small = cv2.resize(patch, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)[:TILE, :TILE]
        tile[: small.shape[0], i * (TILE + 2) : i * (TILE + 2) + small.shape[1]] = small
    face, verdict = leak.face, leak.verdict
    lines = (
        f"{leak.clip} f{face.frame} t{face.track} {face.kind}",
        f"{face.box_xyxy[3] - face.box_xyxy[1]:.0f} px, {verdict.score:.2f} {verdict.window}",
    )
    for i, line in enumerate(lines):
        at = (2, TILE + 11 + 14 * i)
        cv2.putText(tile, line, at, cv2.FONT_HERSHEY_SIMPLEX, 0.36, (230, 230, 230), 1, cv2.LINE_AA)
    return tile
