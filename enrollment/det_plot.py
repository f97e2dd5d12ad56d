"""Draws the DET plot of an evaluation as a PNG: misses over strangers named, both on normal-deviate axes.

Martin et al., "The DET curve in assessment of detection task performance", Eurospeech 1997. Drawn with
OpenCV, which is there anyway. Called by `enrollment.evaluate` and the benchmark of recognition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import NormalDist

import cv2
import numpy as np

from enrollment.det import Rates
from vision.detections import Image

SIZE, LEFT, TOP, BOTTOM = (900, 700), 90, 50, 70
TICKS = (0.0001, 0.001, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
LOWEST, HIGHEST = 0.00005, 0.9
COLORS = ((180, 90, 20), (30, 120, 220), (60, 150, 60), (150, 60, 150), (40, 40, 200), (140, 140, 20))
"""BGR."""
_NORMAL = NormalDist()


def draw_det(curves: Mapping[str, Sequence[Rates]], chosen: Mapping[str, Rates], title: str) -> Image:
    """(H, W, 3) BGR. curves and the point in force, by legend."""
    image = np.full((SIZE[1], SIZE[0], 3), 255, np.uint8)
    _text(image, title, (LEFT, 30), 0.6)
    for tick in TICKS:
        x, y = _place(tick, tick)
        cv2.line(image, (x, TOP), (x, SIZE[1] - BOTTOM), (225, 225, 225), 1)
        cv2.line(image, (LEFT, y), (SIZE[0] - 30, y), (225, 225, 225), 1)
        _text(image, f"{100 * tick:g}", (x - 14, SIZE[1] - BOTTOM + 20), 0.42)
        _text(image, f"{100 * tick:g}", (LEFT - 48, y + 5), 0.42)
    _text(image, "FPIR: looks at strangers that get a name, %", (LEFT + 210, SIZE[1] - 20), 0.5)
    _text(image, "FNIR, %", (10, TOP - 10), 0.5)
    for number, (name, points) in enumerate(curves.items()):
        color = COLORS[number % len(COLORS)]
        line = np.array([_place(p.fpir, p.fnir) for p in points if not np.isnan(p.fpir + p.fnir)], np.int32)
        if len(line):
            cv2.polylines(image, [line[:, None]], False, color, 2, cv2.LINE_AA)
        if name in chosen and not np.isnan(chosen[name].fpir + chosen[name].fnir):
            cv2.circle(image, _place(chosen[name].fpir, chosen[name].fnir), 6, color, -1, cv2.LINE_AA)
        _text(image, name, (SIZE[0] - 300, TOP + 24 + 22 * number), 0.48, color)
    return image


def write_det(path: Path, image: Image) -> None:
    """Write the PNG. Raises OSError."""
    done, data = cv2.imencode(".png", image)
    if not done:
        raise ValueError("a plot must be (H, W, 3) uint8")
    path.write_bytes(data.tobytes())


def _place(fpir: float, fnir: float) -> tuple[int, int]:
    """Pixels of a point; rates beyond the axes lie on their ends."""
    span = _deviate(HIGHEST) - _deviate(LOWEST)
    x = (_deviate(fpir) - _deviate(LOWEST)) / span
    y = (_deviate(fnir) - _deviate(LOWEST)) / span
    return round(LEFT + x * (SIZE[0] - 30 - LEFT)), round(SIZE[1] - BOTTOM - y * (SIZE[1] - BOTTOM - TOP))


def _deviate(rate: float) -> float:
    return _NORMAL.inv_cdf(min(HIGHEST, max(LOWEST, rate)))


def _text(
    image: Image, text: str, at: tuple[int, int], size: float, color: tuple[int, int, int] = (30, 30, 30)
) -> None:
    plain = text.encode("ascii", "replace").decode()
    cv2.putText(image, plain, at, cv2.FONT_HERSHEY_SIMPLEX, size, color, 1, cv2.LINE_AA)
