"""Re-identification of our own output: how often an attacker names the person behind a veil.

Keys: `reid_ratio_veil`, `_solid`, `_blur`, `_pixelate`: the rate of a right first guess among 100 people,
of the better of two attackers, divided by chance (1 in 100). Everybody stands before the same cameras, so
that nothing but the face tells them apart; what surroundings tell is measured beside it (`context`).
Needs `../shared/data/lfw`; docs/privacy.md explains and shows the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reid_attack import Floats, Labels, Rate, compare, together, top1, train
from benchmarks.reid_faces import (
    Face,
    around,
    before_camera,
    cameras,
    cut,
    load,
    mask_all,
    masked,
    pixels_of,
)
from benchmarks.reid_sheet import write
from edge_node.privacy.veil import Style, VeilSettings
from hub.embedding.dlib_resnet import DlibResnet

CLOSED_SET = 100
PEOPLE, QUICK_PEOPLE = 300, 100
TABLE_PEOPLE = 120
"""For the strengths other than the product's own."""
CAMERAS = 6
STRENGTHS = {Style.PIXELATE: (2, 4, 6, 9, 14), Style.BLUR: (0.03, 0.06, 0.12, 0.25, 0.5)}
"""Blocks across a region, and sigma in region sizes; 6 and 0.12 are the product's."""


@dataclass(frozen=True, slots=True)
class Attack:
    """Both attackers against one style."""

    compared: Rate
    trained: Rate

    @property
    def better(self) -> Rate:
        return max(self.compared, self.trained, key=lambda rate: rate.ratio)

    def table(self) -> dict[str, Any]:
        best = self.better
        return {
            "ratio": round(best.ratio, 2),
            "interval_95": [round(float(bound), 2) for bound in (best.low, best.high)],
            "by_chance_95": [round(bound, 2) for bound in best.by_chance],
            "embedder": round(self.compared.ratio, 2),
            "trained": round(self.trained.ratio, 2),
            "probes": best.probes,
        }


def measure(quick: bool = False, out: Path | None = None) -> dict[str, Any]:
    """All four styles; in full also the table by strength and what the surroundings tell.

    out: folder for `reid.png`, the table as a picture. Raises FileNotFoundError without the pictures.
    """
    faces = load(QUICK_PEOPLE if quick else PEOPLE)
    model = DlibResnet()
    clear = model.embed([face.clear for face in faces]).astype(np.float64)
    places = cameras(CAMERAS)
    styles: dict[str, Attack] = {}
    for style in Style:
        # `veil` is so near to chance that it takes many probes to tell; the others need few.
        used = places[: 2 if quick else CAMERAS] if style is Style.VEIL else places[:1]
        styles[style.value] = _attack(faces, used, VeilSettings(style, allow_weak=True), clear, model)
    result: dict[str, Any] = {f"reid_ratio_{name}": round(a.better.ratio, 2) for name, a in styles.items()}
    people, turns = _labels(faces)
    result |= {
        "people": CLOSED_SET,
        "drawn_from": int(people.max()) + 1,
        "chance": 1 / CLOSED_SET,
        "clear_faces": round(top1(compare(clear, clear, people, turns), people, CLOSED_SET).ratio, 1),
        "styles": {name: attack.table() for name, attack in styles.items()},
        "context": _context(faces),
    }
    if not quick:
        few = [face for face in faces if face.person < TABLE_PEOPLE]
        result["strengths"] = _strengths(few, places[:1], clear[: len(few)], model, styles)
        if out is not None:
            write(out / "reid.png", result["styles"], result["strengths"])
    return result


def _attack(
    faces: Sequence[Face], places: Sequence[Any], settings: VeilSettings, clear: Floats, model: DlibResnet
) -> Attack:
    """Mask everybody before each camera and let both attackers guess."""
    seen = [
        mask_all([before_camera(face, place, settings.growth, seed) for face in faces], settings, model)
        for seed, place in enumerate(places)
    ]
    people, turns = (np.tile(labels, len(seen)) for labels in _labels(faces))
    embedded = np.concatenate([part.embeddings for part in seen]).astype(np.float64)
    pixels = np.concatenate([part.pixels for part in seen]).astype(np.float64)
    guesses = compare(embedded, np.tile(clear, (len(seen), 1)), people, turns)
    learned = together(train(pixels, people, turns), train(embedded, people, turns))
    return Attack(top1(guesses, people, CLOSED_SET), top1(learned, people, CLOSED_SET))


def _strengths(
    faces: Sequence[Face],
    places: Sequence[Any],
    clear: Floats,
    model: DlibResnet,
    own: Mapping[str, Attack],
) -> list[dict[str, Any]]:
    """The two weak styles by strength; `own` has those of the product's own strength."""
    rows = []
    for style, values in STRENGTHS.items():
        for value in values:
            settings = (
                VeilSettings(style, allow_weak=True, blocks=int(value))
                if style is Style.PIXELATE
                else VeilSettings(style, allow_weak=True, blur_sigma=value)
            )
            is_own = settings == VeilSettings(style, allow_weak=True)
            attack = own[style.value] if is_own else _attack(faces, places, settings, clear, model)
            rows.append({"style": style.value, "strength": value, **attack.table()})
    return rows


def _context(faces: Sequence[Face]) -> dict[str, float]:
    """What surroundings and shape tell about the same people, without any pixel of their faces.

    In their own photos: the cut of a `veil`, whose colors come from around it; the whole picture with `solid`
    over the face; the size and shape of the veil alone.
    """
    people, turns = _labels(faces)
    veil, solid = VeilSettings(Style.VEIL), VeilSettings(Style.SOLID)
    fills = pixels_of([cut(masked(f, veil), f.box_xyxy, veil.growth) for f in faces])
    pictures = np.array([around(masked(f, solid)) for f in faces])
    boxes = np.array([f.box_xyxy for f in faces])
    sizes = boxes[:, 2:] - boxes[:, :2]
    found = {"veil_in_own_photo": fills, "whole_own_photo": pictures, "size_in_own_photo": sizes}
    return {
        name: round(top1(train(np.asarray(f, np.float64), people, turns), people, CLOSED_SET).ratio, 2)
        for name, f in found.items()
    }


def _labels(faces: Sequence[Face]) -> tuple[Labels, Labels]:
    """(N,) person and turn of each face."""
    return np.array([f.person for f in faces], np.int64), np.array([f.turn for f in faces], np.int64)
