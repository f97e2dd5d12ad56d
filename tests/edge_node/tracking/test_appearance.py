"""Signatures: alike for one look, whatever the light; unlike for two; defined for any box."""

from __future__ import annotations

import numpy as np
import pytest

from edge_node.tracking.appearance import difference, signature

BOX = (20.0, 10.0, 70.0, 80.0)


def blotches(seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 120, (10, 10, 3)).astype(np.uint8)
    return np.kron(coarse, np.ones((10, 10, 1), np.uint8))


def test_one_look_in_another_light_is_the_same() -> None:
    image = blotches(1)
    brighter = (image * 1.6 + 20).astype(np.uint8)
    assert difference(signature(image, BOX), signature(brighter, BOX)) < 0.02


def test_two_looks_differ() -> None:
    assert difference(signature(blotches(1), BOX), signature(blotches(2), BOX)) > 0.6


@pytest.mark.parametrize("box", [(-50, -50, -10, -10), (0, 0, 1, 1), (90, 90, 400, 400)])
def test_any_box_has_a_signature(box: tuple[float, float, float, float]) -> None:
    assert np.isfinite(signature(blotches(1), box)).all()
