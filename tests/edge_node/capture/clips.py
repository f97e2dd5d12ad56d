"""Small video files for tests, written with the same library that reads them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

QUARTER_TURN_CLOCKWISE = (0, 1, -1, 0)
"""As a phone that is held upright writes it: x' = -y, y' = x with y growing downwards."""


def number_image(n: int, width: int = 64, height: int = 48) -> np.ndarray:
    """A gray picture whose brightness tells its number."""
    return np.full((height, width, 3), 16 + 8 * (n % 28), np.uint8)


def number_of(image: np.ndarray) -> int:
    return round((float(image.mean()) - 16) / 8)


def write_clip(path: Path, images: list[np.ndarray], pts_ms: list[int] | None = None, fps: int = 25) -> Path:
    """An H.264 clip; `pts_ms` are its time stamps (default: evenly spaced)."""
    height, width = images[0].shape[:2]
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=fps, options={"crf": "10", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for i, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts = pts_ms[i] if pts_ms else i * 1000 // fps
            frame.time_base = Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def turn_clip(path: Path, abcd: tuple[int, int, int, int]) -> None:
    """Write a rotation into the track header of an MP4 file."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # type; then version 0 up to the matrix
    a, b, c, d = (v << 16 for v in abcd)
    for i, value in enumerate((a, b, 0, c, d, 0, 0, 0, 1 << 30)):
        data[at + 4 * i : at + 4 * i + 4] = value.to_bytes(4, "big", signed=True)
    path.write_bytes(data)
