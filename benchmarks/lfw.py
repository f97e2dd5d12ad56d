"""Labeled Faces in the Wild through the whole way of a face: photo, MTCNN box, crop, JPEG, embedder.

Owns the lists of pairs, who is who, and a cache of embeddings in `$VEILCAST_CACHE/benchmarks` (5,000 photos
take minutes): of public research photos, for measuring only. Data: `../shared/data/lfw`. Called by
`calibrate`, `quality` and `recognition`.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hub.embedding.dlib_resnet import DlibResnet
from vision.crops import FaceCrop, cut_crop, decode_crop, encode_crop
from vision.detector import Mtcnn, MtcnnSettings
from vision.model_store import cache_dir
from vision.quality import quality_of

ROOT = Path(__file__).parent.parent
LFW = ROOT.parent / "shared" / "data" / "lfw"
Pair = tuple[str, str]
Vector = NDArray[np.float32]
ONE_PERSON = {
    "Sung_Hong_Choi": "Choi_Sung-hong",
    "Hassan_Wirajuda": "Hasan_Wirayuda",
    "Sepp_Blatter": "Joseph_Blatter",
    "Andrew_Gilligan": "Andrew_Caldecott",
}
"""Who stands under two names there (or one photo does), noticed among the highest similarities between names.
Taken for one person where strangers are counted; the lists of pairs are used as published."""
ON_THE_WAY = (
    "vision/crops.py", "vision/detector.py", "vision/mtcnn_onnx.py",
    "hub/embedding/dlib_onnx.py", "hub/embedding/dlib_chip.py",
)  # fmt: skip
"""Files that the cache depends on, beside the embedder's own code."""


@dataclass(frozen=True, slots=True)
class Faces:
    """Photos in which a face was found: embeddings by photo."""

    vectors: dict[str, Vector]

    def of(self, people: Iterable[str]) -> dict[str, list[str]]:
        """The photos of some people, by person."""
        wanted = set(people)
        photos: dict[str, list[str]] = defaultdict(list)
        for photo in sorted(self.vectors):
            if person_of(photo) in wanted:
                photos[person_of(photo)].append(photo)
        return dict(photos)


def read_pairs(name: str, at_most: int | None = None) -> tuple[list[Pair], list[Pair]]:
    """(pairs of one person, pairs of two people) of pairsDevTrain or pairsDevTest, photos as
    `Name/Name_0001.jpg`."""
    same, other = [], []
    for line in (LFW / f"{name}.txt").read_text().splitlines()[1:]:
        parts = line.split("\t")
        if len(parts) == 3:
            same.append((_photo(parts[0], parts[1]), _photo(parts[0], parts[2])))
        else:
            other.append((_photo(parts[0], parts[1]), _photo(parts[2], parts[3])))
    return same[:at_most], other[:at_most]


def photos_of(*lists: tuple[list[Pair], list[Pair]]) -> list[str]:
    """All photos of some lists of pairs."""
    return sorted({photo for kinds in lists for pairs in kinds for pair in pairs for photo in pair})


def people_of(*lists: tuple[list[Pair], list[Pair]]) -> set[str]:
    """Everyone in some lists of pairs."""
    return {person_of(photo) for photo in photos_of(*lists)}


def person_of(photo: str) -> str:
    """Whose photo it is."""
    name = photo.split("/", 1)[0]
    return ONE_PERSON.get(name, name)


def embedded(photos: list[str]) -> Faces:
    """The photos' faces; photos without one are left out. Raises FileNotFoundError without the data."""
    path = cache_dir() / "benchmarks" / f"lfw-{_key()}.npz"
    known = _read(path)
    missing = [photo for photo in photos if photo not in known]
    if missing:
        known |= _embed(missing)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        np.savez(path, names=np.array(list(known)), rows=np.stack(list(known.values())))
    found = {photo: known[photo] for photo in photos if known[photo].any()}
    return Faces(found)


@cache
def quality_of_photo(photo: str) -> float:
    """Overall quality of the face's crop, 0 without one. Takes a detection: not for thousands of photos."""
    face = crop_of(_detector(), LFW / "images" / photo)
    return quality_of(*face).overall if face is not None else 0.0


@cache
def _detector() -> Mtcnn:
    """As enrollment finds faces."""
    return Mtcnn(MtcnnSettings(threads=1))


def crop_of(detector: Mtcnn, path: Path) -> tuple[FaceCrop, float] | None:
    """The face nearest to the middle as it arrives at the hub, and its size in pixels."""
    image = cv2.imread(str(path))
    if image is None:
        raise FileNotFoundError(f"{path} is not there or not a picture: the data folder is incomplete")
    pixels = np.asarray(image, np.uint8)
    found = detector.detect(pixels)
    if not len(found):
        return None
    centers = (found.boxes_xyxy[:, :2] + found.boxes_xyxy[:, 2:]) / 2
    nearest = int(np.linalg.norm(centers - np.array(pixels.shape[1::-1]) / 2, axis=1).argmin())
    box = found.boxes_xyxy[nearest]
    crop = cut_crop(pixels, box, found.landmarks[nearest])
    return decode_crop(encode_crop(crop), crop.landmarks), float((box[2:] - box[:2]).min())


def _embed(photos: list[str]) -> dict[str, Vector]:
    """Photo to (D,) embedding; zeros where there is no face."""
    detector, model = _detector(), DlibResnet(threads=1)
    found: dict[str, Vector] = {}
    for number, photo in enumerate(photos):
        if number % 500 == 0:
            print(f"  embedding photos: {number} of {len(photos)}", file=sys.stderr)
        face = crop_of(detector, LFW / "images" / photo)
        nothing = np.zeros(model.manifest.dimension, np.float32)
        found[photo] = nothing if face is None else model.embed([face[0]])[0]
    return found


def _read(path: Path) -> dict[str, Vector]:
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as kept:
        return dict(zip(kept["names"].tolist(), kept["rows"], strict=True))


def _key() -> str:
    digest = hashlib.sha256(inspect.getsource(DlibResnet).encode())
    for name in ON_THE_WAY:
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()[:16]


def _photo(name: str, number: str) -> str:
    return f"{name}/{name}_{int(number):04d}.jpg"
