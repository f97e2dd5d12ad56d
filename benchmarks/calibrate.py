"""Chooses the embedded model's threshold and margin: LFW's pairs through the whole way of a face.

Photo, MTCNN box, crop, JPEG, chip, descriptor. The threshold is chosen on pairsDevTrain and reported on
pairsDevTest, whose people are others. FMR: pairs of strangers at or above the threshold; FNMR: pairs of
one person below it. The margin comes from open-set searches among 50 people enrolled with one photo
each. Data: `../shared/data/lfw`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hub.embedding.dlib_resnet import DlibResnet
from vision.crops import FaceCrop, cut_crop, decode_crop, encode_crop
from vision.detector import Mtcnn, MtcnnSettings

LFW = Path(__file__).parents[2] / "shared" / "data" / "lfw"
Pair = tuple[str, str]
Vector = NDArray[np.float32]
STEP = 0.001
TARGET_FMR = 0.001
MARGINS = (0.0, 0.005, 0.01, 0.015, 0.02, 0.025)
TARGET_WRONG = 0.001
GALLERY = 50


def measure(quick: bool = False) -> dict[str, Any]:
    """The numbers of the model's manifest. quick: the first 100 pairs of each kind."""
    train, test = (
        read_pairs(LFW / f"pairsDev{name}.txt", 100 if quick else None) for name in ("Train", "Test")
    )
    photos = sorted({photo for pairs in (*train, *test) for pair in pairs for photo in pair})
    vectors = embed_photos(photos)
    same, other = (similarities(pairs, vectors) for pairs in train)
    strangers = strangers_of(train, vectors)
    threshold = choose_threshold(other, strangers)
    test_same, test_other = (similarities(pairs, vectors) for pairs in test)
    test_strangers = strangers_of(test, vectors)
    searches = search(vectors, threshold, 20 if quick else 300)
    return {
        "model": DlibResnet.manifest.model_id,
        "threshold": threshold,
        "faces_found": f"{len(vectors)}/{len(photos)}",
        "train": rates(threshold, same, other, strangers),
        "test": rates(threshold, test_same, test_other, test_strangers),
        "margin": choose_margin(searches),
        f"search_among_{GALLERY}": {f"{margin:.3f}": shares for margin, shares in searches.items()},
        "around": {
            f"{t:.3f}": rates(t, test_same, test_other, test_strangers)
            for t in np.arange(threshold - 0.01, threshold + 0.021, 0.005)
        },
    }


def read_pairs(path: Path, at_most: int | None = None) -> tuple[list[Pair], list[Pair]]:
    """(pairs of one person, pairs of two people), each photo as `Name/Name_0001.jpg`."""
    same, other = [], []
    for line in path.read_text().splitlines()[1:]:
        parts = line.split("\t")
        if len(parts) == 3:
            same.append((_photo(parts[0], parts[1]), _photo(parts[0], parts[2])))
        else:
            other.append((_photo(parts[0], parts[1]), _photo(parts[2], parts[3])))
    return same[:at_most], other[:at_most]


def embed_photos(photos: list[str]) -> dict[str, Vector]:
    """Photo to embedding; a photo without a face is left out."""
    detector, model = Mtcnn(MtcnnSettings(min_face_px=40, threads=1)), DlibResnet(threads=1)
    found: dict[str, Vector] = {}
    for photo in photos:
        crop = _crop_of(detector, LFW / "images" / photo)
        if crop is not None:
            found[photo] = model.embed([crop])[0]
    return found


def similarities(pairs: list[Pair], vectors: dict[str, Vector]) -> Vector:
    """(N,) cosine similarities of the pairs whose faces were found both."""
    return np.array([vectors[a] @ vectors[b] for a, b in pairs if a in vectors and b in vectors], np.float32)


def strangers_of(pairs: tuple[list[Pair], list[Pair]], vectors: dict[str, Vector]) -> Vector:
    """(N,) similarities of all pairs of different people: millions, where the list has a thousand."""
    photos = sorted({photo for kind in pairs for pair in kind for photo in pair if photo in vectors})
    matrix = np.stack([vectors[photo] for photo in photos])
    people = np.unique([_person(photo) for photo in photos], return_inverse=True)[1]
    rows, columns = np.triu_indices(len(photos), 1)
    keep = people[rows] != people[columns]
    return np.asarray((matrix @ matrix.T)[rows[keep], columns[keep]], np.float32)


