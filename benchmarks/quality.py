"""Does `vision.quality` foretell which crops are useful? On LFW's faces, as they are and spoiled in ten ways.

Usefulness of a crop: its similarity to its own person (the mean of their other photos) less that to the ten
most similar of 600 strangers. Spoiled: smaller, blurred by focus or motion, dark, noisy, covered (mask,
dark glasses, one side, a patch), lit from one side. Keys: `spearman` (rank correlation with
`Quality.overall`, all crops of people who took no part in fitting), `spearman_KIND`, `ms_per_crop`. Data:
`../shared/data/lfw`.

`python -m benchmarks.quality` fits the model anew, on the people of pairsDevTrain, and writes it into
vision/.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from benchmarks.lfw import LFW, crop_of, embedded, people_of, person_of, read_pairs
from hub.embedding.dlib_resnet import DlibResnet
from vision.crops import CROP_PX, FaceCrop, decode_crop, encode_crop
from vision.detector import Mtcnn, MtcnnSettings
from vision.quality import MODEL_FILE, SIDE, Vector, measured, quality_of, shipped_model, small_face

SPOILED_EACH = 3
PHOTOS_EACH = 4
CROWD = 600
RIDGE = 20.0
Random = np.random.Generator
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Sample:
    """One crop and what it was worth."""

    crop: FaceCrop
    face_px: float
    kind: str
    is_for_fitting: bool
    usefulness: float


def measure(quick: bool = False) -> dict[str, Any]:
    """The shipped model on people who took no part in fitting."""
    return report([s for s in samples(30 if quick else 10_000, fitting=False) if not s.is_for_fitting])


def report(held_out: Sequence[Sample]) -> dict[str, Any]:
    started = time.perf_counter()
    overall = np.array([quality_of(s.crop, s.face_px).overall for s in held_out])
    spent_ms = (time.perf_counter() - started) * 1000 / len(held_out)
    useful, kinds = np.array([s.usefulness for s in held_out]), np.array([s.kind for s in held_out])
    found: dict[str, Any] = {"crops": len(held_out), "spearman": _rank(overall, useful)}
    for kind in np.unique(kinds):
        found[f"spearman_{kind}"] = _rank(overall[kinds == kind], useful[kinds == kind])
        found[f"median_{kind}"] = round(float(np.median(overall[kinds == kind])), 2)
    return found | {"ms_per_crop": round(spent_ms, 3)}


def _rank(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return round(float(spearmanr(a, b).statistic), 3)


# --- samples --------------------------------------------------------------------------------------


def samples(at_most_people: int, fitting: bool = True, seed: int = 5) -> list[Sample]:
    """Crops of people with at least three photos; without `fitting` only of pairsDevTest's."""
    random = np.random.default_rng(seed)
    train, test = (people_of(read_pairs(name)) for name in ("pairsDevTrain", "pairsDevTest"))
    photos = sorted(str(path.relative_to(LFW / "images")) for path in (LFW / "images").rglob("*.jpg"))
    faces = embedded(photos)
    own = {person: names for person, names in faces.of(train | test).items() if len(names) >= 3}
    crowd = _crowd(faces.vectors, random)
    wanted = [person for person in sorted(own) if fitting or person not in train]
    random.shuffle(wanted)
    detector, model = Mtcnn(MtcnnSettings(min_face_px=40, threads=1)), DlibResnet(threads=1)
    found: list[Sample] = []
    for number, person in enumerate(wanted[:at_most_people]):
        if number % 50 == 0:
            print(f"  {number} of {min(len(wanted), at_most_people)} people", file=sys.stderr)
        for photo in own[person][:PHOTOS_EACH]:
            others = np.stack([faces.vectors[name] for name in own[person] if name != photo][:6])
            face = crop_of(detector, LFW / "images" / photo)
            if face is not None:
                template = others.sum(axis=0) / np.linalg.norm(others.sum(axis=0))
                strangers = np.stack([v for name, v in crowd.items() if name != person])
                found += _spoiled(model, face[0], random, (template, strangers), person in train)
    return found


def _crowd(vectors: dict[str, Vector], random: Random) -> dict[str, Vector]:
    """One photo each of CROWD people."""
    first = {person_of(photo): photo for photo in sorted(vectors, reverse=True)}
    names = random.choice(sorted(first), CROWD, replace=False)
    return {str(name): vectors[first[str(name)]] for name in names}


