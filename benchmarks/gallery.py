"""Search in galleries of 1,000 to 1,000,000 templates of 2,048 numbers, beside FAISS's IndexFlatIP.

Templates: embeddings of LFW photos by the embedded model (128 numbers), mixed into as many people as are
needed and lifted to 2,048 numbers by a drawn layer (`benchmarks.gallery_faces` has the distribution). Both
sides search the same probes in turns, one at a time and with one thread each; a goal counts where the lower
bound of the ratio clears it, by the clock on the wall. `flat_ms`, `gallery_ms` and `cpu_speedup` are by the
processor's. Memory is what the process's resident set grows by, each index in a process of
its own. The gallery's exact rows are in a file: its size is given, too.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from benchmarks.gallery_faces import DIMENSION, Crowd
from hub.gallery import Candidate, Gallery

SIZES = (1_000, 10_000, 100_000, 1_000_000)
QUICK = (1_000, 20_000)
AT = 100_000
CHUNK = 5_000
REPEATS = 9
PROBES = 2_000
"""Of each kind, whose decisions are compared: people enrolled, and strangers."""
THRESHOLDS = 5
"""Strangers at most one in 10, 100, ... of whom is accepted: the decision is compared at each of them."""
MARGIN = 0.03
BATCH = 50
SPARE_BYTES = 3 << 30
"""Of memory, beside IndexFlatIP."""


def measure(quick: bool = False, out: Path | None = None) -> dict[str, Any]:
    """Keys name the size they are about; erase_ms and add_ms are at 100,000. out: folder of the plot."""
    faiss.omp_set_num_threads(1)
    result: dict[str, Any] = {"distribution": Crowd.ABOUT}
    curve: list[tuple[int, float, float]] = []
    for size in QUICK if quick else SIZES:
        name = f"{size // 1_000}k" if size < 1_000_000 else "1M"
        if 4 * size * DIMENSION + SPARE_BYTES > _available_bytes():
            print(f"  {name}: not enough memory for IndexFlatIP beside it", file=sys.stderr)
            result[f"speedup_{name}"] = None
            continue
        found = _at_size(size, 200 if quick or size > AT else PROBES)
        curve.append((size, found["flat_ms"], found["gallery_ms"]))
        result |= _named(found, name)
        if size == AT:
            result["erase_ms"], result["add_ms"] = found["erase_ms"], found["add_ms"]
        if size == (QUICK[-1] if quick else AT):
            result |= _named(_memory(size), name)
    if out is not None:
        _plot(curve, out / "gallery.png")
    return result


def _named(found: dict[str, Any], name: str) -> dict[str, Any]:
    """Keys with the size in their name, before that of a bound: `speedup_100k_lo`."""
    keys = (re.sub(r"(_lo|_hi)?$", rf"_{name}\1", key, count=1) for key in found)
    return dict(zip(keys, found.values(), strict=True))


def _at_size(size: int, probes: int) -> dict[str, Any]:
    crowd = Crowd(size)
    flat = faiss.IndexFlatIP(DIMENSION)
    gallery = Gallery.empty(DIMENSION)
    since = time.perf_counter()
    for at in range(0, size, CHUNK):
        owners, rows = crowd.templates(at, min(size, at + CHUNK))
        flat.add(rows)
        gallery = gallery.with_templates(owners, rows)
        print(f"  {min(size, at + CHUNK):,} of {size:,} templates", file=sys.stderr, end="\r")
    build_s = time.perf_counter() - since
    enrolled, strangers = crowd.enrolled_probes(probes), crowd.stranger_probes(probes)
    raced = _race(flat, gallery, np.concatenate([enrolled[:50], strangers[:50]]))
    low, middle, high = _interval(raced["wall"].ratios)
    cpu = raced["cpu"]
    erase_ms, add_ms = _changes(gallery, crowd)
    return {
        "speedup": round(middle, 2), "speedup_lo": round(low, 2), "speedup_hi": round(high, 2),
        "cpu_speedup": round(float(np.median(cpu.ratios)), 2),
        "cpu_speedup_lo": round(_interval(cpu.ratios)[0], 2),
        "flat_ms": round(cpu.flat_ms, 3), "gallery_ms": round(cpu.gallery_ms, 3),
        "erase_ms": round(erase_ms, 2), "add_ms": round(add_ms, 2), "build_s": round(build_s, 1),
        **_agreement(flat, gallery, crowd, enrolled, strangers),
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Raced:
    """By one clock."""

    ratios: list[float]
    """One for each repeat."""
    flat_ms: float
    gallery_ms: float


def _race(flat: faiss.IndexFlatIP, gallery: Gallery, probes: NDArray[np.float32]) -> dict[str, _Raced]:
    """The times for a probe by the clock on the wall, and by that of the processor.

    The two take turns probe by probe, so that other work on the machine meets both; what it takes away
    altogether, only the processor's clock leaves out.
    """
    depth = min(16, flat.ntotal)
    count = len(probes) if flat.ntotal <= 10_000 else 10
    times = []
    for repeat in range(REPEATS + 1):
        theirs = ours = np.zeros(2)
        for probe in np.roll(probes, 7 * repeat, axis=0)[:: max(1, len(probes) // count)]:
            theirs = theirs + _clocks(lambda p=probe: flat.search(p[None], depth))
            ours = ours + _clocks(lambda p=probe: gallery.identify(p[None], 2))
        times.append((theirs / count, ours / count))
    measured = np.array(times[1:])  # the first one warms up
    return {
        clock: _Raced(
            (measured[:, 0, at] / measured[:, 1, at]).tolist(),
            1e3 * float(np.median(measured[:, 0, at])),
            1e3 * float(np.median(measured[:, 1, at])),
        )
        for at, clock in enumerate(("wall", "cpu"))
    }


def _agreement(
    flat: faiss.IndexFlatIP,
    gallery: Gallery,
    crowd: Crowd,
    enrolled: NDArray[np.float32],
    strangers: NDArray[np.float32],
) -> dict[str, Any]:
    """Share of probes with the same decision: the same person accepted, or nobody."""
    exact = [_exact(flat, crowd, probes) for probes in (enrolled, strangers)]
    found = [[_answer(gallery.identify(p[None], 2)[0]) for p in probes] for probes in (enrolled, strangers)]
    highest = np.sort([similarity for _, similarity, _ in exact[1]])[::-1]
    same = total = 0
    for step in range(THRESHOLDS):
        threshold = float(highest[min(len(highest) - 1, len(highest) // 10 ** (step + 1))])
        for theirs, ours in zip(exact[0] + exact[1], found[0] + found[1], strict=True):
            total += 1
            same += _decision(theirs, threshold) == _decision(ours, threshold)
    error = [abs(a[1] - b[1]) for a, b in zip(exact[0], found[0], strict=True)]
    return {
        "decision_agreement": round(same / total, 6),
        "decisions": total,
        "top_similarity_error": float(np.max(error)),
    }


Answer = tuple[str, float, float]
"""Best person, their similarity, and the margin to the second."""


def _decision(answer: Answer, threshold: float) -> str:
    identity, similarity, margin = answer
    return identity if similarity >= threshold and margin >= MARGIN else ""


def _exact(flat: faiss.IndexFlatIP, crowd: Crowd, probes: NDArray[np.float32]) -> list[Answer]:
    answers: list[Answer] = []
    for at in range(0, len(probes), BATCH):
        similarities, rows = flat.search(probes[at : at + BATCH], min(64, flat.ntotal))
        for one, places in zip(similarities, rows, strict=True):
            best: dict[str, float] = {}
            for similarity, place in zip(one.tolist(), places.tolist(), strict=True):
                best.setdefault(crowd.owner(place), similarity)
            answers.append(_answer([Candidate(i, s) for i, s in list(best.items())[:2]]))
    return answers


def _answer(candidates: list[Candidate]) -> Answer:
    best = candidates[0]
    second = candidates[1].similarity if len(candidates) > 1 else 0.0
    return best.identity, best.similarity, best.similarity - second


def _changes(gallery: Gallery, crowd: Crowd) -> tuple[float, float]:
    """Median milliseconds to erase a person, and to add one of three templates."""
    erasing, adding = [], []
    for number in range(1, 22):
        place = number * (len(gallery) // 25)
        erasing.append(_clocks(lambda place=place: gallery.without(crowd.owner(place)))[0])
        rows = crowd.enrolled_probes(3)
        adding.append(_clocks(lambda rows=rows: gallery.with_templates(["new"] * 3, rows))[0])
    return 1e3 * float(np.median(erasing)), 1e3 * float(np.median(adding))


def _memory(size: int) -> dict[str, Any]:
    """Resident memory that either index takes, and the size of the gallery's file."""
    grown = {kind: _in_own_process(kind, size) for kind in ("flat", "gallery")}
    return {
        "memory_ratio": round(grown["flat"] / grown["gallery"], 2),
        "flat_mb": round(grown["flat"] / 1e6, 1),
        "gallery_mb": round(grown["gallery"] / 1e6, 1),
        "gallery_file_mb": round(size * (4 * DIMENSION + 16) / 1e6, 1),
    }