def choose_threshold(other: Vector, strangers: Vector) -> float:
    """The lowest step at which neither kind of stranger is taken for the other too often."""
    for threshold in np.arange(0.85, 1, STEP):
        if max((other >= threshold).mean(), (strangers >= threshold).mean()) <= TARGET_FMR:
            return round(float(threshold), 3)
    raise ValueError("no threshold below 1 tells strangers apart")


def rates(threshold: float, same: Vector, other: Vector, strangers: Vector) -> dict[str, Any]:
    return {
        "fmr": f"{int((other >= threshold).sum())}/{len(other)}",
        "fmr_all_strangers": round(float((strangers >= threshold).mean()), 6),
        "fnmr": f"{int((same < threshold).sum())}/{len(same)}",
    }


def search(vectors: dict[str, Vector], threshold: float, galleries: int) -> dict[float, dict[str, float]]:
    """Open-set searches: each gallery enrolls GALLERY people drawn at random, with one photo each.

    Returns for each margin the share of looks: wrong (an enrolled person under another's name), missed (an
    enrolled person without a name), fpir (someone who is not enrolled under any name). All margins meet the
    same galleries.
    """
    photos: dict[str, list[str]] = {}
    for photo in sorted(vectors):
        photos.setdefault(_person(photo), []).append(photo)
    several = [person for person, own in photos.items() if len(own) > 1]
    counts = {margin: np.zeros(3) for margin in MARGINS}
    looks = np.zeros(3)
    random = np.random.default_rng(1)
    for _ in range(galleries):
        enrolled = [several[i] for i in random.choice(len(several), GALLERY, replace=False)]
        gallery = np.stack([vectors[photos[person][0]] for person in enrolled])
        truth = [i for i, person in enumerate(enrolled) for _ in photos[person][1:]]
        known = _scores([p for person in enrolled for p in photos[person][1:]], vectors, gallery)
        others = [own[0] for person, own in photos.items() if person not in enrolled]
        unknown = _scores(others, vectors, gallery)
        looks += len(known), len(known), len(unknown)
        for margin, count in counts.items():
            named, intruders = _named(known, threshold, margin), _named(unknown, threshold, margin)
            wrong = (named >= 0) & (named != truth)
            count += wrong.sum(), (named < 0).sum(), (intruders >= 0).sum()
    return {
        margin: dict(zip(("wrong", "missed", "fpir"), np.round(count / looks, 5).tolist(), strict=True))
        for margin, count in counts.items()
    }


def choose_margin(found: dict[float, dict[str, float]]) -> float:
    """The smallest margin at which few enough enrolled people get another's name."""
    for margin, shares in found.items():
        if shares["wrong"] <= TARGET_WRONG:
            return margin
    raise ValueError("no margin keeps the enrolled people apart")


def _scores(photos: list[str], vectors: dict[str, Vector], gallery: Vector) -> Vector:
    return np.asarray(np.stack([vectors[photo] for photo in photos]) @ gallery.T, np.float32)


def _named(scores: Vector, threshold: float, margin: float) -> NDArray[np.int64]:
    """(N,) column of the person named in each row, -1 for nobody."""
    best_two = np.sort(scores, axis=1)[:, -2:]
    sure = (best_two[:, 1] >= threshold) & (best_two[:, 1] - best_two[:, 0] >= margin)
    return np.where(sure, scores.argmax(axis=1), -1)


def _crop_of(detector: Mtcnn, path: Path) -> FaceCrop | None:
    """The face nearest to the middle, as it arrives at the hub."""
    image = cv2.imread(str(path))
    if image is None:
        raise FileNotFoundError(f"{path} is not there or not a picture: the data folder is incomplete")
    pixels = np.asarray(image, np.uint8)
    found = detector.detect(pixels)
    if not len(found):
        return None
    centers = (found.boxes_xyxy[:, :2] + found.boxes_xyxy[:, 2:]) / 2
    nearest = int(np.linalg.norm(centers - np.array(pixels.shape[1::-1]) / 2, axis=1).argmin())
    crop = cut_crop(pixels, found.boxes_xyxy[nearest], found.landmarks[nearest])
    return decode_crop(encode_crop(crop), crop.landmarks)


def _photo(name: str, number: str) -> str:
    return f"{name}/{name}_{int(number):04d}.jpg"


def _person(photo: str) -> str:
    return photo.split("/", 1)[0]