def _spoiled(
    model: DlibResnet, crop: FaceCrop, random: Random, against: tuple[Vector, Vector], is_for_fitting: bool
) -> list[Sample]:
    kinds = ["none", *random.choice(sorted(WAYS), SPOILED_EACH, replace=False)]
    made = [(str(kind), *spoil(crop, str(kind), random)) for kind in kinds]
    crops = [decode_crop(encode_crop(spoiled), spoiled.landmarks) for _, spoiled, _ in made]
    template, strangers = against
    result = []
    for (kind, _, face_px), arrived, vector in zip(made, crops, model.embed(crops), strict=True):
        nearest = np.sort(strangers @ vector)[-10:].mean()
        result.append(Sample(arrived, face_px, kind, is_for_fitting, float(vector @ template - nearest)))
    return result


def spoil(crop: FaceCrop, kind: str, random: Random) -> tuple[FaceCrop, float]:
    """A crop made worse, and how many pixels its face would have had."""
    face_px = float(random.uniform(75, 110))
    if kind == "none":
        return crop, face_px
    if kind == "size":
        face_px = float(np.exp(random.uniform(np.log(18), np.log(70))))
        side = max(8, round(CROP_PX * face_px / 172))
        small = cv2.resize(crop.image_rgb, (side, side), interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, (CROP_PX, CROP_PX), interpolation=cv2.INTER_CUBIC)
        jitter = 86 / face_px
    else:
        image = WAYS[kind](crop.image_rgb.copy(), crop.landmarks, random)
        jitter = 3.0 if kind in COVERS else 0.0
    landmarks = crop.landmarks + random.normal(0, jitter, (5, 2)) if jitter else crop.landmarks
    return FaceCrop(np.clip(image, 0, 255).astype(np.uint8), landmarks.astype(np.float32)), face_px


def _blurred(image: Pixels, _: Vector, random: Random) -> Any:
    return cv2.GaussianBlur(image, (0, 0), 1 + 9 * random.uniform())


