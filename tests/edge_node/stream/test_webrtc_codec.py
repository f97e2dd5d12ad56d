"""Real encoders on small pictures: what comes out can be played, keyframes come when asked for."""

from __future__ import annotations

import av
import numpy as np
import pytest

from edge_node.stream.webrtc_codec import (
    CLOCK,
    VPX,
    X264,
    Encoder,
    EncoderChoice,
    EncoderFault,
    EncoderKind,
    Shape,
    VideoCodec,
)

SHAPE = Shape(160, 90, 500_000, 25.0)
STEP = CLOCK // 25


def picture(n: int, width: int = 160, height: int = 90) -> np.ndarray:
    image = np.full((height, width, 3), (40, 90, 160), np.uint8)
    image[:, (7 * n) % width :][:, :10] = 230
    return image


@pytest.mark.parametrize("kind", [X264, VPX])
def test_no_frame_is_held_back_and_keyframes_come_when_asked(kind: EncoderKind) -> None:
    encoder = Encoder(kind, SHAPE)
    coded = [encoder.encode(picture(n), n * STEP, keyframe=n == 10) for n in range(20)]
    assert all(data for data, _ in coded)
    assert [n for n, (_, is_key) in enumerate(coded) if is_key] == [0, 10]


@pytest.mark.parametrize(("kind", "decoder"), [(X264, "h264"), (VPX, "vp8")])
def test_a_keyframe_begins_a_stream_of_its_own_in_the_right_colors(kind: EncoderKind, decoder: str) -> None:
    encoder = Encoder(kind, SHAPE)
    coded = [encoder.encode(picture(n), n * STEP, keyframe=n == 10)[0] for n in range(14)]
    context = av.CodecContext.create(decoder, "r")
    frames = [frame for data in coded[10:] for frame in context.decode(av.Packet(data))]
    frames += context.decode(None)
    assert len(frames) == 4
    last = frames[-1].to_ndarray(format="bgr24").astype(int)
    assert np.abs(last[:, 0:8] - (40, 90, 160)).mean() < 8


def test_another_size_is_scaled() -> None:
    encoder = Encoder(X264, SHAPE)
    data, _ = encoder.encode(picture(0, 321, 181), 0, keyframe=True)
    context = av.CodecContext.create("h264", "r")
    frames = [*context.decode(av.Packet(data)), *context.decode(None)]
    assert (frames[0].width, frames[0].height) == (160, 90)


def test_the_rate_is_kept() -> None:
    shape = Shape(320, 180, 400_000, 25.0)
    noise = np.random.default_rng(3).integers(0, 255, (75, 180, 320, 3), np.uint8)
    encoder = Encoder(X264, shape)
    coded = [encoder.encode(noise[n], n * STEP, False)[0] for n in range(75)]
    assert 8 * sum(map(len, coded[25:])) / 2 < 1.3 * shape.bitrate_bps


def test_hardware_that_is_not_there_is_passed_over() -> None:
    nothing = EncoderKind("no_such_encoder", "yuv420p", ())
    choice = EncoderChoice(VideoCodec.H264, (nothing,))
    assert choice.open(SHAPE).kind is X264
    assert EncoderChoice(VideoCodec.VP8, (nothing,)).open(SHAPE).kind is VPX
    choice.give_up(X264, "the last one is kept")
    assert choice.open(SHAPE).kind is X264


def test_hardware_that_codes_nothing_is_passed_over() -> None:
    # It opens and takes pictures, but gives the first one out after many more.
    lazy = EncoderKind("libx264", "yuv420p", (("rc-lookahead", "40"), ("preset", "slow")))
    assert EncoderChoice(VideoCodec.H264, (lazy,)).open(SHAPE).kind is X264


def test_a_shape_that_cannot_be_coded_is_told() -> None:
    with pytest.raises(EncoderFault, match="libx264"):
        EncoderChoice(VideoCodec.H264, ()).open(Shape(0, 0, 500_000, 25.0))


def test_pyav_copies_the_planes_that_the_encoder_writes_anew() -> None:
    planes = np.full((90 * 3 // 2, 160), 200, np.uint8)
    frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
    planes[:] = 0
    assert (frame.to_ndarray() == 200).all()
