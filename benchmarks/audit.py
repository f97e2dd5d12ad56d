"""The audit log: what recording one reveal costs, and how fast a log is checked.

On a real file system (a folder under the working directory), because the cost is that of making it durable.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.audit.desk import AuditDesk
from hub.audit.files import AuditFiles
from hub.audit.log import AuditLog
from hub.audit.reading import FolderSource, Reading
from hub.audit.shown import ShownInLog
from hub.policy import Verdict

START = 1_800_000_000.0


def measure(quick: bool = False) -> dict[str, Any]:
    """Milliseconds for a reveal's start, microseconds for what needs no write, records a second to check."""
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".audit-") as folder:
        granted = asyncio.run(_grant(Path(folder) / "desk", 200 if quick else 1_000))
        return {**granted, **_check(Path(folder) / "long", 20_000 if quick else 300_000), **_disk(folder)}


async def _grant(state: Path, count: int) -> dict[str, float]:
    """One after the other, then eight at once; then renewals."""
    desk = AuditDesk(AuditLog(state, Ed25519PrivateKey.generate(), time.time()), time.time)
    desk.start()
    verdict = Verdict(True, 3.0, "0123456789abcdef", "", 0.95, 0.2, "", (), "fedcba9876543210", 7, 0.927)

    async def first(track: int) -> float:
        began = time.perf_counter()
        assert (await desk.decided("door", "reveal-consented", b"s" * 16, track, verdict)).reveal
        return (time.perf_counter() - began) * 1_000

    single = [await first(track) for track in range(count)]
    together = []
    for at in range(0, count, 8):
        together += await asyncio.gather(*(first(count + at + i) for i in range(8)))
    renewals = []
    for _ in range(count):
        began = time.perf_counter()
        await desk.decided("door", "reveal-consented", b"s" * 16, 0, verdict)
        renewals.append((time.perf_counter() - began) * 1e6)
    await desk.close()
    return {
        "reveal_ms_p50": round(float(np.median(single)), 2),
        "reveal_ms_p95": round(float(np.percentile(single, 95)), 2),
        "reveal_of_8_ms_p95": round(float(np.percentile(together, 95)), 2),
        "renewal_us_p50": round(float(np.median(renewals)), 1),
    }


def _check(state: Path, count: int) -> dict[str, float]:
    """A log of reveals, in segments of the real size, written in large groups."""
    key = Ed25519PrivateKey.generate()
    log = AuditLog(state, key, START)
    for first in range(0, count // 2, 1_000):
        pairs = [_pair(first + i) for i in range(1_000)]
        log.append([record for pair in pairs for record in pair], START + first)
    log.close()
    public = key.public_key()
    reading = Reading(FolderSource(AuditFiles(state), public), public)
    began, began_cpu = time.perf_counter(), time.process_time()
    reading.verify()
    verify_s, verify_cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
    assert not reading.problems
    shown = ShownInLog(state, public)
    began = time.perf_counter()
    found = len(shown.intervals("identity-007"))
    query_s = time.perf_counter() - began
    began = time.perf_counter()
    AuditLog(state, key, START).close()
    open_s = time.perf_counter() - began
    tracemalloc.start()
    Reading(FolderSource(AuditFiles(state), public), public).verify()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    size = sum(path.stat().st_size for _, path in AuditFiles(state).segments())
    return {
        "records": reading.checked, "bytes_per_record": round(size / reading.checked),
        "verify_records_per_s": round(reading.checked / verify_s),
        "verify_records_per_cpu_s": round(reading.checked / verify_cpu_s),
        "person_query_s": round(query_s, 2),
        "intervals_found": found, "open_s": round(open_s, 2), "verify_peak_kb": round(peak / 1e3),
    }  # fmt: skip


def _pair(i: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """A reveal's start and end, as the hub writes them."""
    who = {
        "reveal": f"0123456789ab-{i}", "node": "door", "camera": "door", "session": "00112233", "track": i,
        "identity": f"identity-{i % 100:03}",
    }  # fmt: skip
    start = {
        "kind": "reveal-start", "at": START + i, "mode": "reveal-consented", "consent": "fedcba9876543210",
        "similarity": 0.9512, "margin": 0.2141, "threshold": 0.927, "gallery_version": 7, **who,
    }  # fmt: skip
    end = {
        "kind": "reveal-end", "at": START + i + 9, "start": START + i, "end": START + i + 9,
        "latest": START + i + 9, "cause": "lease expired", "decisions": 4, "least_similarity": 0.9401, **who,
    }  # fmt: skip
    return start, end


def _disk(folder: str) -> dict[str, float]:
    """What the disk alone takes to make a small write durable: most of a reveal's cost."""
    times = []
    with (Path(folder) / "probe").open("ab") as file:
        for _ in range(200):
            file.write(b"x" * 400)
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            times.append((time.perf_counter() - began) * 1_000)
    return {"fsync_ms_p50": round(float(np.median(times)), 3)}
