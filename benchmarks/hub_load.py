"""A hub and simulated nodes beside it: how many crops a second, how fairly, and what happens beyond that.

Owns the two processes and their keys; `benchmarks.hub_side` and `benchmarks.hub_nodes` are what runs in them.
Both share the machine's cores: what the nodes' side costs is part of the result (`nodes_share_of_core`).
Called by `benchmarks.hub`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.interval import median_95
from hub.signing import load_or_create
from protocol.keys import Peer, allowed_file, create_keypair, write_public_key
from vision.crops import FaceCrop, encode_look

ROOT = Path(__file__).parent.parent
KEPT = ROOT / "var" / "benchmarks"
"""On a disk, as a hub's state is: its audit log waits for it."""
NODES = 200
REPEATS = 5
STALL_S, ATTEMPTS = 0.5, 5
"""A run in which the nodes' process stood still for so long says nothing about the hub, and is made again."""
GOAL_CROPS_PER_S = 5_000.0
MOST_LOAD = 0.9
"""Where a machine cannot do that, delays are measured at this share of what it can..."""
HALF_LOAD = 0.5
"""... and at this one besides, which leaves room for what else such a machine does."""
OVERLOAD = 10.0
"""Times what the hub can compute."""
OVERLOAD_CROP_MS = 4.0
GREEDY = 20
"""Nodes that ask for more than their share, ..."""
GREED = 200.0
"""... and how many times as much as the others, who want a fifth of what the model can do."""


@dataclass(frozen=True, slots=True)
class HubSpec:
    """What hub to run; see `hub.config` for the settings."""

    model: str = "stub"
    precision: str = "auto"
    threads: int = 0
    crop_ms: float = 0.0
    decodes: bool = True
    max_batch: int = 16
    max_age_ms: float = 10.0
    max_waiting: int = 256
    max_in_flight: int = 32
    max_peers: int = 512


class Pipe:
    """A process that answers each line with one line of JSON."""

    def __init__(self, module: str, spec: dict[str, Any], environment: dict[str, str] | None = None) -> None:
        self._name = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, json.dumps(spec)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **(environment or {})},
        )  # fmt: skip
        self.first = self._line()

    def ask(self, **task: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._line())
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._name} ended with {self._process.wait(60)}")
        return line.strip()


@dataclass(frozen=True, slots=True)
class Pair:
    """A hub and its nodes, connected."""

    hub: Pipe
    nodes: Pipe

    def ask(self, **task: Any) -> dict[str, Any]:
        """One run of the nodes, with what the hub has used meanwhile."""
        for _ in range(ATTEMPTS):
            before = self.hub.ask()
            found = self.nodes.ask(**task)
            after = self.hub.ask()
            if found["stall_s"] < STALL_S:
                break
            print(f"  the machine stood still for {found['stall_s']:.1f} s: once more", file=sys.stderr)
        return {
            **found,
            "hub_share": (after["cpu_s"] - before["cpu_s"]) / found["seconds"],
            "nodes_share": found["cpu_s"] / found["seconds"],
            "batches": after["batches"] - before["batches"],
            "rss_mb": after["rss_mb"],
        }


@contextmanager
def pair(
    hub: HubSpec, nodes: int, crops: Sequence[FaceCrop], environment: dict[str, str] | None = None
) -> Iterator[Pair]:
    """Started and connected, ended at the end."""
    KEPT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hub-", dir=KEPT) as name:
        folder = Path(name)
        _write_keys(folder, nodes)
        for number, crop in enumerate(crops):
            (folder / f"{number:03}.jpg").write_bytes(encode_look(crop))
        fields = {field: getattr(hub, field) for field in HubSpec.__dataclass_fields__}
        side = Pipe("benchmarks.hub_side", {"state": name, **fields}, environment)
        try:
            crowd = Pipe(
                "benchmarks.hub_nodes", {"folder": name, "address": side.first, "nodes": nodes}, environment
            )
            try:
                yield Pair(side, crowd)
            finally:
                crowd.close()
        finally:
            side.close()


def _write_keys(folder: Path, nodes: int) -> None:
    write_public_key(folder / "hub.pub", create_keypair(folder / "hub.key", "hub", "hub"))
    load_or_create(folder / "sign.key")
    allowed = folder / "authorized"
    allowed.mkdir(mode=0o700)
    for number in range(nodes):
        name = f"node-{number}"
        keys = create_keypair(folder / f"{name}.key", name, "node")
        write_public_key(allowed_file(allowed, Peer(name, "node")), keys)


