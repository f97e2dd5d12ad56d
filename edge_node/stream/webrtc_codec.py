"""Masked pictures to H.264 or VP8, for live viewing: no frame is held back, keyframes on demand.

Owns the choice of the encoder (a hardware one where it works here, else libx264; libvpx for VP8) and its
settings. Knows nothing of viewers; used by `stream.webrtc`'s encoding thread alone.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

import av
import cv2
import numpy as np
from av.codec.context import ThreadType
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType
from av.video.reformatter import ColorRange

from edge_node.stream.matroska import BT601
from vision.detections import Image

log = logging.getLogger(__name__)

CLOCK = 90_000
"""RTP's ticks a second for video (RFC 6184, RFC 7741)."""
KEYFRAME_EVERY_S = 10.0
"""Without being asked: a viewer whose request got lost is not blind for longer."""
MAX_THREADS = 4
BUFFER_S = 0.35
"""The rate is kept over this time: a keyframe may take this many seconds' bits."""


class VideoCodec(StrEnum):
    """What browsers play; H.264 is preferred, as the one with hardware on both sides."""

    H264 = "H264"
    VP8 = "VP8"


@dataclass(frozen=True, slots=True)
class Shape:
    """What an encoder is opened for; another shape needs another encoder."""

    width: int
    height: int
    """Even pixels."""
    bitrate_bps: int
    fps: float


@dataclass(frozen=True, slots=True)
class EncoderKind:
    """One of FFmpeg's encoders, with the options that make it live."""

    name: str
    pix_fmt: str
    options: tuple[tuple[str, str], ...]


HARDWARE = (
    EncoderKind(
        "h264_nvenc", "yuv420p",
        (("preset", "p2"), ("tune", "ull"), ("rc", "cbr"), ("zerolatency", "1"), ("delay", "0"),
         ("forced-idr", "1"), ("profile", "baseline")),
    ),
    EncoderKind("h264_v4l2m2m", "yuv420p", (("num_output_buffers", "4"), ("num_capture_buffers", "4"))),
)  # fmt: skip
"""In this order: an NVIDIA card, then the encoder of a Raspberry Pi or of other Linux boards."""
X264 = EncoderKind(
    "libx264", "yuv420p",
    (("preset", "superfast"), ("tune", "zerolatency"), ("profile", "baseline"), ("forced-idr", "1")),
)  # fmt: skip
VPX = EncoderKind(
    "libvpx", "yuv420p",
    (("deadline", "realtime"), ("cpu-used", "8"), ("lag-in-frames", "0"), ("error-resilient", "1"),
     ("static-thresh", "100"), ("noise-sensitivity", "0")),
)  # fmt: skip


class EncoderFault(Exception):  # noqa: N818 - an event: another encoder is tried
    """An encoder does not work on this machine, or no longer."""


class Encoder:
    """One codec context of one shape. Used by one thread. Raises EncoderFault."""

    def __init__(self, kind: EncoderKind, shape: Shape) -> None:
        self.kind = kind
        self.shape = shape
        try:
            context = av.CodecContext.create(kind.name, "w")
            assert isinstance(context, VideoCodecContext)
            _configure(context, kind, shape)
            context.open()
        except (FFmpegError, ValueError) as exc:
            raise EncoderFault(f"{kind.name} does not open ({type(exc).__name__})") from exc
        self._context = context
        self._planes = np.empty((shape.height * 3 // 2, shape.width), np.uint8)
        """Written anew for each picture, and copied by PyAV before the encoder sees it."""

    def encode(self, image: Image, pts: int, keyframe: bool) -> tuple[bytes, bool]:
        """One picture (H, W, 3) uint8 BGR of any size at `pts` (1/90000 s).

        Returns the coded frame, b"" where the encoder left it out to keep its rate, and whether it is a
        keyframe: one that can be shown without any other.
        """
        cv2.cvtColor(_fitted(image, self.shape), cv2.COLOR_BGR2YUV_I420, dst=self._planes)
        frame = av.VideoFrame.from_ndarray(self._planes, format="yuv420p")
        frame.pts, frame.time_base = pts, Fraction(1, CLOCK)
        frame.pict_type = PictureType.I if keyframe else PictureType.NONE
        try:
            packets = self._context.encode(frame)
        except FFmpegError as exc:
            raise EncoderFault(f"{self.kind.name} failed ({type(exc).__name__})") from exc
        return b"".join(bytes(p) for p in packets), any(p.is_keyframe for p in packets)


def _configure(context: VideoCodecContext, kind: EncoderKind, shape: Shape) -> None:
    context.width, context.height, context.pix_fmt = shape.width, shape.height, kind.pix_fmt
    context.time_base = Fraction(1, CLOCK)
    context.framerate = Fraction(shape.fps).limit_denominator(1001)
    context.bit_rate = shape.bitrate_bps
    context.gop_size = max(1, round(KEYFRAME_EVERY_S * shape.fps))
    context.max_b_frames = 0
    context.thread_count = min(MAX_THREADS, os.cpu_count() or 1)
    # Frame threads hold back a frame each; slices do not.
    context.thread_type = ThreadType.SLICE
    context.colorspace = context.color_primaries = context.color_trc = BT601
    context.color_range = ColorRange.MPEG
    rate, buffer = str(shape.bitrate_bps), str(round(shape.bitrate_bps * BUFFER_S))
    context.options = {**dict(kind.options), "maxrate": rate, "bufsize": buffer}


def _fitted(image: Image, shape: Shape) -> Image:
    if image.shape[:2] == (shape.height, shape.width):
        return np.ascontiguousarray(image)
    size = (shape.width, shape.height)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


class EncoderChoice:
    """Opens encoders of one codec, and remembers which kinds did not work on this machine."""

    def __init__(self, codec: VideoCodec, hardware: Iterable[EncoderKind] = HARDWARE) -> None:
        self.codec = codec
        self._kinds = [VPX] if codec is VideoCodec.VP8 else [*hardware, X264]
        self._has_told = ""

    def open(self, shape: Shape) -> Encoder:
        """The first kind that codes a picture of this shape. Raises EncoderFault where none does."""
        while True:
            kind = self._kinds[0]
            try:
                _probe(kind, shape)
                encoder = Encoder(kind, shape)
            except EncoderFault as exc:
                if len(self._kinds) == 1:
                    raise
                self.give_up(kind, str(exc))
                continue
            if kind.name != self._has_told:
                self._has_told = kind.name
                log.info("live video in %s is coded by %s", self.codec, kind.name)
            return encoder

    def give_up(self, kind: EncoderKind, reason: str) -> None:
        """This kind has failed; use the next one from now on. The last kind is kept."""
        if len(self._kinds) > 1 and self._kinds[0] is kind:
            self._kinds.pop(0)
            log.debug("%s is not used: %s", kind.name, reason)


def _probe(kind: EncoderKind, shape: Shape) -> None:
    """Hardware can open and yet code nothing (no driver, no memory): a gray picture must come out."""
    if kind in (X264, VPX):
        return
    gray = np.full((shape.height, shape.width, 3), 128, np.uint8)
    probe = Encoder(kind, shape)
    if not any(probe.encode(gray, n * CLOCK // 25, n == 0)[0] for n in range(3)):
        raise EncoderFault(f"{kind.name} codes nothing, or holds frames back")
