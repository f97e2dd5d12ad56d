"""A hub in a process of its own, with a model that is measured or one that costs what the measurement says.

Runs `hub.service.Hub` as `veilcast-hub run` does: sockets, CURVE, sessions, batcher, gallery, evidence,
policy and audit log are the product's. Prints its address; answers each line on its input with what it has
used so far; ends with its input. For half of the stub's faces a person is enrolled. Started by
`benchmarks.hub_load`.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hub.config import DecisionSettings, HubSettings, NetworkSettings, RecognitionSettings
from hub.embedding.choose import open_embedder
from hub.embedding.port import Aligned, Embedder, Embeddings, ModelManifest, normalized
from hub.interpreter import answer_soon
from hub.recognizer import Look
from hub.service import Hub
from hub.store.people import PeopleStore
from hub.store.sealing import NewConsent, NewTemplate
from protocol.keys import load_keypair
from vision.crops import FaceCrop

DIMENSION = 128
FACES = 64
"""Directions that the stub knows; every other one is enrolled."""


class StubEmbedder:
    """Which of FACES a crop shows is told by its pixels; a batch takes `crop_ms` for each of its crops."""

    lanes = 1
    manifest = ModelManifest("stub", DIMENSION, "0" * 64, "none", 0.9, 0.05, "a stub")

    def __init__(self, crop_ms: float) -> None:
        self._crop_s = crop_ms / 1_000
        rows = np.random.default_rng(1).normal(size=(FACES, DIMENSION))
        self.directions = normalized(rows.astype(np.float32))

    def embed(self, crops: Sequence[FaceCrop]) -> Embeddings:
        return self.infer([self.align(crop) for crop in crops])

    def align(self, crop: FaceCrop) -> Aligned:
        return int(crop.image_rgb[::32, ::32].sum()) % FACES

    def infer(self, faces: Sequence[Aligned]) -> Embeddings:
        if self._crop_s:
            time.sleep(self._crop_s * len(faces))
        return self.directions[list(faces)]


def main() -> None:
    asyncio.run(_serve(json.loads(sys.argv[1])))


async def _serve(spec: dict[str, Any]) -> None:
    state = Path(spec["state"])
    settings = HubSettings(
        state=str(state),
        server=NetworkSettings(
            listen="tcp://127.0.0.1:*",
            max_peers=spec["max_peers"],
            max_in_flight=spec["max_in_flight"],
            # The simulated nodes send no heartbeats, and wait while the other side of a ratio is measured.
            heartbeat_s=5.0,
            liveness=100,
        ),
        recognition=RecognitionSettings(
            max_batch=spec["max_batch"], max_waiting=spec["max_waiting"], max_age_ms=spec["max_age_ms"]
        ),
        decisions=DecisionSettings(),
    )
    embedder: Embedder
    if spec["model"] == "stub":
        embedder = StubEmbedder(spec["crop_ms"])
    else:
        embedder = open_embedder(spec["model"], precision=spec["precision"], threads=spec["threads"])
    store = PeopleStore(settings.files.people)
    if isinstance(embedder, StubEmbedder):
        _enrol(store, embedder)
    hub = Hub(settings, load_keypair(settings.files.key), store, embedder, time.time)
    if not spec["decodes"]:
        # So the stub's place is before the decoder: a face is told by the bytes of its picture.
        hub._recognizer.prepare = _told_by_bytes  # type: ignore[method-assign]
    await hub.start()
    answer_soon()
    print(hub.address, flush=True)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while await lines.readline():
        print(json.dumps(_used(hub)), flush=True)
    await hub.stop()


def _told_by_bytes(look: Look) -> Aligned:
    return zlib.crc32(look.crop_jpeg[-256:]) % FACES


def _enrol(store: PeopleStore, stub: StubEmbedder) -> None:
    for number in range(0, FACES, 2):
        template = NewTemplate(stub.directions[number], "stub", "drawn", 0.9)
        store.add(f"Person {number}", [template], NewConsent(), time.time())


def _used(hub: Hub) -> dict[str, Any]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "cpu_s": used.ru_utime + used.ru_stime,
        "rss_mb": pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
        "batches": hub._batcher.batches,
        "shed": hub._batcher.shed,
    }


if __name__ == "__main__":
    main()