def many_nodes(crops: Sequence[FaceCrop], quick: bool) -> dict[str, Any]:
    """First all nodes ask again as soon as they are answered: what the hub around the model can do, and how
    fairly. Then they ask so many a second by themselves, and delays count from when a question was due: with
    200 always under way the mean delay is 200 over the rate, whatever the hub does."""
    stub = HubSpec(decodes=False, max_batch=64, max_age_ms=2.0, max_waiting=1024)
    result: dict[str, Any] = {}
    with pair(stub, NODES, crops) as running:
        runs = [_saturated(running, quick) for _ in range(REPEATS)]
        rate, rate_lo, _ = median_95([run["rate"] for run in runs])
        load = min(GOAL_CROPS_PER_S, MOST_LOAD * rate)
        paced = [_paced(running, load, quick) for _ in range(REPEATS)]
        halved = [_paced(running, HALF_LOAD * rate, quick) for _ in range(REPEATS)]
    fairness = [min(run["answered"]) / max(1, median(run["answered"])) for run in runs]
    result |= {
        "crops_per_s_200_nodes": round(rate), "crops_per_s_200_nodes_lo": round(rate_lo),
        "p99_ms_200_nodes": round(median(run["p99_ms"] for run in paced), 1),
        "p99_ms_200_nodes_hi": round(max(run["p99_ms"] for run in paced), 1),
        "p99_at_crops_per_s": round(load),
        "p99_ms_200_nodes_half_load": round(median(run["p99_ms"] for run in halved), 1),
        "paced_answered_share": round(min(_answered_share(run) for run in paced), 4),
        "p99_ms_200_nodes_saturated": round(median(run["p99_ms"] for run in runs), 1),
        "fairness": round(median(fairness), 3), "fairness_lo": round(min(fairness), 3),
        "revealed_share": round(median(r["revealed"] / max(1, sum(r["answered"])) for r in runs), 2),
        "hub_share_of_core": round(median(run["hub_share"] for run in runs), 2),
        "nodes_share_of_core": round(median(run["nodes_share"] for run in runs), 2),
    }  # fmt: skip
    with pair(replace(stub, decodes=True), NODES, crops) as running:
        decoding = [_saturated(running, quick) for _ in range(2 if quick else REPEATS)]
    result["crops_per_s_200_nodes_decoding"] = round(median(run["rate"] for run in decoding))
    result["p99_ms_200_nodes_decoding"] = round(median(run["p99_ms"] for run in decoding), 1)
    return result


def _saturated(running: Pair, quick: bool) -> dict[str, Any]:
    return running.ask(per_node=1, seconds=1.5 if quick else 5.0, warm_s=0.5 if quick else 1.0)


def _answered_share(run: dict[str, Any]) -> float:
    """Of what was asked while it counted, what was neither refused nor left without an answer."""
    missed: int = sum(run["refused"].values()) + run["lost"]
    asked: int = run["asked"]
    return 1.0 - missed / max(1, asked)


def _paced(running: Pair, load: float, quick: bool) -> dict[str, Any]:
    return running.ask(rate=load, seconds=1.5 if quick else 5.0, warm_s=0.5 if quick else 1.0)


def by_nodes(crops: Sequence[FaceCrop], quick: bool) -> list[tuple[int, float, float]]:
    """(nodes, crops a second, p99 in ms) for a plot."""
    found = []
    for nodes in (10, 25, 50, 100, NODES):
        with pair(HubSpec(decodes=False, max_batch=64, max_age_ms=2.0), nodes, crops) as running:
            run = _saturated(running, quick)
            found.append((nodes, run["rate"], run["p99_ms"]))
    return found


def overload(crops: Sequence[FaceCrop], quick: bool) -> dict[str, Any]:
    """Ten times what the model can do, from all nodes alike; then a few nodes that want nearly everything."""
    slow = HubSpec(decodes=False, crop_ms=OVERLOAD_CROP_MS)
    capacity = 1_000 / OVERLOAD_CROP_MS
    seconds, warm_s = (3.0, 1.0) if quick else (20.0, 5.0)
    shares = [GREED if number < GREEDY else 1.0 for number in range(NODES)]
    with pair(slow, NODES, crops) as running:
        running.ask(rate=OVERLOAD * capacity, seconds=seconds / 2, warm_s=warm_s)
        rss_mb = running.hub.ask()["rss_mb"]
        flood = running.ask(rate=OVERLOAD * capacity, seconds=seconds, warm_s=0.5)
        greedy = running.ask(rate=4 * capacity, seconds=seconds, warm_s=warm_s, shares=shares)
    answered = np.array(flood["answered"])
    modest = slice(GREEDY, None)
    kept = sum(greedy["answered"][modest])
    given_up = sum(greedy["refused_by_node"][modest])
    told = flood["refused"].get("overloaded", 0)
    return {
        "overload_answered_to_capacity": round(float(answered.sum()) / flood["seconds"] / capacity, 3),
        "overload_told": told,
        "overload_lost": flood["lost"],
        "overload_p99_ms": round(flood["p99_ms"]),
        "overload_fairness": round(float(answered.min() / max(1, np.median(answered))), 3),
        "overload_rss_mb": round(flood["rss_mb"], 1),
        "overload_rss_growth_mb": round(flood["rss_mb"] - rss_mb, 1),
        "greedy_modest_answered": round(kept / max(1, kept + given_up), 4),
    }
