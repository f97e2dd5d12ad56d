"""Drawn presentation attacks: photos and phones held before a camera, with the face's box in every frame.

A sheet (print or phone) is composed over a background that goes on by itself, moved like something held in a
hand, tilted, bent, and then seen by a camera with noise. Pure: the same attack and number give the same
picture. Called by `benchmarks.presentation` and by tests of `edge_node.liveness`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import pi, radians, sin

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.detections import Image

Box = tuple[float, float, float, float]
Background = Callable[[int], Image]
"""Frame number -> (H, W, 3) uint8 BGR."""
SHEET_FACE_PX = 160.0
"""Width of the face on the sheet before it is placed."""


@dataclass(frozen=True, slots=True)
class Attack:
    """One way to hold up a face."""

    kind: str
    """`print` or `phone`."""
    margin: float = 0.8
    """How much of the photo is seen beside the face, in face widths on each side."""
    sway: float = 0.25
    """How far the hand moves, in face widths; 0 is a tripod."""
    shake: float = 0.012
    """Tremor of the hand, in face widths."""
    tilt_deg: float = 8.0
    """How far it turns about its axes while it moves."""
    aspect: float = 2.05
    """Height of a phone's display in its widths; a photo that is taller is cut."""
    fills: bool = False
    """The photo fills the phone's display instead of having its own shape."""
    bend: float = 0.0
    """Depth of the bend of a sheet, in its widths."""
    face_px: float = 130.0
    """Width of the face in the picture."""
    moire: float = 0.0
    """Amplitude of the pattern between the phone's pixels and the camera's, as a part of the brightness."""
    banding: float = 0.0
    """Amplitude of the bands of the refreshing display."""
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Sheet:
    """What is held up."""

    bgra: Image
    face_xyxy: Box


