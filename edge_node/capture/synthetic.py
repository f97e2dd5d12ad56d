"""Drawn scenes with real faces and exact ground truth: the demo, and labelled input for tests.

`SceneRenderer.render(n)` is pure: the same scenario, portraits and number give the same pixels and the
same labels. What happens in a scene is decided in `capture.scene`. `SceneSource` makes it a source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, radians, sin

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_node.capture.portraits import DEMO_NAMES, Box, Portrait, demo_portrait, demo_portraits
from edge_node.capture.room import COUNTER_TOP, Room, draw_room
from edge_node.capture.scene import DEMO, Moment, Pose, Scenario, moment
from edge_node.capture.source import CapturedImage, SourceEnded, SourceInfo, SourceKind, SourceOptions
from vision.detections import Image

__all__ = ["DEMO_NAMES", "GroundTruth", "SceneRenderer", "SceneSource", "demo_portrait", "open_demo"]

PROFILE_DEG = 35.0
PARTIAL = 0.6
"""A face of which less than this is visible is called partial, like in the labels of real clips."""
EYE_DISTANCE = 2.2
"""Distance of the eye for turned heads, in widths of the cut-out."""
_GRID = 14
"""Points a side at which the visible part of a face is measured."""


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """One face of one frame."""

    track: int
    """One number for each stay in the picture."""
    identity: str
    box_xyxy: Box
    """Pixels; may reach beyond the picture, and is the whole face even where something covers it."""
    visible: float
    """Part of the face that can be seen, 0..1."""
    kind: str
    """frontal, profile or partial."""


@dataclass(frozen=True, slots=True)
class _Layer:
    """Something drawn on the picture: its pixels and how they get there."""

    bgra: Image
    to_frame: NDArray[np.float64]
    """(3, 3) from layer pixels to frame pixels."""
    blur_px: int = 0


class SceneRenderer:
    """Draws a scenario with these portraits. One thread at a time."""

    def __init__(self, scenario: Scenario, portraits: Sequence[Portrait]) -> None:
        if not portraits:
            raise ValueError("a scene needs at least one portrait")
        self.scenario = scenario
        self._portraits = list(portraits)
        size = (scenario.width, scenario.height)
        self._rooms = [draw_room(*size)]
        if scenario.shot_every_s:
            self._rooms.append(draw_room(*size, is_evening=True))

    def render(self, n: int) -> tuple[Image, list[GroundTruth]]:
        """Frame `n`: (H, W, 3) uint8 BGR, and every face that reaches into the picture."""
        now = moment(self.scenario, n)
        room = self._rooms[now.shot % len(self._rooms)]
        layers = [self._person(pose, now.shot) for pose in now.poses]
        image = room.back.copy()
        for layer in layers:
            _draw(image, layer)
        image[image.shape[0] - room.counter.shape[0] :] = room.counter
        if now.balloon_xy is not None:
            balloon = _balloon_layer(room, now.balloon_xy)
            _draw(image, balloon)
            layers.append(balloon)
        if now.gain != 1.0:
            image = np.asarray(cv2.convertScaleAbs(image, alpha=now.gain), np.uint8)
        return image, self._truth(now, layers)

    def _portrait(self, pose: Pose, shot: int) -> Portrait:
        return self._portraits[(pose.actor + shot * self.scenario.people) % len(self._portraits)]

    def _person(self, pose: Pose, shot: int) -> _Layer:
        portrait = self._portrait(pose, shot)
        scale = pose.face_px / portrait.face_height
        full_to_frame = _placement(portrait, pose, scale, COUNTER_TOP * self.scenario.height)
        is_small = scale < 0.6
        bgra = portrait.half if is_small else portrait.bgra
        if is_small:
            full_to_frame = full_to_frame @ np.diag((2.0, 2.0, 1.0))
        blur_px = round(abs(pose.speed_px) * 0.5) if self.scenario.motion_blur else 0
        return _Layer(bgra, full_to_frame, blur_px)

    def _truth(self, now: Moment, layers: list[_Layer]) -> list[GroundTruth]:
        truth = []
        counter_y = self.scenario.height - self._rooms[0].counter.shape[0]
        for i, pose in enumerate(now.poses):
            portrait = self._portrait(pose, now.shot)
            to_frame = layers[i].to_frame
            if layers[i].bgra is portrait.half:
                to_frame = to_frame @ np.diag((0.5, 0.5, 1.0))
            box = _box(to_frame, portrait.face_xyxy)
            if box[2] <= 0 or box[0] >= self.scenario.width or box[3] <= 0 or box[1] >= counter_y:
                continue
            points = _through(to_frame, _face_points(portrait.face_xyxy))
            seen = (points[:, 0] >= 0) & (points[:, 0] < self.scenario.width)
            seen &= (points[:, 1] >= 0) & (points[:, 1] < counter_y)
            for later in layers[i + 1 :]:
                seen &= ~_covered(later, points)
            visible = float(seen.mean())
            is_turned = abs(pose.yaw_deg) > PROFILE_DEG
            kind = "partial" if visible < PARTIAL else "profile" if is_turned else "frontal"
            truth.append(GroundTruth(pose.track, portrait.identity, box, visible, kind))
        return truth


def _placement(portrait: Portrait, pose: Pose, scale: float, counter_y: float) -> NDArray[np.float64]:
    """(3, 3) from cut-out pixels to frame pixels: turn, tilt, scale, then move to its place."""
    cx, cy = portrait.face_center
    height, width = portrait.bgra.shape[:2]
    # Nobody ends above the counter: where the photo ends below the face, its person stands lower.
    y = max(pose.y, counter_y + 8 - (height - cy) * scale)
    yaw, tilt = radians(pose.yaw_deg), radians(pose.tilt_deg)
    far = EYE_DISTANCE * width
    center = np.array([[1, 0, -cx], [0, 1, -cy], [0, 0, 1]], np.float64)
    turn = np.array([[far * cos(yaw), 0, 0], [0, far, 0], [sin(yaw), 0, far]], np.float64) / far
    place = np.array(
        [
            [scale * cos(tilt), -scale * sin(tilt), pose.x],
            [scale * sin(tilt), scale * cos(tilt), y],
            [0, 0, 1],
        ]
    )
    return np.asarray(place @ turn @ center, np.float64)


def _balloon_layer(room: Room, center: tuple[float, float]) -> _Layer:
    height, width = room.balloon.shape[:2]
    move = np.array([[1, 0, center[0] - width / 2], [0, 1, center[1] - height * 0.36], [0, 0, 1]])
    return _Layer(room.balloon, move)


def _draw(image: Image, layer: _Layer) -> None:
    """Lay a layer over the picture, in place. Only the part that it touches is computed."""
    height, width = layer.bgra.shape[:2]
    x1, y1, x2, y2 = _box(layer.to_frame, (0, 0, width, height))
    left, top = max(0, int(x1) - layer.blur_px), max(0, int(y1))
    right, bottom = min(image.shape[1], int(x2) + 1 + layer.blur_px), min(image.shape[0], int(y2) + 1)
    if left >= right or top >= bottom:
        return
    shift = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]], np.float64)
    size = (right - left, bottom - top)
    matrix = shift @ layer.to_frame
    if abs(matrix[2, 0]) < 1e-12:
        pixels = cv2.warpAffine(layer.bgra, matrix[:2], size, flags=cv2.INTER_LINEAR)
    else:
        pixels = cv2.warpPerspective(layer.bgra, matrix, size, flags=cv2.INTER_LINEAR)
    if layer.blur_px > 1:
        pixels = cv2.blur(pixels, (layer.blur_px, 1))
    see_through = cv2.bitwise_not(cv2.extractChannel(pixels, 3))
    part = image[top:bottom, left:right]
    behind = cv2.multiply(part, cv2.merge([see_through, see_through, see_through]), scale=1 / 255)
    cv2.add(behind, cv2.cvtColor(pixels, cv2.COLOR_BGRA2BGR), dst=behind)
    part[:] = behind


def _through(matrix: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 2) points through a (3, 3) projection."""
    ahead = points @ matrix[:2, :2].T + matrix[:2, 2]
    return np.asarray(ahead / (points @ matrix[2, :2] + matrix[2, 2])[:, None], np.float64)


