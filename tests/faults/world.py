"""The simulated scene: who is where at any instant, what the camera sees of it, and what hides it.

Every person is a rectangle with a noise texture of their own, so that a checker can find them in an
output by correlation alone. Owns people, shots and their pixels; knows nothing of node or hub.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_node.tracking.track import Box
from vision.detections import Image

WIDTH, HEIGHT = 320, 180
COLUMNS, ROWS = 4, 2
PEOPLE = COLUMNS * ROWS
MAX_SPEED = 1.4
"""Face widths a second: somebody who walks past at a few meters."""
COUPLE_S = 3.5
NOBODY = 255
MAX_ALIKE = 0.15
"""Largest correlation of what two people look like from afar."""


@dataclass(frozen=True, slots=True)
class Person:
    """One face: its size, its texture, how it moves about the place it is given."""

    index: int
    width: int
    height: int
    texture: Image
    """(height, width, 3) uint8."""
    noise: NDArray[np.float32]
    """(height, width): the part of the texture that the checker looks for, zero mean."""
    swing_px: tuple[float, float]
    turn_rate: tuple[float, float]
    """rad/s"""
    phase: tuple[float, float]
    consents: bool

    @property
    def identity(self) -> str:
        return f"id-{self.index}"

    @property
    def name(self) -> str:
        return f"Person {self.index}"


@dataclass(frozen=True, slots=True)
class Face:
    """One person in one scene."""

    person: int
    epoch: int
    """Counts uninterrupted stays: it changes with every appearance, cut or leap."""
    box: Box
    left: int
    top: int


@dataclass(frozen=True, slots=True)
class Scene:
    """One instant of the world."""

    at: float
    shot: int
    faces: tuple[Face, ...]
    """Painted in this order: later ones stand in front."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time [since, until)."""

    since: float
    until: float

    def __contains__(self, at: float) -> bool:
        return self.since <= at < self.until


@dataclass(slots=True)
class Script:
    """What happens in the world during one run. Times in seconds from its start."""

    cuts: list[float] = field(default_factory=list)
    moves_camera: bool = False
    """After a cut people stand between the places where they stood before; else in each other's."""
    away: dict[int, list[Span]] = field(default_factory=dict)
    """When a person is not in the picture."""
    crossing: list[tuple[int, int]] = field(default_factory=list)
    """Pairs that walk past each other again and again, the first one behind."""
    rows: list[tuple[int, int, int]] = field(default_factory=list)
    """Three people, twice at most: the first comes close to the middle one, whom the last overlaps."""
    couples: list[tuple[int, int]] = field(default_factory=list)
    """Pairs, three at most, that come together and part; they overlap by half every COUPLE_S."""
    swaps: list[tuple[float, int, int]] = field(default_factory=list)
    """From this instant on the two stand, and move, in each other's place."""
    leaps: list[tuple[float, int, int, float]] = field(default_factory=list)
    """At this instant the second person stands this many widths beside where the first one was, and
    the first one is gone."""
    joins: list[tuple[float, int, int, float]] = field(default_factory=list)
    """The same, but the first one stays."""
    still: set[int] = field(default_factory=set)
    """People who do not move."""
    haste: float = 0.0
    """Everybody walks to and fro at this many times MAX_SPEED; 0: as they like."""