def _in_own_process(kind: str, size: int) -> int:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gallery", kind, str(size)],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parent.parent,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"measuring memory failed: {done.stderr.strip()[-300:]}")
    return int(json.loads(done.stdout.splitlines()[-1]))


def _grow(kind: str, size: int) -> int:
    """By how many bytes this process grows with an index of a kind."""
    crowd = Crowd(size)
    crowd.templates(0, min(size, CHUNK))
    small = Gallery.empty(DIMENSION)
    flat = faiss.IndexFlatIP(DIMENSION)
    before = _resident_bytes()
    for at in range(0, size, CHUNK):
        owners, rows = crowd.templates(at, min(size, at + CHUNK))
        if kind == "flat":
            flat.add(rows)
        else:
            small = small.with_templates(owners, rows)
    del rows, owners
    return _resident_bytes() - before


def _resident_bytes() -> int:
    import ctypes
    import gc

    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what is freed, but not given back, is nobody's
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _available_bytes() -> int:
    line = next(s for s in Path("/proc/meminfo").read_text().splitlines() if s.startswith("MemAvailable"))
    return 1024 * int(line.split()[1])


def _interval(ratios: list[float]) -> tuple[float, float, float]:
    """Median, and the bounds of 95 % of medians of resampled repeats."""
    drawn = np.random.default_rng(1).choice(np.array(ratios), (2_000, len(ratios)))
    low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
    return float(low), float(np.median(ratios)), float(high)


def _clocks(work: Callable[[], object]) -> NDArray[np.float64]:
    """(2,) seconds that it takes: on the wall, and of this thread's processor time."""
    wall, cpu = time.perf_counter(), time.thread_time()
    work()
    return np.array([time.perf_counter() - wall, time.thread_time() - cpu])


def _plot(curve: list[tuple[int, float, float]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    sizes = [size for size, _, _ in curve]
    figure, axes = pyplot.subplots(figsize=(7, 4), dpi=110)
    axes.loglog(sizes, [ms for _, ms, _ in curve], "o--", color="gray", label="FAISS IndexFlatIP")
    axes.loglog(sizes, [ms for _, _, ms in curve], "o-", label="the gallery")
    axes.set_xlabel("templates of 2,048 numbers")
    axes.set_ylabel("milliseconds for one probe, one thread")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


if __name__ == "__main__":
    faiss.omp_set_num_threads(1)
    print(json.dumps(_grow(sys.argv[1], int(sys.argv[2]))))
