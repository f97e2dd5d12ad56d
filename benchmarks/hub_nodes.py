"""Simulated nodes in one process: each with its own key, connection, CURVE and session, none with a camera.

They ask as nodes do (five tracks each, a crop of 5 KB a question) and count what comes back. `rate` None:
each node keeps `per_node` questions under way; else so many are asked a second by all nodes together, at
random times, whether or not the hub keeps up. Run by `benchmarks.hub_load`, which gives a spec and gets one
JSON object for each run.
"""

from __future__ import annotations

import gc
import heapq
import json
import os
import random
import resource
import select
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import zmq

from protocol.keys import load_keypair, read_public_key
from protocol.messages import FaceQuery, Hello

TRACKS = 5
CONNECT_S = 300.0
LOOK_EVERY_S = 0.0005
"""What this adds to delays is counted with them."""
NOW, SEND_MORE, EVENTS = int(zmq.NOBLOCK), int(zmq.NOBLOCK | zmq.SNDMORE), int(zmq.EVENTS)
BURST_S = 0.02
"""Answers of one batch arrive within this."""
DRAIN_S = 5.0
"""What is not answered by then after the end counts as lost."""
LANDMARKS = ((90.0, 90.0), (140.0, 90.0), (115.0, 120.0), (95.0, 150.0), (135.0, 150.0))


@dataclass(slots=True)
class Counts:
    """Of one node, in the measured time; latencies in seconds."""

    asked: int = 0
    revealed: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)
    answered_at: list[float] = field(default_factory=list)
    refused_after: list[float] = field(default_factory=list)


class Node:
    """One connection. `since` is when counting begins."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], spec: dict[str, Any], number: int) -> None:
        folder = Path(spec["folder"])
        keys = load_keypair(folder / f"node-{number}.key")
        self.name = f"node-{number}"
        self.session = os.urandom(16)
        self.socket = context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.curve_serverkey = read_public_key(folder / "hub.pub").public
        self.socket.curve_publickey, self.socket.curve_secretkey = keys.public, keys.secret
        self.socket.connect(spec["address"])
        self.number = number
        self.counts = Counts()
        self.under_way: dict[int, float] = {}
        self._seq = 0

    def greet(self) -> None:
        hello = Hello(session=self.session, role="node", name=self.name, versions=(1,))
        self.socket.send(_encoder.encode(hello))

    def ask(self, crops: list[bytes], now: float) -> None:
        self._seq += 1
        track = 1 + self._seq % TRACKS
        query = FaceQuery(
            session=self.session, seq=self._seq, track=track, landmarks=LANDMARKS, quality=0.9
        )  # fmt: skip
        crop = crops[(self.number * TRACKS + track) % len(crops)]
        self.under_way[self._seq] = now
        self.counts.asked += 1
        # Plain calls: `send_multipart` takes three times as long, and these nodes share the hub's cores.
        self.socket.send(_encoder.encode(query), SEND_MORE)
        self.socket.send(crop, NOW)

    def hear(self, now: float) -> int:
        """Take in what has arrived; how many questions were answered."""
        heard = 0
        while int(self.socket.get(EVENTS)) & zmq.POLLIN:
            heard += self._take_in(now)
        return heard

    def _take_in(self, now: float) -> int:
        said = _decoder.decode(self.socket.recv(NOW))
        asked_at = self.under_way.pop(said.seq, None)
        if asked_at is None:
            return 0
        if said.type == "face-decision":
            self.counts.latencies.append(now - asked_at)
            self.counts.answered_at.append(now)
            self.counts.revealed += said.reveal
        else:
            self.counts.refused[said.code] = self.counts.refused.get(said.code, 0) + 1
            self.counts.refused_after.append(now - asked_at)
        return 1


class Said(msgspec.Struct):
    """What matters here of an answer, or of anything else the hub says."""

    type: str
    seq: int = 0
    reveal: bool = False
    code: str = ""


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Said] = msgspec.msgpack.Decoder(Said)


class Crowd:
    """All nodes of this process."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._context.setsockopt(zmq.MAX_SOCKETS, 4_096)
        self.nodes = [Node(self._context, spec, number) for number in range(spec["nodes"])]
        self._by_file = {int(node.socket.FD): node for node in self.nodes}
        # Not zmq.Poller: a look at two hundred sockets by it takes as long as fifteen messages.
        self._epoll = select.epoll()
        for file in self._by_file:
            self._epoll.register(file, select.EPOLLIN)
        self._asked: dict[Node, None] = {}
        """Sending may take a socket's notice that something has arrived: these are asked without one."""
        self._crops = [path.read_bytes() for path in sorted(Path(spec["folder"]).glob("*.jpg"))]
        self.lags: deque[float] = deque(maxlen=200_000)
        self.stall_s = self._heard_at = 0.0
        """The longest time without a look at the sockets: other work has taken the processor."""

    def connect(self) -> None:
        """Open all sessions; raises SystemExit where that takes too long."""
        for node in self.nodes:
            node.greet()
        silent, give_up_at = set(self.nodes), time.perf_counter() + CONNECT_S
        while silent:
            self._epoll.poll(0.1)
            for node in list(silent):
                while int(node.socket.get(EVENTS)) & zmq.POLLIN:
                    if _decoder.decode(node.socket.recv(NOW)).type == "welcome":
                        silent.discard(node)
            if time.perf_counter() > give_up_at:
                raise SystemExit(f"{len(silent)} nodes found no session within {CONNECT_S:g} s")

    def closed(self, per_node: int, seconds: float, warm_s: float) -> float:
        """Each node asks again when it has its answer; the seconds that count."""
        begun = self._begin()
        for node in self.nodes:
            for _ in range(per_node):
                self._ask(node, time.perf_counter())
        counting = False
        while (now := time.perf_counter()) < begun + warm_s + seconds:
            if not counting and now >= begun + warm_s:
                counting, counted_from = True, now
                self._count_anew()
            for node, heard in self._hear(0.01):
                for _ in range(heard):
                    self._ask(node, time.perf_counter())
        return time.perf_counter() - counted_from

    def open(self, rate: float, seconds: float, warm_s: float) -> float:
        """Questions at random times, so many a second; the seconds that count."""
        begun = self._begin()
        shares = self._spec.get("shares") or [1.0] * len(self.nodes)
        roll = random.Random(1)
        pace = [rate * share / sum(shares) for share in shares]
        due = [(begun + roll.expovariate(p), number) for number, p in enumerate(pace)]
        heapq.heapify(due)
        counting = False
        while (now := time.perf_counter()) < begun + warm_s + seconds:
            if not counting and now >= begun + warm_s:
                counting, counted_from = True, now
                self._count_anew()
            while due[0][0] <= now:
                at, number = due[0]
                self.lags.append(now - at)
                self._ask(self.nodes[number], at)  # late by as much as this process was
                heapq.heapreplace(due, (at + roll.expovariate(pace[number]), number))
                now = time.perf_counter()
            self._hear(max(0.0, min(0.01, due[0][0] - now)))
        took = time.perf_counter() - counted_from
        self._drain()
        return took

    def _drain(self) -> None:
        """Wait for what is under way."""
        end = time.perf_counter() + DRAIN_S
        while any(node.under_way for node in self.nodes) and time.perf_counter() < end:
            self._hear(0.05)

    def _hear(self, wait_s: float) -> list[tuple[Node, int]]:
        pause_s = self._heard_at + LOOK_EVERY_S - time.perf_counter()
        if pause_s > 0:
            time.sleep(pause_s)
        asked, self._asked = self._asked, {}
        is_waiting = any(int(node.socket.get(EVENTS)) & zmq.POLLIN for node in asked)
        files = self._epoll.poll(0.0 if is_waiting else wait_s)
        ready = asked | {self._by_file[file]: None for file, _ in files}
        now = time.perf_counter()
        self.stall_s = max(self.stall_s, now - self._heard_at)
        self._heard_at = now
        return [(node, node.hear(now)) for node in ready]

    def _ask(self, node: Node, since: float) -> None:
        node.ask(self._crops, since)
        self._asked[node] = None

    def _begin(self) -> float:
        self._drain()  # else the hub would still be busy with the questions of the run before
        for node in self.nodes:
            node.under_way.clear()
        self.stall_s, self._heard_at = 0.0, time.perf_counter()
        return self._heard_at

    def _count_anew(self) -> None:
        self.lags.clear()
        for node in self.nodes:
            node.counts = Counts()

    def close(self) -> None:
        self._context.destroy(0)