class World:
    """All people of one run, and the pixels of each scene."""

    def __init__(self, rng: np.random.Generator, consenting: int, script: Script) -> None:
        self.script = script
        patterns = _patterns(rng)
        self.people = [_person(rng, i, p, i < consenting, script.haste) for i, p in enumerate(patterns)]
        shots = len(script.cuts) + 1
        self._places = [rng.permutation(PEOPLE) for _ in range(shots)]
        self._backgrounds = [_background(rng) for _ in range(shots)]

    def scene(self, at: float) -> Scene:
        """Who is where at `at`."""
        shot = sum(at >= cut for cut in self.script.cuts)
        faces = [f for p in self._order() if (f := self._face(p, at, shot)) is not None]
        return Scene(at, shot, tuple(faces))

    def paint(self, scene: Scene) -> tuple[Image, NDArray[np.uint8]]:
        """The picture (H, W, 3) and, for each pixel, whose face it shows (H, W); NOBODY elsewhere."""
        image = self._backgrounds[scene.shot].copy()
        owner = np.full((HEIGHT, WIDTH), NOBODY, np.uint8)
        for face in scene.faces:
            person = self.people[face.person]
            rows, columns, inner = clip(face.left, face.top, person)
            image[rows, columns] = person.texture[inner]
            owner[rows, columns] = face.person
        return image, owner

    def background(self, shot: int) -> Image:
        return self._backgrounds[shot]

    def _order(self) -> list[int]:
        behind = [a for a, _ in self.script.crossing]
        return behind + [p for p in range(PEOPLE) if p not in behind]

    def _face(self, index: int, at: float, shot: int) -> Face | None:
        spans = self.script.away.get(index, [])
        if any(at in span for span in spans):
            return None
        stays = sum(at >= span.until for span in spans)
        swapped = [s for s in self.script.swaps if at >= s[0] and index in s[1:]]
        if any(at >= since and index == gone for since, gone, _comer, _widths in self.script.leaps):
            return None
        leapt = [s for s in self.script.leaps + self.script.joins if at >= s[0] and index == s[2]]
        stand_in, shift = index, 0.0
        for _, a, b in swapped:
            stand_in = a if stand_in == b else b if stand_in == a else stand_in
        for _, host, _comer, widths in leapt:
            stand_in, shift = host, widths * self.people[host].width
        person = self.people[index]
        cx, cy = self._center(stand_in, at, shot)
        left, top = round(cx + shift - person.width / 2), round(cy - person.height / 2)
        box = (float(left), float(top), float(left + person.width), float(top + person.height))
        epoch = shot * 10_000 + stays * 100 + len(swapped) * 10 + len(leapt)
        return Face(index, epoch, box, left, top)

    def _center(self, index: int, at: float, shot: int) -> tuple[float, float]:
        for a, b in self.script.crossing:
            if index in (a, b):
                return self._crossing(a, b, index == a, at, shot)
        for number, row in enumerate(self.script.rows):
            if index in row:
                return self._row(row, index, at, HEIGHT * (0.27, 0.73)[number])
        for number, couple in enumerate(self.script.couples):
            if index in couple:
                return self._couple(couple, index, at, WIDTH * (1 / 6, 1 / 2, 5 / 6)[number])
        person = self.people[index]
        cx, cy = self._place(index, shot)
        if index in self.script.still:
            return cx, cy
        cx += person.swing_px[0] * np.sin(person.turn_rate[0] * at + person.phase[0])
        cy += person.swing_px[1] * np.sin(person.turn_rate[1] * at + person.phase[1])
        return cx, cy

    def _crossing(self, a: int, b: int, is_first: bool, at: float, shot: int) -> tuple[float, float]:
        (ax, ay), (bx, by) = self._place(a, shot), self._place(b, shot)
        middle, reach = ((ax + bx) / 2, (ay + by) / 2), ((ax - bx) / 2, (ay - by) / 2)
        distance = max(1.0, float(np.hypot(*reach)))
        width = min(self.people[a].width, self.people[b].width)
        rate = min(2.0, MAX_SPEED * width / distance)
        share = np.cos(rate * at) * (1 if is_first else -1)
        return middle[0] + reach[0] * share, middle[1] + reach[1] * share

    def _row(self, row: tuple[int, int, int], index: int, at: float, cy: float) -> tuple[float, float]:
        """Apart for a while, then side by side: the last one overlaps the middle one by a fifth, not so
        much that the node suspects that they have swapped."""
        side = row.index(index) - 1
        width = max(self.people[row[1]].width, self.people[index].width)
        nearest = 1.0 if side < 0 else 0.8
        return WIDTH / 2 + side * width * (nearest + 0.75 * (1 + np.cos(0.9 * at + (side < 0) * 0.3))), cy

    def _couple(self, couple: tuple[int, int], index: int, at: float, cx: float) -> tuple[float, float]:
        """Closest at COUPLE_S / 2, and every COUPLE_S after it."""
        width = max(self.people[person].width for person in couple)
        distance = width * (0.55 + 0.6 * (1 + np.cos(2 * np.pi * at / COUPLE_S)))
        return cx + (distance if index == couple[1] else -distance) / 2, HEIGHT / 2

    def _place(self, index: int, shot: int) -> tuple[float, float]:
        place = int(self._places[shot][index])
        if self.script.moves_camera and shot % 2:  # nobody stands where somebody stood before the cut
            row, column = divmod(place, COLUMNS - 1)
            return (column + 1) * WIDTH / COLUMNS, (row + 0.5) * HEIGHT / (ROWS + 1)
        row, column = divmod(place, COLUMNS)
        return (column + 0.5) * WIDTH / COLUMNS, (row + 0.5) * HEIGHT / ROWS


