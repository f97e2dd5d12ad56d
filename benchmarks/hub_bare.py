"""A model and nothing around it, answering on a pipe: the peer of `benchmarks.hub_models`.

KIND `network`: our runtime with a batch that lies ready, for each precision. KIND `keras`: the published
definition as its users call it, `model.predict` with one crop. Each line in names what is timed and how
often, each line out has the seconds.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Work = Callable[[], object]


def networks(spec: dict[str, Any]) -> dict[str, Work]:
    """By name of a graph: one batch through the network, already aligned and put together."""
    from vision.runtime import load_network

    pixels = np.load(spec["pixels"])
    works: dict[str, Work] = {}
    for name, graph in spec["graphs"].items():
        network = load_network(Path(graph), threads=spec["threads"], exact=not graph.endswith("fp16.onnx"))
        works[name] = lambda network=network: network.run(pixels)  # type: ignore[misc]
    return works


def keras(spec: dict[str, Any]) -> dict[str, Work]:
    """`predict` of one face, as keras-vggface's and deepface's users get it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from hub.embedding.vggface2_graph import keras_model
    from hub.embedding.vggface2_layers import MEAN_BGR
    from hub.embedding.vggface2_weights import read_weights

    model = keras_model(read_weights(Path(spec["weights"])))
    one = np.load(spec["pixels"])[:1, ..., ::-1].astype(np.float32) - np.array(MEAN_BGR, np.float32)
    return {"predict": lambda: model.predict(one, verbose=0)}


def main() -> None:
    spec = json.loads(sys.argv[1])
    # Keras writes to the standard output as it likes; what is answered goes where it was.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    works = {"network": networks, "keras": keras}[spec["kind"]](spec)
    for work in works.values():
        work()
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        work = works[task["name"]]
        work()  # what ran meanwhile has taken the caches
        begun = time.perf_counter()
        for _ in range(task["times"]):
            work()
        print(json.dumps({"seconds": time.perf_counter() - begun}), file=answers, flush=True)


if __name__ == "__main__":
    main()
