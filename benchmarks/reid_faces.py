"""What an attacker is given: faces of LFW, masked by the product itself and cut out tightly.

Owns the photos, the boxes, the exchange of surroundings and the cutting; attacks nobody. A face stands
either in its own photo or before a *camera*: the picture of somebody outside the set, in which exactly the
region that will be veiled is replaced. Before the same cameras everybody has the same surroundings, so what
is left to tell people apart is the face. Called by `benchmarks.reid`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_node.frames import RawFrame
from edge_node.privacy.decisions import Leases, plan
from edge_node.privacy.timeline import Timeline, grow
from edge_node.privacy.veil import VeilSettings, mask, region_mask
from edge_node.tracking.track import Analysis, Box
from edge_node.tracking.tracker import Tracker
from hub.embedding.dlib_resnet import DlibResnet
from hub.embedding.port import Embeddings
from vision.crops import FaceCrop, cut_crop, decode_crop, encode_crop
from vision.detections import Detections, Image
from vision.detector import Mtcnn, MtcnnSettings

LFW = Path(__file__).parents[2] / "shared" / "data" / "lfw" / "images"
PHOTOS = 3
"""Of each person: two to train on or to compare with, one to recognize, in turn."""
PIXELS = 24
"""Side of what the attacker that works on pixels sees of a region."""
SAME_EVENT_RMS = 45.0
"""Two photos of a person whose outer parts differ by less (gray levels) are taken for one event: 2 % of the
pairs of one person, and one in a hundred of any."""


DISTANCE = 0.3
"""Logarithm of the largest change of a face's size before a camera: 0.74 to 1.35 times."""
PLACE_PX = 10.0
"""Largest shift of a face before a camera, each way."""


@dataclass(frozen=True, slots=True)
class Face:
    """One photo of somebody of the closed set."""

    person: int
    turn: int
    """Which of the person's photos: 0 to PHOTOS - 1."""
    image: Image
    box_xyxy: Box
    """Where the face is, as the detector sees it in the clear photo."""
    clear: FaceCrop
    """The clear face as it would be enrolled."""


@dataclass(frozen=True, slots=True)
class Masked:
    """What the attacker sees of a number of faces, in their order."""

    pixels: NDArray[np.float32]
    """(N, PIXELS * PIXELS * 3)."""
    embeddings: Embeddings
    """(N, 128)."""


def load(people: int) -> list[Face]:
    """PHOTOS photos each of so many people who have them, person by person.

    Raises FileNotFoundError where the pictures are absent.
    """
    if not LFW.is_dir():
        raise FileNotFoundError(f"{LFW} is not there: this benchmark needs the pictures of LFW")
    detector = Mtcnn(MtcnnSettings(min_face_px=60))
    faces: list[Face] = []
    person = 0
    for folder in sorted(LFW.iterdir()):
        paths = sorted(folder.glob("*.jpg"))
        if person == people:
            break
        if len(paths) < PHOTOS:
            continue
        own: list[Face] = []
        for path in paths:
            face = _face(detector, path, person, len(own))
            if face is not None and not any(is_same_event(face.image, other.image) for other in own):
                own.append(face)
            if len(own) == PHOTOS:
                faces += own
                person += 1
                break
    return faces