def _box(matrix: NDArray[np.float64], box: Box) -> Box:
    """The upright box around a box that went through a projection."""
    x1, y1, x2, y2 = box
    corners = _through(matrix, np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], np.float64))
    left, top = corners.min(axis=0)
    right, bottom = corners.max(axis=0)
    return float(left), float(top), float(right), float(bottom)


def _face_points(face: Box) -> NDArray[np.float64]:
    """(N, 2) points spread evenly over the ellipse in a face box."""
    side = np.asarray((np.arange(_GRID) + 0.5) / _GRID * 2 - 1, np.float64)
    x, y = (a.ravel() for a in np.meshgrid(side, side))
    inside = x * x + y * y <= 1
    offsets = np.stack([x[inside], y[inside]], 1)
    center = ((face[0] + face[2]) / 2, (face[1] + face[3]) / 2)
    half = ((face[2] - face[0]) / 2, (face[3] - face[1]) / 2)
    return np.asarray(np.array(center) + offsets * half, np.float64)


def _covered(layer: _Layer, points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(N,) whether a layer covers these points of the frame."""
    back = np.asarray(np.linalg.inv(layer.to_frame), np.float64)
    there = np.floor(_through(back, points)).astype(np.int64)
    height, width = layer.bgra.shape[:2]
    within = (there[:, 0] >= 0) & (there[:, 0] < width) & (there[:, 1] >= 0) & (there[:, 1] < height)
    covered = np.zeros(len(points), np.bool_)
    covered[within] = layer.bgra[there[within, 1], there[within, 0], 3] >= 128
    return covered


class SceneSource:
    """A drawn scene as a source. Endless unless `frames` is given."""

    def __init__(self, renderer: SceneRenderer, label: str = "demo scene", frames: int | None = None) -> None:
        scenario = renderer.scenario
        self.skipped = 0
        self.info = SourceInfo(
            scenario.width, scenario.height, scenario.fps, SourceKind.DEMO, label, is_live=False
        )
        self._renderer = renderer
        self._frames = frames
        self._next = 0

    def read(self) -> CapturedImage:
        """The next frame. Raises SourceEnded after the last one."""
        if self._frames is not None and self._next >= self._frames:
            raise SourceEnded(f"{self.info.label} is at its end")
        image, _ = self._renderer.render(self._next)
        pts_s = self._next / self._renderer.scenario.fps
        self._next += 1
        return CapturedImage(image, pts_s)

    def close(self) -> None:
        """Nothing is held open."""


def open_demo(options: SourceOptions) -> SceneSource:
    """The demo scene at the wished size and rate. Raises SourceError where the portraits are absent."""
    scenario = Scenario(
        width=options.width,
        height=options.height,
        fps=options.fps,
        seed=options.seed,
        face_px=DEMO.face_px * options.height / DEMO.height,
        crossing_every_s=DEMO.crossing_every_s,
        occluder_every_s=DEMO.occluder_every_s,
    )
    return SceneSource(SceneRenderer(scenario, demo_portraits()))
