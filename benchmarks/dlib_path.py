"""What the crop contract costs the embedded model: the product's way of a face beside dlib's own, on LFW.

Product: MTCNN box, crop of 224 px, JPEG, the median of several of dlib's predictions in the crop, chip.
dlib's own: its landmarks in the whole photo, chip cut out of it, with the box of dlib's detector (`dlib`) or
of MTCNN (`mtcnn`). One network and no mirror image for all three, the photos of pairsDevTest in which every
way finds a face.
`fnmr`: pairs of photos of one person below the threshold at which 0.1 % of all pairs of strangers pass;
`separation`: d', the distance of the two kinds of pairs in their common deviation. Data:
`../shared/data/lfw`.
"""

from __future__ import annotations

import sys
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.lfw import LFW, person_of, photos_of, read_pairs
from hub.embedding.dlib_chip import CHIP_PADDING
from hub.embedding.dlib_onnx import CHIP_PX, graph_path
from hub.embedding.dlib_resnet import DlibResnet
from vision.crops import cut_crop, decode_crop, encode_crop
from vision.detector import Mtcnn, MtcnnSettings
from vision.model_store import DLIB_LANDMARK_MODEL, asset_path
from vision.runtime import load_network

TARGET_FMR = 0.001
WAYS = ("product", "mtcnn", "dlib")
Chips = dict[str, NDArray[np.uint8]]


def measure(quick: bool = False) -> dict[str, Any]:
    """quick: the photos of 30 pairs of each kind."""
    same, other = read_pairs("pairsDevTest", 30 if quick else None)
    photos = photos_of((same, other))
    vectors = _vectors(photos)
    kept = sorted(vectors)
    people = np.unique([person_of(photo) for photo in kept], return_inverse=True)[1]
    rows, columns = np.triu_indices(len(kept), 1)
    is_same = people[rows] == people[columns]
    result: dict[str, Any] = {
        "photos": len(kept),
        "photos_without_a_face": len(photos) - len(kept),
        "pairs_of_one_person": int(is_same.sum()),
    }
    for number, way in enumerate(WAYS):
        matrix = np.stack([vectors[photo][number] for photo in kept])
        found = (matrix @ matrix.T)[rows, columns]
        result |= {f"{name}_{way}": value for name, value in _rates(found, is_same).items()}
    result["cosine_to_mtcnn_mean"] = _round(np.mean([v[0] @ v[1] for v in vectors.values()]))
    return result


def _rates(similarities: NDArray[np.float32], is_same: NDArray[np.bool_]) -> dict[str, float]:
    same, strangers = similarities[is_same], similarities[~is_same]
    threshold = np.quantile(strangers, 1 - TARGET_FMR)
    spread = np.sqrt((same.var() + strangers.var()) / 2)
    return {
        "threshold": _round(threshold),
        "fnmr": _round((same < threshold).mean()),
        "separation": _round((same.mean() - strangers.mean()) / spread),
    }


def _round(value: Any) -> float:
    return round(float(value), 4)


def _vectors(photos: list[str]) -> dict[str, NDArray[np.float32]]:
    """Photo to (3, 128): an embedding of each way. Photos in which one finds no face are left out."""
    ways, network = Ways(), load_network(graph_path(), threads=1)
    found: dict[str, NDArray[np.float32]] = {}
    for number, photo in enumerate(photos):
        if number % 250 == 0:
            print(f"  {number} of {len(photos)} photos", file=sys.stderr)
        image = cv2.imread(str(LFW / "images" / photo))
        if image is None:
            raise FileNotFoundError(f"{LFW / 'images' / photo} is not there: the data folder is incomplete")
        chips = ways.chips(np.asarray(image, np.uint8))
        if chips is None:
            continue
        raw = network.run(np.stack([chips[way] for way in WAYS]).astype(np.float32))[0]
        found[photo] = np.array(raw / np.linalg.norm(raw, axis=1, keepdims=True), np.float32)
    return found


class Ways:
    """Cuts a face in all three ways."""

    def __init__(self) -> None:
        import dlib

        self._dlib = dlib
        self._model = DlibResnet(threads=1)
        self._mtcnn = Mtcnn(MtcnnSettings(min_face_px=40, threads=1))
        self._hog = dlib.get_frontal_face_detector()
        self._predictor = dlib.shape_predictor(str(asset_path(DLIB_LANDMARK_MODEL)))

    def chips(self, image_bgr: NDArray[np.uint8]) -> Chips | None:
        """The face nearest to the middle of (H, W, 3): for each way (150, 150, 3) RGB; None without one."""
        rgb = np.ascontiguousarray(image_bgr[..., ::-1])
        middle = np.array(rgb.shape[1::-1]) / 2
        found, theirs = self._mtcnn.detect(image_bgr), self._hog(rgb, 1)
        if not len(found) or not len(theirs):
            return None
        centers = (found.boxes_xyxy[:, :2] + found.boxes_xyxy[:, 2:]) / 2
        nearest = int(np.linalg.norm(centers - middle, axis=1).argmin())
        box = found.boxes_xyxy[nearest]
        crop = cut_crop(image_bgr, box, found.landmarks[nearest])
        half = (box[2:] - box[:2]).max() / 2
        corners = np.rint(np.concatenate([centers[nearest] - half, centers[nearest] + half])).astype(int)
        own = min(
            theirs, key=lambda r: float(np.linalg.norm(np.array([r.center().x, r.center().y]) - middle))
        )
        return {
            "product": self._model.align(decode_crop(encode_crop(crop), crop.landmarks)),
            "mtcnn": self._chip(rgb, self._dlib.rectangle(*corners.tolist())),
            "dlib": self._chip(rgb, own),
        }

    def _chip(self, rgb: NDArray[np.uint8], box: Any) -> NDArray[np.uint8]:
        shape = self._predictor(rgb, box)
        return np.asarray(self._dlib.get_face_chip(rgb, shape, CHIP_PX, CHIP_PADDING), np.uint8)
