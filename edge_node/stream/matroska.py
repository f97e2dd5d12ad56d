"""Writes pictures into a Matroska file as H.264, each with its own time stamp. [I/O]

Owns the container and the encoder. Knows neither frames nor threads: `stream.recorder` calls it.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange

from vision.detections import Image

TICK = Fraction(1, 1000)
"""Matroska counts milliseconds."""
PRESET, LARGE_PRESET = "superfast", "ultrafast"
"""The same two cores also watch for faces: 9 ms of one for a frame of 720p (veryfast: 12), 22 ms for
1080p (superfast: 30). Measured on the demo scene and on a street clip."""
LARGE_PIXELS = 1_300_000
"""From here on the larger pictures' preset is used: between 720p and 1080p."""
CRF = "21"
"""Quality at which the coding is hardly seen; 3 Mbit/s for 720p, 14 Mbit/s for busy 1080p."""
THREADS = 2
BT601 = 6
"""The number of BT.601 in H.264's color fields. OpenCV converts to it, several times faster than
FFmpeg to anything; said in the file, players show the right colors at every size."""


class MatroskaWriter:
    """One file. The first picture fixes the size; later ones of another size are fitted into it.

    Raises OSError (FFmpeg's errors are such) or ValueError where it cannot be written.
    """

    def __init__(self, path: Path, width: int, height: int, fps: float) -> None:
        # H.264 in 4:2:0 has one color sample for two by two pixels: both sides must be even.
        self.width, self.height = width + width % 2, height + height % 2
        self._last_ms: int | None = None
        # A cluster a second: what has been written so far can be played, whatever happens next.
        options = {"cluster_time_limit": "1000", "flush_packets": "1"}
        self._container = av.open(str(path), "w", format="matroska", options=options)
        rate = Fraction(fps).limit_denominator(1001) if fps > 0 else Fraction(25)
        self._stream = self._container.add_stream("libx264", rate=rate)
        context = self._stream.codec_context
        context.width, context.height, context.pix_fmt = self.width, self.height, "yuv420p"
        context.time_base = TICK
        context.max_b_frames = 0
        context.gop_size = max(1, round(2 * float(rate)))
        context.thread_count = THREADS
        context.colorspace = context.color_primaries = context.color_trc = BT601
        context.color_range = ColorRange.MPEG
        preset = LARGE_PRESET if width * height > LARGE_PIXELS else PRESET
        context.options = {"preset": preset, "crf": CRF}

    def write(self, image: Image, pts_s: float) -> None:
        """Add a picture (H, W, 3) uint8 BGR to be shown at `pts_s`, kept to the millisecond."""
        ms = round(pts_s * 1000)
        if self._last_ms is not None:
            ms = max(ms, self._last_ms + 1)  # two pictures of one millisecond: both are kept
        self._last_ms = ms
        planes = cv2.cvtColor(self._fitted(image), cv2.COLOR_BGR2YUV_I420)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts, frame.time_base = ms, TICK
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Write what the encoder still holds, and the index."""
        try:
            if self._last_ms is not None:
                self._container.mux(self._stream.encode())
        finally:
            self._container.close()

    def _fitted(self, image: Image) -> Image:
        """The picture in the size of the file: an odd side repeats its last row or column; another
        size is scaled and centered on black."""
        height, width = image.shape[:2]
        right, below = self.width - width, self.height - height
        if 0 <= right <= 1 and 0 <= below <= 1:
            if not right and not below:
                return np.ascontiguousarray(image)
            padded = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE)
            return np.asarray(padded, np.uint8)
        scale = min(self.width / width, self.height / height)
        size = (max(1, int(width * scale)), max(1, int(height * scale)))
        scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        fitted = np.zeros((self.height, self.width, 3), np.uint8)
        left, top = (self.width - size[0]) // 2, (self.height - size[1]) // 2
        fitted[top : top + size[1], left : left + size[0]] = scaled
        return fitted
