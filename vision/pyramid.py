"""The scale pyramid of one picture size, packed side by side into one picture for P-Net.

One call over one well-shaped picture is much faster than a call for each scale, and its cost does not
depend on how many scales there are. Called by `vision.detector`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.detections import Image

FloatImage = NDArray[np.float32]
"""(H, W, 3), BGR in 0..255."""

CELL_PX = 12
"""P-Net's window..."""
STRIDE_PX = 2
"""... and the distance between two windows."""
GAP_PX = 2
"""Between two levels; even, so that each level starts on P-Net's grid. Windows that reach over a gap
are not read (see `Level.cells`)."""
GRAY = 127.5
"""Normalizes to zero."""


MAX_SCALE_FROM_HALVED = 0.62
"""A level is drawn from a halved picture if it still shrinks that to this share or less."""


@dataclass(frozen=True, slots=True)
class Level:
    """One scale: its size in pixels and where it lies in the packed picture."""

    scale: float
    width: int
    height: int
    left: int
    top: int

    @property
    def cells(self) -> tuple[slice, slice]:
        """Rows and columns of P-Net's output that belong to this level."""
        # 3x3 conv, 2x2 pool rounding up, two 3x3 convs: ceil((n - 2) / 2) - 4 cells.
        rows, columns = (max(0, (n - 1) // 2 - 4) for n in (self.height, self.width))
        y, x = self.top // STRIDE_PX, self.left // STRIDE_PX
        return slice(y, y + rows), slice(x, x + columns)


class Pyramid:
    """The plan for one picture size, and the packed picture it is drawn into (reused)."""

    def __init__(self, levels: list[Level], width: int, height: int, halving: bool) -> None:
        self.levels = levels
        self._halving = halving
        self._packed = np.full((height, width, 3), GRAY, np.float32)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the packed picture."""
        height, width = self._packed.shape[:2]
        return height, width

    def strip(self, part: int, parts: int) -> tuple[int, int]:
        """The cells of one of `parts` strips of equal height: first row, number of rows. All together hold
        every row of P-Net's output; the last may share some with the one before."""
        rows = max(1, (self.shape[0] - CELL_PX) // STRIDE_PX + 1)
        height = -(-rows // parts)
        return max(0, min(part * height, rows - height)), height

    def pack(self, image: FloatImage | Image, first_row: int = 0, rows: int | None = None) -> FloatImage:
        """The packed picture (H, W, 3) float32; valid until the next call. With `rows`, the part of it that
        so many rows of cells from `first_row` on see.

        Given floats, area averages are floats: rounding them to bytes costs a third of the boxes' parity
        with the reference, and so does `halving`: averaging small levels from a picture halved before.
        That is half the work, and no worse at finding faces (docs/adr/0003-mtcnn-as-onnx.md).
        """
        top = first_row * STRIDE_PX
        bottom = self.shape[0] if rows is None else top + (rows - 1) * STRIDE_PX + CELL_PX
        source, halvings = image, 0
        for level in self.levels:
            if level.top >= bottom or level.top + level.height <= top:
                continue
            while self._halving and level.scale * 2 ** (halvings + 1) <= MAX_SCALE_FROM_HALVED:
                size = max(1, source.shape[1] // 2), max(1, source.shape[0] // 2)
                if size[0] * 2 != source.shape[1] or size[1] * 2 != source.shape[0]:
                    break  # an odd size cannot be halved without shifting the grid
                source = cv2.resize(source, size, interpolation=cv2.INTER_AREA)
                halvings += 1
            within = slice(level.top, level.top + level.height)
            part = self._packed[within, level.left : level.left + level.width]
            part[:] = cv2.resize(source, (level.width, level.height), interpolation=cv2.INTER_AREA)
        return self._packed[top:bottom]


def plan_pyramid(shape: tuple[int, int], min_face_px: float, factor: float, halving: bool = False) -> Pyramid:
    """Levels from the smallest face up to one that fills the picture, packed in shelves.

    The scales are those of the `mtcnn` package: 12 / min_face_px * factor**i.
    """
    height, width = shape
    sizes: list[tuple[float, int, int]] = []
    scale = CELL_PX / min_face_px
    while min(height, width) * scale >= CELL_PX:
        sizes.append((scale, int(width * scale), int(height * scale)))
        scale *= factor
    if not sizes:  # a picture smaller than the smallest face
        sizes = [(1.0, max(width, CELL_PX), max(height, CELL_PX))]
    total_width = _even(sizes[0][1])
    levels: list[Level] = []
    shelves: list[tuple[int, int, int]] = []  # top, height, used width
    bottom = 0
    for scale, w, h in sizes:
        for i, (top, shelf_height, used) in enumerate(shelves):
            if h <= shelf_height and used + w <= total_width:
                levels.append(Level(scale, w, h, used, top))
                shelves[i] = (top, shelf_height, _even(used + w + GAP_PX))
                break
        else:
            levels.append(Level(scale, w, h, 0, bottom))
            shelves.append((bottom, h, _even(w + GAP_PX)))
            bottom = _even(bottom + h + GAP_PX)
    return Pyramid(levels, total_width, max(bottom, CELL_PX), halving)


def _even(n: int) -> int:
    return n + n % 2
