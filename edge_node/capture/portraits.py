"""Portraits as cut-outs for drawn scenes: two that come with well-known packages, or any folder.

Owns finding, reading and cutting out. The two of the demo are in the public domain (NASA, US Navy);
their outlines are traced here, so that nothing is guessed at run time. For other photos the caller
says where the face is; they are cut out with a soft edge around head and shoulders.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_node.capture.source import SourceError
from vision.detections import Image

Box = tuple[float, float, float, float]
"""left, top, right, bottom in pixels"""

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
MAX_PORTRAITS = 64
"""Photos taken from a folder: a scene shows a handful of people."""
MAX_SIDE_PX = 640
"""Larger photos are reduced: no face of a scene needs more."""


@dataclass(frozen=True, slots=True)
class Portrait:
    """One person cut out of a photo."""

    identity: str
    bgra: Image
    """(H, W, 4) uint8, color already multiplied by alpha."""
    half: Image
    """The same at half size, for drawing small."""
    face_xyxy: Box

    @property
    def face_height(self) -> float:
        return self.face_xyxy[3] - self.face_xyxy[1]

    @property
    def face_center(self) -> tuple[float, float]:
        x1, y1, x2, y2 = self.face_xyxy
        return (x1 + x2) / 2, (y1 + y2) / 2


@dataclass(frozen=True, slots=True)
class _DemoPortrait:
    package: str
    file: str
    face_xyxy: Box
    outline: tuple[tuple[int, int], ...]


# fmt: off
_DEMO = {
    "Grace Hopper": _DemoPortrait(
        "matplotlib", "mpl-data/sample_data/grace_hopper.jpg", (178.0, 112.0, 352.0, 330.0),
        (
            (232, 29), (217, 36), (208, 45), (185, 57), (176, 67), (174, 80), (168, 91), (157, 101),
            (148, 106), (147, 159), (154, 183), (155, 213), (161, 225), (170, 255), (170, 279),
            (177, 287), (189, 293), (197, 300), (197, 319), (184, 334), (163, 346), (133, 355),
            (122, 361), (99, 364), (80, 370), (61, 381), (53, 384), (48, 391), (41, 409), (30, 424),
            (29, 462), (19, 530), (17, 571), (13, 599), (507, 599), (506, 470), (503, 436),
            (499, 420), (491, 396), (487, 391), (463, 379), (417, 366), (372, 342), (349, 332),
            (339, 326), (335, 320), (335, 307), (342, 289), (343, 278), (346, 272), (356, 264),
            (359, 259), (365, 233), (369, 138), (367, 104), (363, 92), (353, 88), (348, 78),
            (344, 70), (332, 57), (314, 47), (299, 43), (288, 34), (275, 28), (253, 25), (240, 27),
        ),
    ),
    "Eileen Collins": _DemoPortrait(
        "skimage", "data/astronaut.png", (179.0, 65.0, 267.0, 172.0),
        (
            (173, 41), (170, 47), (157, 63), (156, 88), (160, 103), (170, 115), (174, 124),
            (183, 137), (183, 151), (178, 155), (153, 160), (146, 164), (137, 174), (129, 176),
            (124, 183), (122, 200), (115, 205), (102, 220), (78, 237), (66, 249), (48, 280),
            (42, 297), (41, 306), (32, 330), (28, 346), (28, 368), (21, 394), (21, 414), (25, 426),
            (25, 456), (28, 481), (33, 495), (39, 503), (39, 511), (507, 511), (504, 485),
            (497, 479), (489, 471), (487, 457), (492, 448), (492, 430), (485, 405), (476, 386),
            (453, 363), (434, 353), (412, 346), (374, 347), (366, 343), (362, 333), (355, 323),
            (354, 305), (350, 289), (344, 279), (339, 266), (326, 253), (302, 236), (296, 219),
            (288, 206), (256, 175), (256, 159), (265, 138), (274, 132), (288, 115), (293, 108),
            (297, 95), (297, 75), (293, 58), (285, 43), (272, 32), (256, 24), (232, 18), (204, 25),
            (193, 33),
        ),
    ),
}
# fmt: on

DEMO_NAMES = tuple(_DEMO)
"""The people of the demo scene."""


def demo_portrait(name: str) -> Image:
    """The photo of one of DEMO_NAMES, as enrolled in the demo: (H, W, 3) uint8 BGR.

    Raises SourceError where the package that brings it is not installed, ValueError for another name.
    """
    if name not in _DEMO:
        raise ValueError(f"the demo knows {' and '.join(DEMO_NAMES)}, not {name!r}")
    return _read(demo_portrait_path(name))


def demo_portrait_path(name: str) -> Path:
    """The file of that photo. The package is located, not imported: importing takes a second."""
    demo = _DEMO[name]
    spec = importlib.util.find_spec(demo.package)
    path = None if spec is None or spec.origin is None else Path(spec.origin).parent / demo.file
    if path is None or not path.is_file():
        raise SourceError(
            "the demo scene needs two portraits that come with matplotlib and scikit-image; "
            "install them with: pip install 'veilcast[demo]'"
        )
    return path


def demo_portraits() -> list[Portrait]:
    """Both people of the demo, cut out along their outlines."""
    portraits = []
    for name, demo in _DEMO.items():
        photo = demo_portrait(name)
        alpha = np.zeros(photo.shape[:2], np.uint8)
        cv2.fillPoly(alpha, [np.array(demo.outline, np.int32)], (255,), cv2.LINE_AA)
        portraits.append(cut_out(name, photo, demo.face_xyxy, cv2.GaussianBlur(alpha, (0, 0), 1.4)))
    return portraits


def folder_portraits(folder: Path, locate: Callable[[Image], Box | None]) -> list[Portrait]:
    """Everyone in `folder`: a folder per person (named after them) or one photo per person.

    `locate` finds the face to follow in a photo (BGR), or None; such a photo is left out. Raises
    SourceError where no portrait remains. At most MAX_PORTRAITS, in the order of their names.
    """
    if not folder.is_dir():
        raise SourceError(f"there is no folder {folder}; give a folder of portraits")
    portraits: list[Portrait] = []
    for path in sorted(folder.rglob("*")):
        if len(portraits) >= MAX_PORTRAITS:
            break
        if path.suffix.lower() not in PHOTO_SUFFIXES or not path.is_file():
            continue
        identity = path.stem if path.parent == folder else path.relative_to(folder).parts[0]
        photo = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if photo is None:
            continue
        photo = _reduced(np.asarray(photo, np.uint8))
        face = locate(photo)
        if face is not None:
            portraits.append(cut_out(identity, photo, face, _head_and_shoulders(photo.shape[:2], face)))
    if not portraits:
        raise SourceError(f"no photo with a face in {folder}; give a folder per person, or photos")
    return portraits


def cut_out(identity: str, photo: Image, face: Box, alpha: NDArray[np.uint8]) -> Portrait:
    """A portrait from a photo (H, W, 3) BGR and its alpha (H, W) uint8."""
    weight = cv2.merge([alpha, alpha, alpha])
    color = cv2.multiply(photo, weight, scale=1 / 255)
    bgra = np.asarray(cv2.merge([*cv2.split(color), alpha]), np.uint8)
    height, width = bgra.shape[:2]
    half = cv2.resize(bgra, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return Portrait(identity, bgra, np.asarray(half, np.uint8), face)


def _head_and_shoulders(shape: tuple[int, ...], face: Box) -> NDArray[np.uint8]:
    """Alpha of a soft shape around a head and the shoulders below it."""
    height, width = shape[:2]
    cx, cy = (face[0] + face[2]) / 2, (face[1] + face[3]) / 2
    fw, fh = face[2] - face[0], face[3] - face[1]
    feather = max(1.0, fw * 0.05)
    margin = round(2.5 * feather)  # the edge of the photo must not show as a line
    alpha = np.zeros((height, width), np.uint8)
    cv2.ellipse(
        alpha, (round(cx), round(cy - 0.08 * fh)), (round(0.78 * fw), round(0.88 * fh)), 0, 0, 360, (255,), -1
    )
    cv2.ellipse(
        alpha, (round(cx), round(cy + 1.75 * fh)), (round(1.5 * fw), round(1.1 * fh)), 0, 0, 360, (255,), -1
    )
    alpha[:margin] = 0
    alpha[:, :margin] = 0
    alpha[:, width - margin :] = 0
    return np.asarray(cv2.GaussianBlur(alpha, (0, 0), feather), np.uint8)


def _reduced(photo: Image) -> Image:
    longest = max(photo.shape[:2])
    if longest <= MAX_SIDE_PX:
        return photo
    scale = MAX_SIDE_PX / longest
    return np.asarray(cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def _read(path: Path) -> Image:
    photo = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if photo is None:
        raise SourceError(f"{path} cannot be read as a picture; install its package again")
    return np.asarray(photo, np.uint8)
