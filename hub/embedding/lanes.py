"""Copies of one network that take turns, so that several threads may compute with it.

One copy where the processor computes: it uses all cores by itself. Several where a GPU does: while one batch
is computed, the next one travels there. Used by the embedders.
"""

from __future__ import annotations

import queue
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vision.runtime import DeviceName, Network

LANES_OF_A_GPU = 3
"""One batch computed, one on its way there, one on its way back."""


def lanes_of(device: DeviceName) -> int:
    """How many batches a device computes at once."""
    return LANES_OF_A_GPU if device == "cuda" else 1


class Lanes:
    """`load` makes a copy; `count` of them are made at once."""

    def __init__(self, load: Callable[[], Network], count: int = 1) -> None:
        self._free: queue.SimpleQueue[Network] = queue.SimpleQueue()
        self.count = count
        for _ in range(count):
            self._free.put(load())

    def run(self, batch: NDArray[np.generic]) -> NDArray[np.float32]:
        """The first output, the caller's to keep. Waits for a copy that is free."""
        network = self._free.get()
        try:
            # A network's outputs hold until its next call, which may be another thread's.
            return np.array(network.run(batch)[0], np.float32)
        finally:
            self._free.put(network)
