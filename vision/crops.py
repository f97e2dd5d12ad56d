"""The crop contract: how a face travels. Node, enrollment and hub use this one code.

A crop is the face's box grown by 30 %, made square about its center, 224x224 RGB, with the five
landmarks in crop pixels. What lies beyond the picture repeats its edge. On the wire it is a JPEG: of
quality 95 without chroma subsampling where somebody is enrolled by it, and within LOOK_BYTES where a
camera asks who it is, again and again. The landmarks travel beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.detections import Image
from vision.errors import CropError

CROP_PX = 224
GROWTH = 1.3
JPEG_QUALITY = 95
MAX_JPEG_BYTES = 131_072
"""A 224x224 JPEG of pure noise at quality 95 stays below; a face takes about 20 KB."""
LOOK_BYTES = 5_632
"""A look at a face in a picture takes no more: five people who are shown, proven again every 1.8 s each,
then take 131 kbit/s (docs/adr/0018-small-looks.md has what a look of this size loses)."""
LOOK_QUALITIES = (90, 80, 70, 60, 50, 40, 30, 20, 10)
"""The best that fits is taken. Small faces were enlarged and fit at once."""


@dataclass(frozen=True, slots=True)
class FaceCrop:
    """One face, ready for an embedder."""

    image_rgb: Image
    """(224, 224, 3) uint8 RGB."""
    landmarks: NDArray[np.float32]
    """(5, 2) crop pixels: eyes, nose tip, mouth corners (left first, as seen)."""


def cut_crop(
    image_bgr: Image,
    box_xyxy: NDArray[np.floating[Any]],
    landmarks: NDArray[np.floating[Any]],
) -> FaceCrop:
    """Cut one face out of a picture (H, W, 3) BGR.

    box_xyxy: (4,) pixels. landmarks: (5, 2) pixels of the picture. Raises ValueError for a box without
    extent or with numbers that are not finite.
    """
    x1, y1, x2, y2 = (float(v) for v in box_xyxy)
    side = max(x2 - x1, y2 - y1) * GROWTH
    if not np.isfinite([x1, y1, x2, y2]).all() or side < 1 or x2 <= x1 or y2 <= y1:
        raise ValueError(f"not a box: {box_xyxy}")
    left, top = (x1 + x2 - side) / 2, (y1 + y2 - side) / 2
    scale = CROP_PX / side
    patch, patch_left, patch_top = _padded_patch(image_bgr, left, top, side)
    if scale < 1:
        # Area averaging down to the pixel grid first, so that fine texture does not alias.
        size = max(1, round(patch.shape[1] * scale)), max(1, round(patch.shape[0] * scale))
        small = cv2.resize(patch, size, interpolation=cv2.INTER_AREA)
        step_x, step_y = patch.shape[1] / size[0], patch.shape[0] / size[1]
    else:
        small, step_x, step_y = patch, 1.0, 1.0
    # Crop pixel (u, v) shows the picture at (left + (u + 0.5) / scale - 0.5, ...).
    to_small = np.array(
        [
            [1 / scale / step_x, 0, (left - patch_left + 0.5 / scale) / step_x - 0.5],
            [0, 1 / scale / step_y, (top - patch_top + 0.5 / scale) / step_y - 0.5],
        ]
    )
    flags = (cv2.INTER_CUBIC if scale > 1 else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP
    crop = cv2.warpAffine(small, to_small, (CROP_PX, CROP_PX), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    points = (np.asarray(landmarks, np.float32) - (left, top)) * scale
    rgb: Image = np.asarray(cv2.cvtColor(crop, cv2.COLOR_BGR2RGB), np.uint8)
    return FaceCrop(rgb, points.astype(np.float32))


def encode_crop(crop: FaceCrop) -> bytes:
    """The JPEG of a crop."""
    done, data = cv2.imencode(
        ".jpg",
        cv2.cvtColor(crop.image_rgb, cv2.COLOR_RGB2BGR),
        [
            cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
        ],
    )  # fmt: skip
    if not done:
        raise ValueError("a crop must be (224, 224, 3) uint8")
    return data.tobytes()


def encode_look(crop: FaceCrop) -> bytes:
    """The JPEG of a crop that is asked about: the best of LOOK_QUALITIES within LOOK_BYTES, with chroma at
    half the size. Pure noise, which no camera sees, may exceed it at the lowest quality."""
    bgr = cv2.cvtColor(crop.image_rgb, cv2.COLOR_RGB2BGR)
    jpeg = b""
    for quality in LOOK_QUALITIES:
        # Tables made for this one picture save a tenth of a small file.
        options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
        done, data = cv2.imencode(".jpg", bgr, options)
        if not done:
            raise ValueError("a crop must be (224, 224, 3) uint8")
        jpeg = data.tobytes()
        if len(jpeg) <= LOOK_BYTES:
            break
    return jpeg


def decode_crop(jpeg: bytes, landmarks: NDArray[np.float32]) -> FaceCrop:
    """The crop of a JPEG that came over the wire.

    Its size is read from the header before anything is allocated. Raises CropError for anything but a
    224x224 color JPEG within MAX_JPEG_BYTES, and for landmarks far outside of it.
    """
    if len(jpeg) > MAX_JPEG_BYTES:
        raise CropError(f"a crop of {len(jpeg)} bytes is larger than {MAX_JPEG_BYTES}")
    if _jpeg_size(jpeg) != (CROP_PX, CROP_PX, 3):
        raise CropError(f"not a {CROP_PX}x{CROP_PX} color JPEG")
    points = np.asarray(landmarks, np.float32)
    if points.shape != (5, 2) or not (np.abs(points - CROP_PX / 2) < 2 * CROP_PX).all():
        raise CropError("landmarks do not belong to this crop")
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if image is None or image.shape != (CROP_PX, CROP_PX, 3):
        raise CropError("a JPEG that cannot be decoded")
    return FaceCrop(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8), points)


def _padded_patch(image: Image, left: float, top: float, side: float) -> tuple[Image, int, int]:
    """The part of the picture under a square, with repeated edges, and where it begins."""
    height, width = image.shape[:2]
    x1, y1 = int(np.floor(left)) - 1, int(np.floor(top)) - 1
    x2, y2 = int(np.ceil(left + side)) + 1, int(np.ceil(top + side)) + 1
    # A box wholly outside still needs one pixel to repeat.
    cx1, cx2 = min(max(x1, 0), width - 1), max(min(x2, width), 1)
    cy1, cy2 = min(max(y1, 0), height - 1), max(min(y2, height), 1)
    cx2, cy2 = max(cx2, cx1 + 1), max(cy2, cy1 + 1)
    return image[cy1:cy2, cx1:cx2], cx1, cy1


def _jpeg_size(jpeg: bytes) -> tuple[int, int, int] | None:
    """(height, width, channels) from the first frame header (ITU-T T.81, B.2.2), or None."""
    if jpeg[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 4 <= len(jpeg):
        if jpeg[at] != 0xFF:
            return None
        marker = jpeg[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        length = int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            frame = jpeg[at + 4 : at + 2 + length]
            if len(frame) < 6:
                return None
            return int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big"), frame[5]
        at += 2 + max(length, 2)
    return None