def _moved(image: Pixels, _: Vector, random: Random) -> Any:
    length = int(5 + 35 * random.uniform())
    line = np.zeros((length, length), np.float32)
    line[length // 2] = 1
    turn = cv2.getRotationMatrix2D((length / 2 - 0.5, length / 2 - 0.5), random.uniform(0, 180), 1)
    line = np.asarray(cv2.warpAffine(line, turn, (length, length)))
    return cv2.filter2D(image, -1, line / line.sum(), borderType=cv2.BORDER_REPLICATE)


def _dark(image: Pixels, _: Vector, random: Random) -> Any:
    return image * (0.35 * random.uniform() + 0.03) + random.normal(0, 3, image.shape)


def _noisy(image: Pixels, _: Vector, random: Random) -> Any:
    return image + random.normal(0, 5 + 45 * random.uniform(), image.shape)


def _lit_from_one_side(image: Pixels, _: Vector, random: Random) -> Any:
    x, y = np.meshgrid(*[np.linspace(-1, 1, CROP_PX)] * 2)
    angle, steepness = random.uniform(0, 2 * np.pi), random.uniform(2, 8)
    light = 1 / (1 + np.exp((x * np.cos(angle) + y * np.sin(angle)) * steepness))
    return image * (light[..., None] * 1.1 + 0.1 * random.uniform())


def _covered(outline: Callable[[Vector, Random], Any], is_dark: bool = False) -> Callable[..., Any]:
    """Paints a polygon, given in units of the distance of the eyes: across, down, from between them."""

    def cover(image: Pixels, landmarks: Vector, random: Random) -> Any:
        points = landmarks.astype(np.float64)
        eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
        across, down = points[1] - points[0], (mouth - eyes) / np.linalg.norm(mouth - eyes)
        frame = np.stack([across, down * np.linalg.norm(across)])
        corners = eyes + np.array(outline(((points - eyes) @ np.linalg.inv(frame)), random)) @ frame
        color = random.integers(0, 70 if is_dark else 256, 3).tolist()
        cv2.fillPoly(image, [np.rint(corners).astype(np.int32)], color, cv2.LINE_AA)
        return cv2.GaussianBlur(image, (0, 0), 0.8) if random.uniform() < 0.5 else image

    return cover


def _box(left: float, top: float, right: float, bottom: float) -> list[tuple[float, float]]:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _mask(points: Vector, random: Random) -> Any:
    return _box(
        -1.0, float(points[2, 1]) + random.uniform(-0.25, 0.1), 1.0, float(points[3:, 1].mean()) + 0.8
    )


def _glasses(_: Vector, random: Random) -> Any:
    height = 0.15 + 0.25 * random.uniform()
    return _box(-0.95, -height, 0.95, height)


def _side(_: Vector, random: Random) -> Any:
    edge, sign = 0.75 - 0.9 * random.uniform(), random.choice([-1, 1])
    return [(sign * x, y) for x, y in _box(edge, -3, edge + 4, 4)]


def _patch(points: Vector, random: Random) -> Any:
    center, angle = points.mean(axis=0) + random.normal(0, 0.4, 2), random.uniform(0, np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return center + (np.array(_box(-1, -1, 1, 1)) * random.uniform(0.15, 0.9, 2)) @ turn


COVERS = ("mask", "glasses", "side", "patch")
WAYS: dict[str, Callable[..., Any]] = {
    "blur": _blurred, "motion": _moved, "dark": _dark, "noise": _noisy, "light": _lit_from_one_side,
    "mask": _covered(_mask), "glasses": _covered(_glasses, is_dark=True),
    "side": _covered(_side), "patch": _covered(_patch), "size": _noisy,
}  # fmt: skip
"""How a crop is spoiled; `size` is done by `spoil` itself."""


# --- fitting ----------------------------------------------------------------------------------------


def fit(fitting: Sequence[Sample]) -> dict[str, Any]:
    """The model's numbers: ridge regression of usefulness on the measures and their squares."""
    clear = [s.crop for s in fitting if s.kind == "none"]
    mean = np.mean([small_face(_gray(crop), crop.landmarks)[0] for crop in clear], axis=0)
    square = mean.reshape(SIDE, SIDE)
    face = ((square + square[:, ::-1]) / 2).ravel().round(3).astype(np.float32)
    measures = np.stack([measured(s.crop, s.face_px, face)[1] for s in fitting]).astype(np.float64)
    useful = np.array([s.usefulness for s in fitting])
    center, scale = measures.mean(axis=0), np.maximum(measures.std(axis=0), 1e-3)
    z = np.clip((measures - center) / scale, -4, 4)
    terms = np.concatenate([z, z * z], axis=1)
    middle = terms.mean(axis=0)
    penalty = RIDGE * len(fitting) / 1000 * np.eye(terms.shape[1])
    weights = np.linalg.solve(
        (terms - middle).T @ (terms - middle) + penalty, (terms - middle).T @ (useful - useful.mean())
    )
    offset = float(useful.mean() - middle @ weights)
    foretold = offset + terms @ weights
    is_clear = np.array([s.kind == "none" for s in fitting])
    # The scale: typical clear faces at 0.85; the worst twentieth of all at 0.1.
    low, typical = np.quantile(foretold, 0.05), np.median(foretold[is_clear])
    step = (typical - low) / 0.75
    half = len(weights) // 2
    return {
        "average_face": face.tolist(), "center": _plain(center), "scale": _plain(scale),
        "linear": _plain(weights[:half]), "square": _plain(weights[half:]), "offset": round(offset, 6),
        "bad": round(float(low - 0.1 * step), 6), "good": round(float(low + 0.9 * step), 6),
    }  # fmt: skip


def _plain(values: NDArray[np.float64]) -> list[float]:
    return [float(f"{v:.5g}") for v in values]


def _gray(crop: FaceCrop) -> Any:
    return cv2.cvtColor(crop.image_rgb, cv2.COLOR_RGB2GRAY)


def write_model(model: dict[str, Any]) -> None:
    model["average_face"] = [round(v, 3) for v in model["average_face"]]
    lines = (f" {json.dumps(name)}: {json.dumps(value)}" for name, value in model.items())
    MODEL_FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    shipped_model.cache_clear()


if __name__ == "__main__":
    everyone = samples(10_000)
    write_model(fit([s for s in everyone if s.is_for_fitting]))
    print(json.dumps(report([s for s in everyone if not s.is_for_fitting])))
