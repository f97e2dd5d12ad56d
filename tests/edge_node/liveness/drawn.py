"""A small drawn scene: a head with shoulders, or the same face on a sheet, before a textured wall."""

from __future__ import annotations

from math import pi, sin

import cv2
import numpy as np

from edge_node.tracking.track import Box, Evidence, Observation, TrackState
from vision.detections import Image

WIDTH, HEIGHT, FACE = 480, 360, 72


def texture(height: int, width: int, seed: int, grain: float = 3.0) -> Image:
    noise = np.random.default_rng(seed).normal(size=(height, width, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), grain)
    return np.asarray(np.clip(128 + smooth / smooth.std() * 40, 0, 255), np.uint8)


WALL, SKIN = texture(HEIGHT, WIDTH, 1), texture(HEIGHT, WIDTH, 2)


def center(n: int, sway: float = 0.25) -> tuple[float, float]:
    """Where the face is in frame `n` of 25 a second."""
    t = n / 25
    return (
        WIDTH / 2 + sway * FACE * sin(2 * pi * t / 2.4),
        HEIGHT * 0.45 + 0.4 * sway * FACE * sin(2 * pi * t / 1.7),
    )


def box_at(n: int, sway: float = 0.25) -> Box:
    x, y = center(n, sway)
    return (x - FACE / 2, y - FACE / 2, x + FACE / 2, y + FACE / 2)


def shape_mask(kind: str) -> np.ndarray:
    """What moves with the face, drawn about the middle of the picture."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cx, cy = WIDTH // 2, round(HEIGHT * 0.45)
    if kind == "sheet":
        half = round(1.2 * FACE)
        cv2.rectangle(mask, (cx - half, cy - half), (cx + half, cy + half), (255,), -1)
    elif kind == "tight sheet":
        cv2.rectangle(
            mask,
            (cx - round(0.85 * FACE), cy - FACE),
            (cx + round(0.85 * FACE), cy + round(0.8 * FACE)),
            (255,),
            -1,
        )
    elif kind == "head":
        cv2.ellipse(mask, (cx, cy), (round(0.62 * FACE), round(0.85 * FACE)), 0, 0, 360, (255,), -1)
        cv2.ellipse(mask, (cx, cy + 2 * FACE), (round(1.5 * FACE), round(1.2 * FACE)), 0, 0, 360, (255,), -1)
    return mask


def frame(kind: str, n: int, sway: float = 0.25, camera: float = 0.0) -> Image:
    """`camera`: pixels a frame by which the whole picture moves."""
    x, y = center(n, sway)
    shift = np.array([[1, 0, x - WIDTH / 2], [0, 1, y - HEIGHT * 0.45]])
    mask = cv2.warpAffine(shape_mask(kind), shift, (WIDTH, HEIGHT))
    face = cv2.warpAffine(SKIN, shift, (WIDTH, HEIGHT))
    weight = (mask.astype(np.float32) / 255)[..., None]
    image = WALL * (1 - weight) + face * weight
    if camera:
        image = cv2.warpAffine(
            image, np.array([[1, 0, camera * n], [0, 1, 0]]), (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT
        )
    noise = np.random.default_rng(n).normal(scale=1.5, size=image.shape)
    return np.asarray(np.clip(image + noise, 0, 255), np.uint8)


def sight(box: Box, path: int = 1, track: int = 1, trusted: bool = True) -> Observation:
    state = TrackState.CONFIRMED
    return Observation(path, track, state, Evidence.DETECTED, box, 0.99, 0.0, trusted)
