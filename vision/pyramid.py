"""The scale pyramid of one picture size, packed side by side into one picture for P-Net.

One call over one well-shaped picture is much faster than a call for each scale, and its cost does not
depend on how many scales there are. Called by `vision.proposals`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.detections import Image

FloatImage = NDArray[np.float32]
"""(H, W, 3), BGR in 0..255."""
Blocks = NDArray[np.uint8]
"""(H / 2, W / 2, 12): blocks of 2x2 pixels, by row, column and color."""

CELL_PX = 12
"""P-Net's window..."""
STRIDE_PX = 2
"""... and the distance between two windows."""
GAP_PX = 2
"""Between two levels; even, so that each level starts on P-Net's grid. Windows that reach over a gap
are not read (see `Level.cells`)."""
GRAY = 127.5
"""Normalizes to zero."""


MOST_BY_TWO_PIXELS = 0.5
"""Shrunk to this share or less, a picture has pixels that a bilinear sample does not see."""


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
        self.shape = height, width
        """Of the packed picture."""
        self._halving = halving
        self._floats: FloatImage | None = None
        self._blocks: Blocks | None = None

    def strip(self, part: int, parts: int) -> tuple[int, int]:
        """The cells of one of `parts` strips of equal height: first row, number of rows. All together hold
        every row of P-Net's output; the last may share some with the one before."""
        rows = max(1, (self.shape[0] - CELL_PX) // STRIDE_PX + 1)
        height = -(-rows // parts)
        return max(0, min(part * height, rows - height)), height

    def halves(self) -> list[tuple[int, int]]:
        """All cells as two strips, first row and number of rows each, between which no level is cut, as equal
        in height as can be; as one strip where every cut would go through a level."""
        height = self.shape[0]
        tops = {level.top for level in self.levels} - {0}
        between = [
            top for top in tops if not any(k.top < top < k.top + k.height + GAP_PX for k in self.levels)
        ]
        rows = (height - CELL_PX) // STRIDE_PX + 1
        if not between:
            return [(0, max(1, rows))]
        cut = min(between, key=lambda top: abs(top - height / 2))
        above = (cut - GAP_PX - CELL_PX) // STRIDE_PX + 1
        return [(0, above), (cut // STRIDE_PX, rows - cut // STRIDE_PX)]

    def pack(self, image: FloatImage | Image, first_row: int = 0, rows: int | None = None) -> FloatImage:
        """The packed picture (H, W, 3) float32; valid until the next call. With `rows`, the part of it that
        so many rows of cells from `first_row` on see.

        Given floats, area averages are floats: rounding them to bytes costs a third of the boxes' parity
        with the reference. So does `halving`: each level is sampled bilinearly from the picture halved as
        often as leaves it larger. That is a tenth of the work, and no worse at finding faces
        (docs/adr/0003-mtcnn-as-onnx.md).
        """
        top, bottom = self._rows(first_row, rows)
        if self._floats is None:
            self._floats = np.full((*self.shape, 3), GRAY, np.float32)
        for level, pixels in self._drawn(image, top, bottom):
            within = slice(level.top, level.top + level.height)
            self._floats[within, level.left : level.left + level.width] = pixels
        return self._floats[top:bottom]

    def pack_blocks(self, image: FloatImage | Image, first_row: int = 0, rows: int | None = None) -> Blocks:
        """The same in bytes, as blocks. Levels of an odd size are a pixel larger: their last one again."""
        top, bottom = self._rows(first_row, rows)
        if self._blocks is None:
            height, width = self.shape
            self._blocks = np.full((height // 2, width // 2, 12), round(GRAY), np.uint8)
        for level, pixels in self._drawn(image, top, bottom):
            if pixels.dtype != np.uint8:
                pixels = np.rint(pixels).astype(np.uint8)
            if level.height % 2 or level.width % 2:
                pixels = cv2.copyMakeBorder(
                    pixels, 0, level.height % 2, 0, level.width % 2, cv2.BORDER_REPLICATE
                )
            rows_of_blocks, columns = len(pixels) // 2, pixels.shape[1] // 2
            y, x = level.top // 2, level.left // 2
            # Two pixels side by side are one item: six bytes are copied at once.
            pairs = np.ascontiguousarray(pixels).reshape(rows_of_blocks, 2, columns * 6).view("V6")
            self._blocks.view("V6")[y : y + rows_of_blocks, x : x + columns] = pairs.transpose(0, 2, 1)
        return self._blocks[top // 2 : bottom // 2]

    def _rows(self, first_row: int, rows: int | None) -> tuple[int, int]:
        """The pixels that rows of cells see."""
        top = first_row * STRIDE_PX
        return top, self.shape[0] if rows is None else top + (rows - 1) * STRIDE_PX + CELL_PX

    def _drawn(
        self, image: FloatImage | Image, top: int, bottom: int
    ) -> Iterator[tuple[Level, FloatImage | Image]]:
        """The levels that have pixels in these rows, (h, w, 3) each."""
        source, halvings = image, 0
        for level in self.levels:
            if level.top >= bottom or level.top + level.height <= top:
                continue
            while self._halving and level.scale * 2 ** (halvings + 1) <= 1:
                size = max(1, source.shape[1] // 2), max(1, source.shape[0] // 2)
                if size[0] * 2 != source.shape[1] or size[1] * 2 != source.shape[0]:
                    break  # an odd size cannot be halved without shifting the grid
                source = cv2.resize(source, size, interpolation=cv2.INTER_AREA)
                halvings += 1
            is_near = self._halving and level.scale * 2**halvings > MOST_BY_TWO_PIXELS
            how = cv2.INTER_LINEAR if is_near else cv2.INTER_AREA
            yield level, cv2.resize(source, (level.width, level.height), interpolation=how)


def plan_pyramid(shape: tuple[int, int], min_face_px: float, factor: float, halving: bool = False) -> Pyramid:
    """Levels from the smallest face up to one that fills the picture, packed as wide as the largest.

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
    rooms: list[_Room] = []
    bottom = 0
    for scale, w, h in sizes:
        room = min((r for r in rooms if r.holds(w, h)), key=lambda r: r.width * r.height, default=None)
        if room is None:
            room = _Room(0, bottom, total_width, h)
            bottom = _even(bottom + h + GAP_PX)
        else:
            rooms.remove(room)
        levels.append(Level(scale, w, h, room.left, room.top))
        rooms += room.left_over(w, h)
    return Pyramid(levels, total_width, max(bottom, CELL_PX), halving)


class _Room(NamedTuple):
    """A free rectangle of the packed picture."""

    left: int
    top: int
    width: int
    height: int

    def holds(self, width: int, height: int) -> bool:
        return width <= self.width and height <= self.height

    def left_over(self, width: int, height: int) -> tuple[_Room, _Room]:
        """To the right of and below a level in the corner; the corner beyond both goes to the larger one."""
        x, y = _even(width + GAP_PX), _even(height + GAP_PX)
        right, below = self.width - x, self.height - y
        is_wide = right >= below
        return (
            _Room(self.left + x, self.top, right, self.height if is_wide else height),
            _Room(self.left, self.top + y, width if is_wide else self.width, below),
        )


def _even(n: int) -> int:
    return n + n % 2
