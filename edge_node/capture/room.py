"""The drawn room of the demo scene: what stands behind people, and what stands before them.

Pure drawing, done once per scene at twice the size and then reduced, which smooths every edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from vision.detections import Image

COUNTER_TOP = 0.815
"""Upper edge of the counter, in heights of the picture. People stand behind it."""
_W, _H = 2560, 1440
"""Size of the drawing; the room is drawn in these coordinates whatever the size of the scene."""
Color = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Room:
    """Layers of a drawn room."""

    back: Image
    """(H, W, 3) behind everyone."""
    counter: Image
    """(h, W, 3) the strip at the bottom, before everyone."""
    balloon: Image
    """(h, w, 4) what drifts past, color multiplied by alpha."""


@lru_cache(maxsize=4)
def draw_room(width: int, height: int, *, is_evening: bool = False) -> Room:
    """The room for a picture of this size; the evening has warm light and is mirrored.

    The same object for the same arguments: nobody writes to its layers.
    """
    canvas = _wall(is_evening)
    _window(canvas, is_evening)
    _shelf(canvas)
    _painting(canvas)
    _plant(canvas)
    _glow(canvas, (1780, 260), 420, 0.30 if is_evening else 0.12)
    _lamp(canvas)
    _counter(canvas)
    if is_evening:
        canvas = cv2.flip(canvas, 1)
        canvas = cv2.convertScaleAbs(canvas * np.array((0.82, 0.90, 1.0), np.float32))
    canvas = _grain(canvas)
    picture = np.asarray(cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    top = round(COUNTER_TOP * height)
    return Room(picture, np.ascontiguousarray(picture[top:]), _balloon(height))


def _wall(is_evening: bool) -> Image:
    """A wall that is lighter near the window."""
    y, x = np.mgrid[0:_H, 0:_W].astype(np.float32)
    light = np.exp(-(((x - 700) / 1500) ** 2 + ((y - 500) / 1100) ** 2))
    dark, bright = np.array((150, 158, 148), np.float32), np.array((205, 216, 210), np.float32)
    if is_evening:
        dark, bright = np.array((120, 132, 140), np.float32), np.array((168, 190, 205), np.float32)
    return np.asarray(dark + (bright - dark) * light[..., None], np.uint8)


def _window(canvas: Image, is_evening: bool) -> None:
    left, top, right, bottom = 900, 150, 1660, 1000
    _shade(canvas, (left - 30, top - 10, right + 40, bottom + 60), 26, 0.25)
    cv2.rectangle(canvas, (left - 34, top - 34), (right + 34, bottom + 34), (238, 240, 240), -1)
    rows = np.linspace(0, 1, bottom - top, dtype=np.float32)[:, None, None]
    high, low = np.array((226, 190, 150), np.float32), np.array((242, 232, 222), np.float32)
    if is_evening:
        high, low = np.array((150, 120, 110), np.float32), np.array((120, 170, 240), np.float32)
    view = np.broadcast_to(high + (low - high) * rows, (bottom - top, right - left, 3)).astype(np.uint8)
    view = np.ascontiguousarray(view)
    for cx, cy, size in ((180, 190, 70), (250, 170, 90), (330, 195, 64), (560, 300, 52), (620, 285, 66)):
        cv2.ellipse(view, (cx, cy), (size, size // 2), 0, 0, 360, (250, 248, 246), -1, cv2.LINE_AA)
    view = np.asarray(cv2.GaussianBlur(view, (0, 0), 9), np.uint8)
    for color, base, wave, length, phase in (
        ((196, 190, 160), 560, 46, 260.0, 0.4), ((150, 172, 140), 640, 38, 190.0, 2.0),
        ((110, 150, 112), 730, 30, 230.0, 4.1),
    ):  # fmt: skip
        xs = np.arange(0, right - left + 8, 8)
        ys = base + wave * np.sin(xs / length * 2 * np.pi * 0.6 + phase)
        hill = np.stack([xs, ys], 1).astype(np.int32)
        edge = np.array([(right - left, bottom - top), (0, bottom - top)], np.int32)
        cv2.fillPoly(view, [np.concatenate([hill, edge])], color, cv2.LINE_AA)
    canvas[top:bottom, left:right] = cv2.GaussianBlur(view, (0, 0), 5)
    cv2.rectangle(canvas, (1268, top), (1292, bottom), (238, 240, 240), -1)
    cv2.rectangle(canvas, (left, 500), (right, 520), (238, 240, 240), -1)
    cv2.rectangle(canvas, (left - 70, bottom + 34), (right + 70, bottom + 66), (228, 231, 231), -1)


def _shelf(canvas: Image) -> None:
    rng = np.random.default_rng(7)
    colors: list[Color] = [
        (92, 104, 150), (132, 112, 72), (96, 132, 106), (70, 92, 168), (150, 146, 138), (84, 78, 72),
        (120, 150, 190),
    ]  # fmt: skip
    for level in (330, 640):
        _shade(canvas, (1890, level, 2440, level + 34), 18, 0.3)
        x = 1905
        while x < 2290:
            wide, tall = int(rng.integers(24, 50)), int(rng.integers(130, 205))
            color = colors[int(rng.integers(len(colors)))]
            cv2.rectangle(canvas, (x, level - tall), (x + wide, level), color, -1)
            bright: Color = (min(255, color[0] + 34), min(255, color[1] + 34), min(255, color[2] + 34))
            cv2.rectangle(canvas, (x + 4, level - tall + 22), (x + wide - 4, level - tall + 30), bright, -1)
            x += wide + int(rng.integers(2, 7))
        cv2.ellipse(canvas, (2370, level - 48), (40, 48), 0, 0, 360, (200, 190, 176), -1, cv2.LINE_AA)
        cv2.rectangle(canvas, (2354, level - 120), (2386, level - 80), (200, 190, 176), -1)
        cv2.rectangle(canvas, (1880, level), (2440, level + 24), (96, 128, 164), -1)


def _painting(canvas: Image) -> None:
    left, top, right, bottom = 230, 230, 640, 640
    _shade(canvas, (left, top, right + 16, bottom + 22), 20, 0.35)
    cv2.rectangle(canvas, (left, top), (right, bottom), (86, 110, 140), -1)
    cv2.rectangle(canvas, (left + 20, top + 20), (right - 20, bottom - 20), (232, 238, 240), -1)
    cv2.circle(canvas, (400, 400), 92, (92, 150, 222), -1, cv2.LINE_AA)
    cv2.ellipse(canvas, (470, 560), (130, 60), 0, 180, 360, (150, 130, 84), -1, cv2.LINE_AA)
    cv2.ellipse(canvas, (370, 565), (100, 44), 0, 180, 360, (112, 152, 122), -1, cv2.LINE_AA)


def _plant(canvas: Image) -> None:
    """A plant at the left, behind people."""
    rng = np.random.default_rng(3)
    for i, angle in enumerate(np.linspace(-75, 75, 15)):
        length = float(rng.uniform(230, 380))
        turn = np.deg2rad(angle - 90)
        tip = np.array((150 + length * np.cos(turn), 1010 + length * np.sin(turn)))
        green = 96 + (i % 4) * 16
        middle = (np.array((150, 1010)) + tip) / 2
        axes = (round(length / 2), 26 + (i % 3) * 6)
        center = (round(middle[0]), round(middle[1]))
        color = (62, green, 58 + (i % 3) * 10)
        cv2.ellipse(canvas, center, axes, float(angle - 90), 0, 360, color, -1, cv2.LINE_AA)
    pot = np.array([(60, 1000), (245, 1000), (220, 1240), (85, 1240)], np.int32)
    cv2.fillPoly(canvas, [pot], (104, 126, 190), cv2.LINE_AA)
    cv2.rectangle(canvas, (50, 985), (255, 1030), (112, 136, 202), -1)


def _lamp(canvas: Image) -> None:
    cv2.line(canvas, (1780, 0), (1780, 150), (60, 60, 60), 5, cv2.LINE_AA)
    shade = np.array([(1735, 150), (1825, 150), (1885, 250), (1675, 250)], np.int32)
    cv2.fillPoly(canvas, [shade], (70, 86, 98), cv2.LINE_AA)
    cv2.ellipse(canvas, (1780, 250), (100, 14), 0, 0, 360, (190, 226, 246), -1, cv2.LINE_AA)


def _glow(canvas: Image, center: tuple[int, int], radius: int, strength: float) -> None:
    """Lighten the picture softly around a point, in place."""
    y, x = np.mgrid[0:_H:8, 0:_W:8].astype(np.float32)
    far = ((x - center[0]) ** 2 + (y - center[1]) ** 2) / float(radius) ** 2
    glow = cv2.resize(np.exp(-far), (_W, _H))[..., None] * strength
    canvas[:] = canvas + (255 - canvas) * glow


def _counter(canvas: Image) -> None:
    top = round(COUNTER_TOP * _H)
    front = np.linspace(1.0, 0.72, _H - top, dtype=np.float32)[:, None, None]
    canvas[top:] = np.array((108, 140, 178), np.float32) * front
    rng = np.random.default_rng(11)
    for _ in range(150):  # the grain of the wood
        y, x = int(rng.integers(top + 60, _H)), int(rng.integers(-200, _W))
        tone = int(rng.integers(-9, 5))
        row = canvas[y : y + 3, max(0, x) : max(0, x + int(rng.integers(200, 800)))]
        row[:] = np.clip(row.astype(np.int16) + tone, 0, 255)
    canvas[top : top + 46] = (150, 182, 214)
    canvas[top + 46 : top + 56] = (70, 94, 122)


def _balloon(height: int) -> Image:
    """What drifts past: a balloon a good deal larger than a face."""
    tall = round(0.40 * height) * 2
    wide = round(tall * 0.62)
    a, b = round(wide * 0.46), round(tall * 0.36)
    cx, cy = wide // 2, b + 4
    color = np.zeros((tall, wide, 3), np.uint8)
    y, x = np.mgrid[0:tall, 0:wide].astype(np.float32)
    shine = np.exp(-(((x - cx + a * 0.35) / (a * 0.5)) ** 2 + ((y - cy + b * 0.35) / (b * 0.5)) ** 2))
    color[:] = np.minimum(255, np.array((72, 79, 194), np.float32) + 70 * shine[..., None])
    alpha = np.zeros((tall, wide), np.uint8)
    cv2.line(alpha, (cx, cy + b), (cx + 6, tall - 4), (150,), max(2, wide // 110), cv2.LINE_AA)
    knot = np.array(
        [(cx, cy + b - 8), (cx - wide // 22, cy + b + wide // 16), (cx + wide // 22, cy + b + wide // 16)]
    )
    cv2.fillPoly(alpha, [knot.astype(np.int32)], (255,), cv2.LINE_AA)
    cv2.ellipse(alpha, (cx, cy), (a, b), 0, 0, 360, (255,), -1, cv2.LINE_AA)
    weight = alpha[..., None].astype(np.float32) / 255
    bgra = np.concatenate([(color * weight).astype(np.uint8), alpha[..., None]], axis=2)
    return np.asarray(cv2.resize(bgra, (wide // 2, tall // 2), interpolation=cv2.INTER_AREA), np.uint8)


def _shade(canvas: Image, box: tuple[int, int, int, int], spread: int, strength: float) -> None:
    """A soft shadow of a rectangle, in place."""
    x1, y1, x2, y2 = (box[0] - 3 * spread, box[1] - 3 * spread, box[2] + 3 * spread, box[3] + 3 * spread)
    x1, y1 = max(0, x1), max(0, y1)
    part = canvas[y1:y2, x1:x2]
    shadow = np.zeros(part.shape[:2], np.float32)
    cv2.rectangle(shadow, (box[0] - x1, box[1] - y1), (box[2] - x1, box[3] - y1), (strength,), -1)
    shadow = np.asarray(cv2.GaussianBlur(shadow, (0, 0), spread), np.float32)
    part[:] = part * (1 - shadow[..., None])


def _grain(canvas: Image) -> Image:
    """A breath of noise, as every camera has it: perfectly flat areas look drawn."""
    rng = np.random.default_rng(5)
    noise = rng.normal(0, 4, (_H, _W, 1)).astype(np.float32)
    return np.asarray(np.clip(canvas + noise, 0, 255), np.uint8)