def cameras(count: int) -> list[Image]:
    """The places before which everybody appears: photos of people who are outside the set."""
    alone = [paths[0] for folder in sorted(LFW.iterdir()) if len(paths := list(folder.glob("*.jpg"))) == 1]
    step = len(alone) // count
    return [_read(path) for path in alone[step // 2 :: step][:count]]


def is_same_event(one: Image, other: Image) -> bool:
    """Whether two photos look alike around the face: then they were taken together, or are the same."""
    difference = _surroundings(one) - _surroundings(other)
    return float(np.sqrt((difference**2).mean())) < SAME_EVENT_RMS


def before_camera(face: Face, camera: Image, growth: float, seed: int) -> Face:
    """The face in another picture: exactly what a veil of this growth covers is replaced.

    Distance and place are drawn anew for each photo: LFW shows all faces at one size, so that without it
    the size of a veil would tell wide faces from narrow ones, which it cannot where people walk.
    """
    height, width = camera.shape[:2]
    x1, y1, x2, y2 = face.box_xyxy
    random = np.random.default_rng((seed, face.person, face.turn))
    scale = float(np.exp(random.uniform(-DISTANCE, DISTANCE)))
    dx = width / 2 - scale * (x1 + x2) / 2 + random.uniform(-PLACE_PX, PLACE_PX)
    dy = height / 2 - scale * (y1 + y2) / 2 + random.uniform(-PLACE_PX, PLACE_PX)
    shift = np.array([[scale, 0.0, dx], [0.0, scale, dy]])
    moved = cv2.warpAffine(face.image, shift, (width, height), borderMode=cv2.BORDER_REPLICATE)
    box = (scale * x1 + dx, scale * y1 + dy, scale * x2 + dx, scale * y2 + dy)
    inside = region_mask((height, width), (box,), growth)[..., None] > 0
    image = np.where(inside, moved, camera).astype(np.uint8)
    return Face(face.person, face.turn, image, box, face.clear)


def masked(face: Face, settings: VeilSettings) -> Image:
    """The face's picture as it leaves a node: tracker, timeline, plan and veil of the product."""
    box = np.array([face.box_xyxy], np.float32)
    seen = Detections(box, np.ones(1, np.float32), np.zeros((1, 5, 2), np.float32))
    timeline = Timeline()
    timeline.add(Analysis(0, 0.0, Tracker().step(0.0, Detections.none(), seen)))
    what = plan(timeline.regions_at(0.0), Leases(), 0.0, settings.growth)
    return mask(RawFrame(0, 0.0, 0.0, face.image), what, settings).image


def cut(image: Image, box_xyxy: Box, growth: float) -> Image:
    """The largest cut that lies within the veil of a face: with the product's growth 0.99 of the true box.

    Its corners would otherwise show a pixel or two of what is beside the veil.
    """
    height, width = image.shape[:2]
    x1, y1, x2, y2 = grow(box_xyxy, growth / math.sqrt(2))
    left, top, right, bottom = math.ceil(x1), math.ceil(y1), math.floor(x2), math.floor(y2)
    return image[max(0, top) : min(height, bottom), max(0, left) : min(width, right)]


def mask_all(faces: Sequence[Face], settings: VeilSettings, model: DlibResnet) -> Masked:
    """Mask, cut, and see with both eyes: pixels and embeddings."""
    cuts = [cut(masked(face, settings), face.box_xyxy, settings.growth) for face in faces]
    return Masked(pixels_of(cuts), embed(cuts, model))


def pixels_of(cuts: Sequence[Image]) -> NDArray[np.float32]:
    """(N, PIXELS * PIXELS * 3) float32."""
    small = [cv2.resize(c, (PIXELS, PIXELS), interpolation=cv2.INTER_AREA).ravel() for c in cuts]
    return np.array(small, np.float32)


def embed(cuts: Sequence[Image], model: DlibResnet) -> Embeddings:
    """(N, 128) embeddings of tight cuts, with repeated edges around them. Equal cuts are embedded once."""
    nowhere = np.zeros((5, 2), np.float32)
    crops = [cut_crop(c, np.array([0, 0, c.shape[1], c.shape[0]], np.float32), nowhere) for c in cuts]
    keys = [crop.image_rgb.tobytes() for crop in crops]
    unique = dict(zip(keys, crops, strict=True))
    vectors = dict(zip(unique, model.embed(list(unique.values())), strict=True))
    return np.array([vectors[key] for key in keys], np.float32)


def around(image: Image) -> NDArray[np.float32]:
    """A whole output picture as the attacker on surroundings sees it."""
    small = cv2.resize(image, (PIXELS, PIXELS), interpolation=cv2.INTER_AREA)
    return np.asarray(small.ravel(), np.float32)


def _face(detector: Mtcnn, path: Path, person: int, turn: int) -> Face | None:
    """The face nearest to the middle of a photo."""
    image = _read(path)
    found = detector.detect(image)
    if not len(found):
        return None
    centers = (found.boxes_xyxy[:, :2] + found.boxes_xyxy[:, 2:]) / 2
    nearest = int(np.linalg.norm(centers - np.array(image.shape[1::-1]) / 2, axis=1).argmin())
    x1, y1, x2, y2 = (float(v) for v in found.boxes_xyxy[nearest])
    crop = cut_crop(image, found.boxes_xyxy[nearest], found.landmarks[nearest])
    crop = decode_crop(encode_crop(crop), crop.landmarks)
    return Face(person, turn, image, (x1, y1, x2, y2), crop)


def _read(path: Path) -> Image:
    image = cv2.imread(str(path))
    if image is None:
        raise FileNotFoundError(f"{path} is not a picture: the data folder is incomplete")
    return np.asarray(image, np.uint8)


def _surroundings(image: Image) -> NDArray[np.float32]:
    """(K, 3) float32: the reduced picture without the middle, where head and shoulders are."""
    small = cv2.resize(image, (50, 50), interpolation=cv2.INTER_AREA).astype(np.float32)
    outer = np.ones((50, 50), np.bool_)
    outer[6:, 12:38] = False
    return np.asarray(small[outer], np.float32)
