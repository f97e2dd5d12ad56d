"""The veil holds no pixel of the face, and covers it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_node.frames import ReleaseReason, ShownFace
from edge_node.privacy.decisions import Plan
from edge_node.privacy.veil import Style, VeilSettings, mask, mask_fully, region_mask
from tests.fakes import raw_frame
from vision.detections import Image

GROWTH = 1.4


def noise(seed: int, height: int = 120, width: int = 160) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


coordinate = st.floats(-80.0, 240.0)
boxes = st.lists(
    st.tuples(coordinate, coordinate, st.floats(1.0, 150.0), st.floats(1.0, 150.0)).map(
        lambda v: (v[0], v[1], v[0] + v[2], v[1] + v[3])
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("soft", [True, False])
@pytest.mark.parametrize("style", [Style.VEIL, Style.SOLID])
@settings(max_examples=60, deadline=None)
@given(boxes=boxes, seed=st.integers(0, 1000))
def test_no_pixel_inside_changes_a_bit_of_the_output(
    style: Style, soft: bool, boxes: list[tuple[float, float, float, float]], seed: int
) -> None:
    """Promise 5: replace everything inside every region; the output stays the same, bit for bit."""
    one, other = noise(seed), noise(seed + 1)
    inside = region_mask((120, 160), tuple(boxes), GROWTH) > 0
    other[~inside] = one[~inside]
    plan, how = Plan(tuple(boxes), ()), VeilSettings(style=style, growth=GROWTH, soft=soft)
    masked = [mask(raw_frame(0, 1.0, image), plan, how).image for image in (one, other)]
    np.testing.assert_array_equal(masked[0], masked[1])


def test_the_region_covers_the_face_box_but_its_outermost_corners() -> None:
    box = (40.0, 30.0, 80.0, 80.0)
    inside = region_mask((120, 160), (box,), GROWTH) > 0
    face = inside[30:80, 40:80]
    assert face.mean() > 0.99
    assert inside[20:30, 55:65].any(), "the veil reaches above the box"


def test_everything_far_from_a_region_is_untouched() -> None:
    image = noise(3)
    masked = mask(raw_frame(0, 1.0, image), Plan(((60.0, 50.0, 80.0, 70.0),), ()), VeilSettings())
    np.testing.assert_array_equal(masked.image[:20], image[:20])
    np.testing.assert_array_equal(masked.image[:, :20], image[:, :20])


def test_the_fill_continues_its_surroundings() -> None:
    image = np.full((120, 160, 3), (10, 120, 200), np.uint8)
    image[40:80, 60:100] = 255
    masked = mask(raw_frame(0, 1.0, image), Plan(((55.0, 35.0, 105.0, 85.0),), ()), VeilSettings())
    assert np.abs(masked.image.astype(int) - (10, 120, 200)).max() <= 2


def test_the_source_frame_is_not_written_to() -> None:
    image = noise(5)
    image.flags.writeable = False
    mask(raw_frame(0, 1.0, image), Plan(((60.0, 50.0, 80.0, 70.0),), ()), VeilSettings())


def test_a_region_that_fills_the_picture_leaves_one_color() -> None:
    plan = Plan(((-100.0, -100.0, 300.0, 300.0),), ())
    masked = mask(raw_frame(0, 1.0, noise(1)), plan, VeilSettings())
    assert (masked.image == masked.image[0, 0]).all()


def test_a_veil_too_small_for_a_face_is_refused() -> None:
    with pytest.raises(ValueError, match="does not cover"):
        VeilSettings(growth=1.1)


def test_a_frame_veiled_in_full_depends_on_nothing_but_size_and_reason() -> None:
    one = mask_fully(raw_frame(0, 1.0, noise(1)), ReleaseReason.LATE)
    other = mask_fully(raw_frame(0, 1.0, noise(2)), ReleaseReason.LATE)
    np.testing.assert_array_equal(one.image, other.image)
    assert one.fully_veiled
    assert one.image.shape == (120, 160, 3)


def test_a_covered_frame_is_never_veiled_in_full() -> None:
    with pytest.raises(ValueError, match="covered"):
        mask_fully(raw_frame(0, 1.0), ReleaseReason.COVERED)


@pytest.mark.parametrize("box", [(0, 0, 20, 20), (150, 110, 170, 130), (-50, -50, -10, -10)])
def test_a_caption_may_lie_at_any_edge(box: tuple[float, float, float, float]) -> None:
    shown = (ShownFace(1, "Ada Lovelace 王", box),)
    mask(raw_frame(0, 1.0, noise(1)), Plan((), shown), VeilSettings())


@pytest.mark.parametrize("style", [Style.PIXELATE, Style.BLUR])
def test_a_weak_style_must_be_asked_for_twice(style: Style) -> None:
    with pytest.raises(ValueError, match="undone by an attacker"):
        VeilSettings(style=style)
    how = VeilSettings(style=style, allow_weak=True)
    masked = mask(raw_frame(0, 1.0, noise(1)), Plan(((60.0, 40.0, 100.0, 90.0),), ()), how)
    inside = np.abs(masked.image[50:80, 70:90].astype(int) - noise(1)[50:80, 70:90])
    assert inside.mean() > 30


def test_overlapping_veils_leave_no_seam() -> None:
    image = np.full((120, 160, 3), (10, 120, 200), np.uint8)
    boxes = ((40.0, 30.0, 90.0, 80.0), (70.0, 50.0, 120.0, 100.0))
    image[region_mask((120, 160), boxes, GROWTH) > 0] = 255
    masked = mask(raw_frame(0, 1.0, image), Plan(boxes, ()), VeilSettings())
    assert np.abs(masked.image.astype(int) - (10, 120, 200)).max() <= 3


@pytest.mark.parametrize("reason", [r for r in ReleaseReason if r is not ReleaseReason.COVERED])
def test_every_reason_for_a_full_veil_has_its_words(reason: ReleaseReason) -> None:
    assert mask_fully(raw_frame(0, 1.0, noise(1)), reason).reason is reason
