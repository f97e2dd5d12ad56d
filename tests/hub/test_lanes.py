"""Copies of a network, used by several threads; and models in stages."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from hub.embedding.lanes import LANES_OF_A_GPU, Lanes, lanes_of
from hub.embedding.port import Embeddings, ModelManifest, staged
from vision.crops import FaceCrop


class FakeNetwork:
    """Always answers in the same memory, as OpenVINO does; two threads in it at once are a mistake."""

    def __init__(self) -> None:
        self._memory = np.zeros((1, 1), np.float32)
        self._alone = threading.Lock()
        self.calls = 0

    def run(self, batch: NDArray[np.generic]) -> list[NDArray[np.float32]]:
        assert self._alone.acquire(blocking=False), "two threads in one network"
        self._memory[:] = batch
        self.calls += 1
        self._alone.release()
        return [self._memory]


def test_what_a_lane_gave_stays_when_it_is_used_again() -> None:
    lanes = Lanes(FakeNetwork)
    first, second = (lanes.run(np.full((1, 1), i, np.float32)) for i in (1, 2))
    assert (first.item(), second.item()) == (1, 2)


def test_threads_never_share_a_network_and_get_what_they_asked_for() -> None:
    networks: list[FakeNetwork] = []

    def load() -> FakeNetwork:
        networks.append(FakeNetwork())
        return networks[-1]

    lanes = Lanes(load, 3)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: lanes.run(np.full((1, 1), i, np.float32)).item(), range(400)))
    assert found == list(range(400))
    assert (len(networks), sum(n.calls for n in networks)) == (3, 400)


def test_a_lane_is_free_again_after_a_failure() -> None:
    class Failing(FakeNetwork):
        def run(self, batch: NDArray[np.generic]) -> list[NDArray[np.float32]]:
            if batch.size == 0:
                raise RuntimeError("nothing")
            return super().run(batch)

    lanes = Lanes(Failing)
    with ThreadPoolExecutor(1) as pool:
        assert isinstance(pool.submit(lanes.run, np.zeros((0, 1))).exception(), RuntimeError)
        assert pool.submit(lanes.run, np.ones((1, 1))).result(60).item() == 1


def test_a_gpu_has_several_lanes_and_a_processor_one() -> None:
    assert (lanes_of("cpu"), lanes_of("cuda")) == (1, LANES_OF_A_GPU)


class Brightness:
    manifest = ModelManifest("brightness", 1, "", "", 0.9, 0.1, "by eye")

    def embed(self, crops: Sequence[FaceCrop]) -> Embeddings:
        return np.array([[crop.image_rgb.mean()] for crop in crops], np.float32)


def test_a_model_of_one_step_embeds_what_its_first_stage_hands_on() -> None:
    model = staged(Brightness())
    crop = FaceCrop(np.full((224, 224, 3), 7, np.uint8), np.zeros((5, 2), np.float32))
    assert model.infer([model.align(crop)]).tolist() == [[7.0]]
    assert model.lanes == 1
    assert model.manifest.model_id == "brightness"