def overlap(a: Box, b: Box) -> float:
    """The share of the smaller box that lies in the other."""
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return max(0.0, w) * max(0.0, h) / smaller


def clip(left: int, top: int, person: Person) -> tuple[slice, slice, tuple[slice, slice]]:
    """Rows and columns of the picture that a face takes, and the part of its texture seen there."""
    x1, x2 = max(0, left), min(WIDTH, left + person.width)
    y1, y2 = max(0, top), min(HEIGHT, top + person.height)
    inner = (slice(y1 - top, max(y1, y2) - top), slice(x1 - left, max(x1, x2) - left))
    return slice(y1, max(y1, y2)), slice(x1, max(x1, x2)), inner


def _patterns(rng: np.random.Generator) -> list[NDArray[np.float32]]:
    """What each person looks like from afar (7, 6), no two alike. Two who are alike and trade places in a
    blink are noticed by nothing but the hub: what the test of looks misses is measured, not promised."""
    chosen: list[NDArray[np.float32]] = []
    while len(chosen) < PEOPLE:
        new = rng.choice([-1.0, 1.0], (7, 6)).astype(np.float32)
        if all(abs(float((new * old).mean())) <= MAX_ALIKE for old in chosen):
            chosen.append(new)
    return chosen


def _person(
    rng: np.random.Generator, index: int, pattern: NDArray[np.float32], consents: bool, haste: float
) -> Person:
    width = int(rng.integers(22, 31))
    height = round(width * 1.2)
    coarse = cv2.resize(42.0 * pattern, (width, height), interpolation=cv2.INTER_NEAREST)
    noise = rng.choice([-45.0, 45.0], (height, width)).astype(np.float32)
    gray = (128 + coarse + noise).astype(np.uint8)
    swing = rng.uniform(2.0, 14.0, 2)
    rate = np.minimum(3.0, MAX_SPEED * 0.7 * width / swing) * rng.uniform(0.3, 1.0, 2)
    if haste:
        swing = np.array([rng.uniform(20.0, 28.0), 2.0])
        rate = np.array([haste * MAX_SPEED * width / swing[0], 0.5])
    phase = rng.uniform(0, 2 * np.pi, 2)
    return Person(
        index, width, height, np.repeat(gray[:, :, None], 3, axis=2), noise - noise.mean(),
        (float(swing[0]), float(swing[1])), (float(rate[0]), float(rate[1])),
        (float(phase[0]), float(phase[1])), consents,
    )  # fmt: skip


def _background(rng: np.random.Generator) -> Image:
    """Large patches, so that only a cut changes the thumbnail much, and a little grain."""
    patches = rng.integers(30, 226, (5, 8, 3)).astype(np.float32)
    smooth = cv2.resize(patches, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    grain = rng.normal(0, 6, (HEIGHT, WIDTH, 1))
    return np.asarray(np.clip(smooth + grain, 0, 255), np.uint8)
