"""Chooses the embedded model's threshold and margin: LFW's pairs through the whole way of a face.

Photo, MTCNN box, crop, JPEG, chip, descriptor. The threshold is chosen on pairsDevTrain and reported on
pairsDevTest, whose people are others. FMR: pairs of strangers at or above the threshold; FNMR: pairs of
one person below it. The margin comes from an open-set search: half of DevTrain's people enrolled with
one photo each. Data: `../shared/data/lfw`.
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
    return {
        "model": DlibResnet.manifest.model_id,
        "threshold": threshold,
        "faces_found": f"{len(vectors)}/{len(photos)}",
        "train": rates(threshold, same, other, strangers),
        "test": rates(threshold, test_same, test_other, test_strangers),
        "search": {f"margin {m:.3f}": search(vectors, threshold, m) for m in (0.0, 0.005, 0.01, 0.015, 0.02)},
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


def search(vectors: dict[str, Vector], threshold: float, margin: float) -> dict[str, float]:
    """Open-set search over a gallery of every other person with several photos, one photo each.

    named_wrong: looks of enrolled people given another's name. missed: given none. fpir: looks of people
    who are not enrolled given any name.
    """
    photos: dict[str, list[str]] = {}
    for photo in sorted(vectors):
        photos.setdefault(_person(photo), []).append(photo)
    enrolled = [person for person, own in photos.items() if len(own) > 1][::2]
    column = {person: i for i, person in enumerate(enrolled)}
    gallery = np.stack([vectors[photos[person][0]] for person in enrolled])
    known = [photo for person in enrolled for photo in photos[person][1:]]
    unknown = [photo for person, own in photos.items() if person not in column for photo in own]
    named = {
        kind: _named(np.stack([vectors[p] for p in looks]) @ gallery.T, threshold, margin)
        for kind, looks in (("known", known), ("unknown", unknown))
    }
    truth = np.array([column[_person(photo)] for photo in known])
    wrong = (named["known"] >= 0) & (named["known"] != truth)
    return {
        "enrolled": len(enrolled),
        "known_looks": len(known),
        "unknown_looks": len(unknown),
        "named_wrong": round(float(wrong.mean()), 5),
        "missed": round(float((named["known"] < 0).mean()), 5),
        "fpir": round(float((named["unknown"] >= 0).mean()), 5),
    }


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
