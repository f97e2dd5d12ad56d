"""The hub's benchmark: what it counts, and a hub with simulated nodes that really answers."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.hub_load import HubSpec, pair
from benchmarks.hub_nodes import rate_of
from benchmarks.hub_side import FACES, StubEmbedder
from vision.crops import FaceCrop


def crop(brightness: int) -> FaceCrop:
    return FaceCrop(np.full((224, 224, 3), brightness, np.uint8), np.zeros((5, 2), np.float32))


def test_a_rate_is_counted_from_the_first_batch_to_the_last() -> None:
    batches = [10.0, 10.001, 11.0, 11.001, 12.0, 12.0]
    assert rate_of(batches) == pytest.approx(2.0)
    assert rate_of([]) == rate_of([3.0, 3.001]) == 0.0


def test_the_stub_tells_faces_apart_and_each_always_alike() -> None:
    stub = StubEmbedder(0.0)
    found = stub.embed([crop(10), crop(11), crop(10)])
    assert (found[0] == found[2]).all()
    assert abs(float(found[0] @ found[1])) < 0.5
    assert stub.directions.shape == (FACES, 128)
    assert np.allclose(np.linalg.norm(stub.directions, axis=1), 1, atol=1e-5)


@pytest.mark.e2e
@pytest.mark.timeout(600)
@pytest.mark.parametrize("decodes", [True, False])
def test_simulated_nodes_are_answered_by_a_real_hub(decodes: bool) -> None:
    with pair(HubSpec(decodes=decodes), 3, [crop(i) for i in (40, 90, 140, 190)]) as running:
        found = running.ask(per_node=2, seconds=2.0, warm_s=0.2)
        paced = running.ask(rate=20.0, seconds=2.0, warm_s=0.2)
    assert all(count > 0 for count in found["answered"])
    assert found["refused"] == paced["refused"] == {}
    assert paced["lost"] == 0
    assert sum(paced["answered"]) >= paced["asked"], "and those that were asked before counting began"


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_what_is_too_much_is_refused_and_every_node_is_told() -> None:
    with pair(HubSpec(crop_ms=50.0, max_batch=2, max_waiting=4), 3, [crop(90)]) as running:
        found = running.ask(rate=200.0, seconds=2.0, warm_s=0.5)
    assert found["lost"] == 0
    assert found["refused"].keys() == {"overloaded"}
    assert sum(found["answered"]) + found["refused"]["overloaded"] >= found["asked"]
    assert all(found["refused_by_node"])
