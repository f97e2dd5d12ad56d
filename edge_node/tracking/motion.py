"""Where a face will be: a constant-velocity Kalman filter for center and size of one box.

The four coordinates (center x, center y, width, height) are filtered independently, each with a
position and a velocity, so all of it is a handful of (4,) arrays. Noise scales with the face: a
large face is a near one, and near faces move fast in pixels. Called by `tracker` only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

ACCELERATION = np.array([6.0, 6.0, 1.5, 1.5])
"""Standard deviation of the unknown acceleration in face sizes/s²: a head turned or nodded briskly
moves its box by a third of a face in 0.3 s."""
MEASUREMENT = np.array([0.04, 0.04, 0.06, 0.06])
"""Standard deviation of a detected box in face sizes: MTCNN's jitter from frame to frame."""
FIRST_VELOCITY = np.array([3.0, 3.0, 0.5, 0.5])
"""Standard deviation of the velocity of a face seen once, in face sizes/s."""
MAX_LAG = 0.1
"""How far, in face sizes, the filtered box may lie from the observed one. Smoothing is against jitter; a
face that moved by more than was expected must be covered where it is."""
MIN_SIZE_PX = 2.0
"""A predicted width or height never falls below this."""


def to_center(box_xyxy: Vector) -> Vector:
    """(4,) left, top, right, bottom -> (4,) center x, center y, width, height."""
    x1, y1, x2, y2 = box_xyxy
    return np.array([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1])


def to_corners(center: Vector) -> Vector:
    """(4,) center x, center y, width, height -> (4,) left, top, right, bottom."""
    cx, cy, w, h = center
    return np.array([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2])


@dataclass(frozen=True, slots=True)
class Motion:
    """The filter's state at time `at`. Immutable: `predict` and `update` return a new one."""

    at: float
    position: Vector
    """(4,) pixels."""
    velocity: Vector
    """(4,) pixels/s."""
    p_pp: Vector
    """(4,) variance of the position."""
    p_pv: Vector
    """(4,) covariance of position and velocity."""
    p_vv: Vector
    """(4,) variance of the velocity."""

    @staticmethod
    def start(box_xyxy: Vector, at: float) -> Motion:
        """A face seen for the first time: its velocity is unknown and taken as zero."""
        center = to_center(np.asarray(box_xyxy, np.float64))
        size = _size(center)
        zero = np.zeros(4)
        return Motion(at, center, zero, (MEASUREMENT * size) ** 2, zero, (FIRST_VELOCITY * size) ** 2)

    def predict(self, at: float) -> Motion:
        """The state carried to the time `at` (not before `self.at`).

        White-noise acceleration model: Bar-Shalom, Li, Kirubarajan, "Estimation with Applications
        to Tracking and Navigation", 2001, section 6.3.2.
        """
        dt = at - self.at
        if dt <= 0:
            return self
        q = (ACCELERATION * _size(self.position)) ** 2
        position = self.position + self.velocity * dt
        position[2:] = np.maximum(position[2:], MIN_SIZE_PX)
        return Motion(
            at,
            position,
            self.velocity,
            self.p_pp + 2 * dt * self.p_pv + dt * dt * self.p_vv + q * dt**4 / 4,
            self.p_pv + dt * self.p_vv + q * dt**3 / 2,
            self.p_vv + q * dt * dt,
        )

    def update(self, box_xyxy: Vector) -> Motion:
        """The state after an observed box (4,) at `self.at`."""
        measured = to_center(np.asarray(box_xyxy, np.float64))
        r = (MEASUREMENT * _size(measured)) ** 2
        s = self.p_pp + r
        k_p, k_v = self.p_pp / s, self.p_pv / s
        innovation = measured - self.position
        lag = MAX_LAG * _size(measured)
        return Motion(
            self.at,
            np.clip(self.position + k_p * innovation, measured - lag, measured + lag),
            self.velocity + k_v * innovation,
            (1 - k_p) * self.p_pp,
            (1 - k_p) * self.p_pv,
            self.p_vv - k_v * self.p_pv,
        )

    def damped(self, factor: float) -> Motion:
        """The same state with its velocity scaled: a face no longer seen rarely keeps its speed."""
        return Motion(self.at, self.position, self.velocity * factor, self.p_pp, self.p_pv, self.p_vv)

    @property
    def box_xyxy(self) -> Vector:
        """(4,) pixels."""
        return to_corners(self.position)


def _size(center: Vector) -> float:
    return float(max(MIN_SIZE_PX, (center[2] + center[3]) / 2))
