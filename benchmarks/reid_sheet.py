"""The picture of docs/privacy.md: what each style and strength looks like, and what it gives away.

The face in it is one that the demo draws with; none of the measured ones is shown. Called by
`benchmarks.reid`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge_node.capture.portraits import demo_portraits
from edge_node.frames import RawFrame
from edge_node.privacy.decisions import Plan
from edge_node.privacy.veil import Style, VeilSettings, mask
from vision.detections import Image

TILE = 132
LABEL = 40
PAPER, INK = (250, 250, 250), (50, 45, 40)
COLUMNS = 5


def write(path: Path, styles: dict[str, Any], strengths: list[dict[str, Any]]) -> None:
    """One row of tiles for the strong styles and one for each weak one, by strength."""
    strong = [(VeilSettings(Style(name)), name, styles[name]) for name in ("veil", "solid")]
    weak = [
        [(_settings(row), _words(row), row) for row in strengths if row["style"] == style]
        for style in (Style.PIXELATE, Style.BLUR)
    ]
    sheet = np.vstack([_row(row) for row in (strong, *weak)])
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), sheet)


def _row(cells: list[tuple[VeilSettings, str, dict[str, Any]]]) -> Image:
    tiles = [_tile(settings, words, row["ratio"]) for settings, words, row in cells]
    blank = np.full((TILE + LABEL, TILE + 8, 3), PAPER, np.uint8)
    return np.hstack(tiles + [blank] * (COLUMNS - len(tiles)))


def _tile(settings: VeilSettings, words: str, ratio: float) -> Image:
    tile: Image = np.full((TILE + LABEL, TILE + 8, 3), PAPER, np.uint8)
    portrait = demo_portraits()[0]
    alpha = portrait.bgra[..., 3:].astype(np.float32) / 255
    image = (portrait.bgra[..., :3] * alpha + np.array((176, 190, 196)) * (1 - alpha)).astype(np.uint8)
    painted = mask(RawFrame(0, 0.0, 0.0, image), Plan((portrait.face_xyxy,), ()), settings).image
    x1, y1, x2, y2 = portrait.face_xyxy
    side = 2 * (y2 - y1)
    left, top = max(0, int((x1 + x2 - side) / 2)), max(0, int((y1 + y2 - side) / 2))
    part = painted[top : int(top + side), left : int(left + side)]
    scale = TILE / max(part.shape[:2])
    small = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)[:TILE, :TILE]
    tile[: small.shape[0], 4 : 4 + small.shape[1]] = small
    for line, text in enumerate((words, f"{ratio:.2f} x chance")):
        at = (6, TILE + 15 + 17 * line)
        cv2.putText(tile, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, INK, 1, cv2.LINE_AA)
    return tile


def _settings(row: dict[str, Any]) -> VeilSettings:
    if row["style"] == Style.PIXELATE:
        return VeilSettings(Style.PIXELATE, allow_weak=True, blocks=int(row["strength"]))
    return VeilSettings(Style.BLUR, allow_weak=True, blur_sigma=row["strength"])


def _words(row: dict[str, Any]) -> str:
    return f"{row['strength']} blocks" if row["style"] == Style.PIXELATE else f"blur {row['strength']}"