def make_sheet(attack: Attack, photo: Image, face: Box) -> Sheet:
    """A print with a white edge, or a phone with a bezel, from a photo (BGR) with a face in it."""
    x1, y1, x2, y2 = face
    w, h = x2 - x1, y2 - y1
    left, right = x1 - attack.margin * w, x2 + attack.margin * w
    top, bottom = y1 - 0.75 * attack.margin * h, y2 + 0.75 * attack.margin * h
    if attack.kind == "phone" and attack.fills:
        middle, reach = (y1 + y2) / 2, attack.aspect * (right - left) / 2
        top, bottom = middle - reach, middle + reach
    scale = SHEET_FACE_PX / w
    size = (round((right - left) * scale), round((bottom - top) * scale))
    matrix = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]], np.float64)
    picture = cv2.warpAffine(photo, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    box = tuple(
        float(v) for v in ((x1 - left) * scale, (y1 - top) * scale, (x2 - left) * scale, (y2 - top) * scale)
    )
    if attack.kind == "print":
        picture = cv2.convertScaleAbs(picture, alpha=0.82, beta=22)  # paper is neither black nor white
        edge = round(0.05 * size[0])
        paper = cv2.copyMakeBorder(
            picture, edge, edge, edge, edge, cv2.BORDER_CONSTANT, value=(225, 230, 232)
        )
        alpha = np.full(paper.shape[:2], 255, np.uint8)
        moved = edge, edge
    else:
        picture = cv2.convertScaleAbs(picture, alpha=1.1, beta=12)
        side = round(0.035 * size[0])
        end = max(side, round((attack.aspect * size[0] - size[1]) / 2))  # black above and below the photo
        paper = cv2.copyMakeBorder(picture, end, end, side, side, cv2.BORDER_CONSTANT, value=(18, 17, 16))
        alpha = np.full(paper.shape[:2], 255, np.uint8)
        moved = side, end
    face_box = (box[0] + moved[0], box[1] + moved[1], box[2] + moved[0], box[3] + moved[1])
    if attack.bend:
        paper, alpha = (_bent(layer, attack.bend) for layer in (paper, alpha))
    color = cv2.multiply(paper, cv2.merge([alpha, alpha, alpha]), scale=1 / 255)
    return Sheet(np.asarray(cv2.merge([*cv2.split(color), alpha]), np.uint8), face_box)


def _bent(layer: Image, depth: float) -> Image:
    """A sheet bent about its upright middle, as seen from the front: its sides come nearer and curve."""
    height, width = layer.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    u = (x / width - 0.5) * 2
    lift = np.float32(depth) * u * u
    return np.asarray(
        cv2.remap(
            layer, x + u * lift * width * 0.25, y + (y / height - 0.5) * lift * height * 0.5, cv2.INTER_LINEAR
        ),
        np.uint8,
    )


def render(
    attack: Attack, sheet: Sheet, background: Background, n: int, fps: float = 25.0
) -> tuple[Image, Box]:
    """Frame `n` (H, W, 3) BGR and the box of the face in it."""
    image = background(n).copy()
    height, width = image.shape[:2]
    t = n / fps
    roll = np.random.default_rng([attack.seed, 7]).random(12)
    scale = attack.face_px / SHEET_FACE_PX
    unit = attack.face_px
    wobble = np.random.default_rng([attack.seed, n]).normal(size=3) * attack.shake * 0.15
    x = width * (0.42 + 0.16 * roll[0]) + unit * (
        attack.sway * sin(2 * pi * t / (2.6 + roll[1]) + 6 * roll[2])
        + attack.shake * sin(2 * pi * t * 5.1 + 6 * roll[3])
        + wobble[0]
    )
    y = height * (0.42 + 0.08 * roll[4]) + unit * (
        0.5 * attack.sway * sin(2 * pi * t / (3.4 + roll[5]) + 6 * roll[6])
        + attack.shake * sin(2 * pi * t * 4.3 + 6 * roll[7])
        + wobble[1]
    )
    yaw = radians(attack.tilt_deg) * sin(2 * pi * t / 3.1 + 6 * roll[8])
    pitch = radians(attack.tilt_deg) * sin(2 * pi * t / 4.3 + 6 * roll[9])
    turn = radians(attack.tilt_deg * 0.6) * sin(2 * pi * t / 3.7 + 6 * roll[10]) + 0.1 * wobble[2]
    matrix = _projection(sheet, x, y, scale, (yaw, pitch, turn))
    pixels = cv2.warpPerspective(sheet.bgra, matrix, (width, height), flags=cv2.INTER_AREA)
    alpha = cv2.GaussianBlur(pixels[..., 3], (0, 0), 0.7)
    lit = _lit(attack, pixels[..., :3], matrix, t) if attack.kind == "phone" else pixels[..., :3]
    weight = cv2.merge([alpha, alpha, alpha]).astype(np.float32) / 255
    mixed = image * (1 - weight) + lit * weight
    noise = (
        np.random.default_rng([attack.seed, n, 3]).normal(scale=1.6, size=mixed.shape[:2]).astype(np.float32)
    )
    out = np.asarray(np.clip(mixed + noise[..., None], 0, 255), np.uint8)
    return out, _box(matrix, sheet.face_xyxy)


def _lit(attack: Attack, pixels: Image, matrix: NDArray[np.float64], t: float) -> NDArray[np.float32]:
    """The display's light: the moire of its grid with the camera's, and its refresh as bands."""
    height, width = pixels.shape[:2]
    lit = pixels.astype(np.float32)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    if attack.moire:
        inverse = np.linalg.inv(matrix)
        w = inverse[2, 0] * x + inverse[2, 1] * y + inverse[2, 2]
        u = (inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2]) / w
        v = (inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2]) / w
        grid = np.sin(2 * pi * u * 3.37) * 0.6 + np.sin(2 * pi * v * 2.71) * 0.4
        lit *= (1 + attack.moire * grid)[..., None]
    if attack.banding:
        lit *= (1 + attack.banding * np.sin(2 * pi * (y / (0.45 * height) + 1.7 * t)))[..., None]
    return lit


def _projection(
    sheet: Sheet, x: float, y: float, scale: float, angles: tuple[float, float, float]
) -> NDArray[np.float64]:
    """(3, 3) from sheet pixels to the picture: turned about its axes, seen from a few widths away."""
    x1, y1, x2, y2 = sheet.face_xyxy
    yaw, pitch, turn = angles
    far = 4.0 * sheet.bgra.shape[1]
    center = np.array([[1, 0, -(x1 + x2) / 2], [0, 1, -(y1 + y2) / 2], [0, 0, 1]])
    tilted = np.array(
        [[np.cos(yaw), 0, 0], [0, np.cos(pitch), 0], [np.sin(yaw) / far, np.sin(pitch) / far, 1]]
    )
    place = np.array(
        [
            [scale * np.cos(turn), -scale * np.sin(turn), x],
            [scale * np.sin(turn), scale * np.cos(turn), y],
            [0, 0, 1],
        ]
    )
    return np.asarray(place @ tilted @ center, np.float64)


def _box(matrix: NDArray[np.float64], box: Box) -> Box:
    x1, y1, x2, y2 = box
    corners = np.array([(x1, y1, 1), (x2, y1, 1), (x2, y2, 1), (x1, y2, 1)]) @ matrix.T
    points = corners[:, :2] / corners[:, 2:]
    left, top = points.min(axis=0)
    right, bottom = points.max(axis=0)
    return float(left), float(top), float(right), float(bottom)