def rate_of(answered_at: list[float]) -> float:
    """Answers a second, from the first batch that was answered to the last: they come by the batch."""
    if not answered_at:
        return 0.0
    begun, ended = min(answered_at), max(answered_at)
    later = sum(at > begun + BURST_S for at in answered_at)
    return later / (ended - begun) if later else 0.0


def told(crowd: Crowd, seconds: float) -> dict[str, Any]:
    """What was counted, of all nodes together and of each."""
    counts = [node.counts for node in crowd.nodes]
    latencies = np.array([s for c in counts for s in c.latencies] or [0.0])
    refused_after = np.array([s for c in counts for s in c.refused_after] or [0.0])
    refused: dict[str, int] = {}
    for c in counts:
        for code, number in c.refused.items():
            refused[code] = refused.get(code, 0) + number
    return {
        "seconds": seconds,
        "asked": sum(c.asked for c in counts),
        "rate": rate_of([at for c in counts for at in c.answered_at]),
        "answered": [len(c.latencies) for c in counts],
        "refused_by_node": [sum(c.refused.values()) for c in counts],
        "revealed": sum(c.revealed for c in counts),
        "refused": refused,
        "stall_s": crowd.stall_s,
        "lost": sum(len(node.under_way) for node in crowd.nodes),
        "p50_ms": 1e3 * float(np.percentile(latencies, 50)),
        "p99_ms": 1e3 * float(np.percentile(latencies, 99)),
        "refused_after_p50_ms": 1e3 * float(np.percentile(refused_after, 50)),
        "lag_p99_ms": 1e3 * float(np.percentile(np.array(crowd.lags or [0.0]), 99)),
    }


def main() -> None:
    """Each line in is what to do, each line out what came of it."""
    spec = json.loads(sys.argv[1])
    gc.disable()  # two hundred nodes would stand still together while it walks: real ones do not
    crowd = Crowd(spec)
    crowd.connect()
    print("{}", flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        before = resource.getrusage(resource.RUSAGE_SELF)
        if task.get("rate") is None:
            took = crowd.closed(task["per_node"], task["seconds"], task["warm_s"])
        else:
            crowd._spec["shares"] = task.get("shares")
            took = crowd.open(task["rate"], task["seconds"], task["warm_s"])
        used = resource.getrusage(resource.RUSAGE_SELF)
        cpu_s = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
        print(json.dumps({**told(crowd, took), "cpu_s": cpu_s}), flush=True)
    crowd.close()


if __name__ == "__main__":
    main()
