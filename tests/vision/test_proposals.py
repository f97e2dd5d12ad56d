"""What P-Net proposes: the same in floats and in eight bits, whole and in parts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge_node.capture.portraits import demo_portraits
from edge_node.capture.scene import Scenario
from edge_node.capture.synthetic import SceneRenderer
from vision.detections import Image
from vision.errors import ModelError
from vision.geometry import iou_matrix
from vision.graphs import mtcnn_graph
from vision.proposals import Proposals, ProposalSettings
from vision.runtime import load_network

FAST = ProposalSettings(
    min_face_px=24, scale_factor=0.709, score=0.6, exact=False, eight_bits=False, runtime="auto", threads=1
)
SHAPE = (361, 641)
"""Odd, so that levels are too."""


@pytest.fixture(scope="module")
def picture() -> Image:
    scene = Scenario(people=2, width=SHAPE[1] + 1, height=SHAPE[0] + 1, face_px=60.0)
    image, truth = SceneRenderer(scene, demo_portraits()).render(60)
    assert truth, "the scene shows someone at this frame"
    return np.ascontiguousarray(image[: SHAPE[0], : SHAPE[1]])


def test_eight_bits_propose_what_floats_do(picture: Image) -> None:
    floats, whole = (
        Proposals(replace(FAST, eight_bits=eight_bits), SHAPE, 1).of(picture) for eight_bits in (False, True)
    )
    assert len(floats) > 20
    assert 0.85 * len(floats) < len(whole) < 1.15 * len(floats)
    near = iou_matrix(floats, whole) > 0.8
    assert near.any(axis=1).mean() > 0.9
    assert near.any(axis=0).mean() > 0.9


@pytest.mark.parametrize("eight_bits", [False, True])
def test_all_parts_together_propose_what_the_whole_does(picture: Image, eight_bits: bool) -> None:
    settings = replace(FAST, eight_bits=eight_bits)
    whole = Proposals(settings, SHAPE, 1).of(picture)
    in_parts = Proposals(settings, SHAPE, 4)
    parts = np.concatenate([in_parts.of(picture, part) for part in range(4)])
    assert (iou_matrix(whole, parts).max(axis=1) > 0.7).all()


@pytest.mark.parametrize("exact", [False, True])
def test_two_threads_propose_what_one_does(picture: Image, exact: bool) -> None:
    """Each has its half of the packed picture, which it is given while the other is drawn."""
    settings = replace(FAST, exact=exact, eight_bits=not exact)
    image = picture.astype(np.float32) if exact else picture
    one, two = (Proposals(replace(settings, threads=n), SHAPE, 1) for n in (1, 2))
    assert [len(strips) for strips in (*one._searches, *two._searches)] == [1, 2]
    expected = one.of(image)
    assert len(expected) > 20
    np.testing.assert_allclose(two.of(image), expected, atol=1e-3)


def test_candidates_close_together_are_kept_where_boxes_need_not_be_the_packages(picture: Image) -> None:
    fast = Proposals(FAST, SHAPE, 1).of(picture)
    strict = Proposals(replace(FAST, exact=True), SHAPE, 1).of(picture.astype(np.float32))
    assert len(fast) > 1.05 * len(strict)


def test_exact_cells_are_those_of_each_level_by_itself(picture: Image) -> None:
    """Also at the end of levels of odd sizes, where the packed picture has half a gap in their last cells."""
    image = picture.astype(np.float32)
    proposals = Proposals(replace(FAST, exact=True), SHAPE, 1)
    pyramid, again = proposals._pyramid, proposals._again
    assert again is not None
    packed = pyramid.pack(image)
    [[whole]] = proposals._searches
    offsets, faces = whole.network.run(packed[None])
    before = faces[0, 1].copy()
    offsets, faces = again.compute(packed, 0, offsets[0], faces[0, 1])
    alone = load_network(mtcnn_graph("pnet"), threads=1)
    sure = odd = mended = 0
    for level in pyramid.levels:
        pixels = packed[level.top : level.top + level.height, level.left : level.left + level.width]
        expected_offsets, expected = alone.run(np.ascontiguousarray(pixels)[None])
        is_face = expected[0, 1] > 0.55
        sure += int(is_face.sum())
        odd += level.height % 2 + level.width % 2
        np.testing.assert_allclose(faces[level.cells][is_face], expected[0, 1][is_face], atol=1e-5)
        found = offsets[:, *level.cells][:, is_face]
        np.testing.assert_allclose(found, expected_offsets[0][:, is_face], atol=1e-4)
        mended += int((np.abs(before[level.cells] - faces[level.cells]) > 0.05).sum())
    assert sure > 100
    assert odd > 3
    assert mended > 0


def test_scores_that_are_no_numbers_are_no_empty_picture(picture: Image) -> None:
    class Broken:
        def run(self, batch: np.ndarray) -> list[np.ndarray]:
            rows, columns = (n // 2 - 5 for n in batch.shape[1:3])
            return [np.full((1, n, rows, columns), np.nan, np.float32) for n in (4, 2)]

    proposals = Proposals(FAST, SHAPE, 1)
    [[whole]] = proposals._searches
    proposals._searches = [[whole._replace(network=Broken())]]  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="not finite"):
        proposals.of(picture)
