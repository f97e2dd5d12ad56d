"""What happens in a drawn scene: who stands where in frame n. Pure numbers, no pixels.

Everything follows from a Scenario and a frame number, so any frame can be asked for on its own and is
the same on every machine. `capture.synthetic` draws it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import cos, pi, sin

import numpy as np

SWAP_S = 3.6
"""Time two people take to change places."""
OCCLUDER_S = 7.0
"""Time the balloon takes across the picture."""
MARGIN = 0.22
"""How far beyond the edge of the picture a visit begins and ends, in widths of the picture."""
MAX_VISITS = 4096
"""Visits of one person in one shot before track numbers would meet: ten hours of ten seconds."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a scene is to contain. 0 switches a part off."""

    width: int = 1280
    height: int = 720
    fps: float = 25.0
    seed: int = 1
    people: int = 2
    face_px: float = 150.0
    """Height of a face box, before people come nearer or step back."""
    visit_s: float = 0.0
    """People walk in, cross the picture in this time and leave; 0: they stay."""
    absence_s: float = 3.0
    """Between two visits of one person."""
    crossing_every_s: float = 0.0
    """Two neighbors who stay change places, one passing before the other."""
    turning_deg: float = 0.0
    """How far heads turn to the side, as a perspective warp. Beyond 35 the kind is `profile`."""
    lighting: float = 0.0
    """How much the brightness of the picture sways, as a part of it."""
    motion_blur: bool = False
    shot_every_s: float = 0.0
    """Shot cuts: another room, another size, everyone elsewhere, new tracks."""
    occluder_every_s: float = 0.0
    """A balloon drifts past the faces."""

    def __post_init__(self) -> None:
        if self.width < 64 or self.height < 64 or self.width * self.height > 7680 * 4320:
            raise ValueError(f"a scene of {self.width}x{self.height} cannot be drawn")
        if not 0 < self.fps <= 240 or self.people < 1 or self.face_px < 8:
            raise ValueError("a scene needs fps in 0..240, one person at least and faces of 8 px")
        if not 0 <= self.turning_deg <= 70 or not 0 <= self.lighting <= 0.8:
            raise ValueError("turning_deg must be in 0..70 and lighting in 0..0.8")


DEMO = Scenario(crossing_every_s=24.0, occluder_every_s=24.0)
"""Two people who stay, pass each other now and then, and a balloon."""


@dataclass(frozen=True, slots=True)
class Pose:
    """Where and how one person appears in one frame."""

    actor: int
    track: int
    """One number for each stay in the picture; a shot cut and a new visit give another."""
    x: float
    y: float
    """Center of the face, pixels."""
    face_px: float
    """Height of the face box."""
    yaw_deg: float
    tilt_deg: float
    speed_px: float
    """Sideways movement, pixels a frame."""
    nearness: float
    """Higher is drawn later."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Everything that a frame shows, people from far to near."""

    poses: tuple[Pose, ...]
    shot: int
    gain: float
    """Brightness, 1 is as drawn."""
    balloon_xy: tuple[float, float] | None
    """Center of the balloon's layer, pixels."""


def moment(scenario: Scenario, n: int) -> Moment:
    """What frame `n` (from 0) shows. Raises ValueError for a negative number."""
    if n < 0:
        raise ValueError("frames are counted from 0")
    t = n / scenario.fps
    shot = int(t // scenario.shot_every_s) if scenario.shot_every_s else 0
    poses = []
    for actor in range(scenario.people):
        pose = _visit(scenario, actor, t, shot) if scenario.visit_s else _stay(scenario, actor, t, shot)
        if pose is not None:
            poses.append(pose)
    gain = 1.0
    if scenario.lighting:
        gain += scenario.lighting * (0.7 * sin(2 * pi * t / 9.0) + 0.3 * sin(2 * pi * t / 2.3 + 1))
    return Moment(tuple(sorted(poses, key=lambda p: p.nearness)), shot, gain, _balloon(scenario, t))


def _stay(scenario: Scenario, actor: int, t: float, shot: int) -> Pose:
    """Someone who stays: sways a little, and changes places with a neighbor from time to time."""
    roll = _dice(scenario.seed, actor, 0, shot)
    place, speed, passing = _place(scenario, actor, t)
    width, height = scenario.width, scenario.height
    sway = 0.016 * width * sin(2 * pi * t / (6.5 + 2 * roll[0]) + 6 * roll[1])
    x = width * (0.5 + 0.84 * ((place + 0.5) / scenario.people - 0.5)) + sway
    near = 1 + 0.045 * sin(2 * pi * t / (10 + 3 * roll[2]) + 6 * roll[3]) + 0.05 * passing
    steps = abs(speed) * abs(sin(2 * pi * t * 0.9))
    y = height * (0.40 + 0.03 * (roll[4] - 0.5)) + 0.004 * height * sin(2 * pi * t / 3.1 + 6 * roll[5])
    return Pose(
        actor=actor,
        track=shot * MAX_VISITS * scenario.people + actor,
        x=x,
        y=y + 0.006 * height * min(1.0, steps * 3),
        face_px=scenario.face_px * near * _zoom(scenario, shot),
        yaw_deg=_turn(scenario, t, roll),
        tilt_deg=1.6 * sin(2 * pi * t / (5.3 + roll[6]) + 6 * roll[7]),
        speed_px=speed * 0.84 * width / scenario.people / scenario.fps,
        nearness=near + 0.01 * actor,
    )


def _place(scenario: Scenario, actor: int, t: float) -> tuple[float, float, float]:
    """Where in the row someone stands (0 = leftmost), the speed in places a second, and how much
    they have stepped forward (or, negative, back) to pass."""
    people = scenario.people
    if not scenario.crossing_every_s or people < 2:
        return float(actor), 0.0, 0.0
    done, since = divmod(t, scenario.crossing_every_s)
    # The row is as it was after people * (people - 1) swaps of neighbors, taken in turn.
    swaps = int(done) % (people * (people - 1))
    row = list(range(people))
    for k in range(swaps):
        i = k % (people - 1)
        row[i], row[i + 1] = row[i + 1], row[i]
    place = row.index(actor)
    begins = scenario.crossing_every_s - min(SWAP_S, scenario.crossing_every_s)
    i = swaps % (people - 1)
    if since < begins or place not in (i, i + 1):
        return float(place), 0.0, 0.0
    u = (since - begins) / min(SWAP_S, scenario.crossing_every_s)
    way = 1.0 if place == i else -1.0
    moved = u * u * u * (u * (6 * u - 15) + 10)  # Perlin's fade: starts and stops without a jerk
    speed = 30 * u * u * (1 - u) * (1 - u) / SWAP_S
    return place + way * moved, way * speed, way * sin(pi * u)


def _visit(scenario: Scenario, actor: int, t: float, shot: int) -> Pose | None:
    """Someone who walks in at one side and out at the other, then stays away for a while."""
    cycle = scenario.visit_s + scenario.absence_s
    began = _dice(scenario.seed, actor, -1, shot)[0] * cycle
    visit, since = divmod(t + cycle - began, cycle)
    u = since / scenario.visit_s
    if u >= 1.0:
        return None
    roll = _dice(scenario.seed, actor, int(visit), shot)
    way = 1.0 if roll[0] < 0.5 else -1.0
    # Slower in the middle: people look up there. Derivative of the path, for the blur.
    along = u + 0.09 * sin(2 * pi * u * 1.0) * 1.2
    speed = 1 + 0.09 * 1.2 * 2 * pi * cos(2 * pi * u)
    span = 1 + 2 * MARGIN
    x = (along - 0.5) * span * way + 0.5
    height = scenario.height
    step = abs(sin(2 * pi * t * 0.95 + 6 * roll[1]))
    near = 0.75 + 0.5 * roll[2] + 0.12 * (u - 0.5) * (1 if roll[3] < 0.5 else -1)
    visit_number = int(visit) % MAX_VISITS
    return Pose(
        actor=actor,
        track=(shot * MAX_VISITS + visit_number) * scenario.people + actor,
        x=x * scenario.width,
        y=height * (0.34 + 0.14 * roll[4]) + 0.012 * height * step,
        face_px=scenario.face_px * near * _zoom(scenario, shot),
        yaw_deg=_turn(scenario, t, roll),
        tilt_deg=2.5 * sin(2 * pi * t / (2.1 + roll[5]) + 6 * roll[6]),
        speed_px=way * speed * span * scenario.width / scenario.visit_s / scenario.fps,
        nearness=near,
    )


def _turn(scenario: Scenario, t: float, roll: tuple[float, ...]) -> float:
    """Degrees to the side: mostly forward, now and then a slow look to one side."""
    if not scenario.turning_deg:
        return 0.0
    wave = sin(2 * pi * t / (5.0 + 3 * roll[8]) + 6 * roll[9])
    return float(scenario.turning_deg * wave * abs(wave))


def _zoom(scenario: Scenario, shot: int) -> float:
    return (1.0, 0.7, 1.3, 0.85)[shot % 4] if scenario.shot_every_s else 1.0


def _balloon(scenario: Scenario, t: float) -> tuple[float, float] | None:
    if not scenario.occluder_every_s:
        return None
    flight, since = divmod(t, scenario.occluder_every_s)
    # It comes in the middle of each interval: the scene begins with a free view of everyone.
    u = (since - scenario.occluder_every_s / 2) / OCCLUDER_S
    if not 0 <= u < 1:
        return None
    x = -0.1 + 1.2 * (u if int(flight) % 2 == 0 else 1 - u)
    return x * scenario.width, (0.50 + 0.03 * sin(7 * u)) * scenario.height


@lru_cache(maxsize=1024)
def _dice(seed: int, actor: int, visit: int, shot: int) -> tuple[float, ...]:
    """Ten numbers in 0..1 that belong to one visit of one person."""
    return tuple(np.random.default_rng([seed, actor, visit + 1, shot]).random(10).tolist())
