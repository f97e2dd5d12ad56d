"""A node and its hub on this machine: 720p at 25 a second with five faces, live.

Real processes, real sockets: the clip is paced by its own time stamps, the numbers are the node's own
(/metrics and /state), the memory is the kernel's.
"""

from __future__ import annotations

import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from benchmarks.scenes import portraits, write_clip
from edge_node.capture.scene import Scenario
from tests.e2e.rig import Rig

SCENE = Scenario(people=5, face_px=130.0, crossing_every_s=12.0, turning_deg=25.0)
CLIP_S = 24.0
SETTLE_S = 6.0
"""Models are compiled and faces are found before counting begins."""


def measure(quick: bool = False) -> dict[str, Any]:
    """Keys as documented in docs/performance.md."""
    seconds = 12.0 if quick else 60.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = folder / "five.mp4"
        people = portraits(SCENE.people, folder / "people")
        write_clip(clip, SCENE, people, CLIP_S)
        rig = Rig(folder)
        try:
            rig.start_hub()
            rig.start_node("--source", str(clip))
            time.sleep(SETTLE_S)
            before, started = counters(rig), time.monotonic()
            time.sleep(seconds)
            after, elapsed = counters(rig), time.monotonic() - started
            delays = rig.state()["latency_ms"]
            assert rig.node is not None
            return {
                "capture_fps": rate("veilcast_frames_captured_total", before, after, elapsed),
                "analysis_fps": rate("veilcast_frames_analyzed_total", before, after, elapsed),
                "latency_ms_p50": delays["p50"],
                "latency_ms_p95": delays["p95"],
                "latency_ms_p99": delays["p99"],
                "rss_mb": round(rss_mb(rig.node.pid), 1),
                "full_frame_rate": late_share(before, after),
                "cpu_cores": round((after["cpu_s"] - before["cpu_s"]) / elapsed, 2),
                "faces": SCENE.people,
                "different_people": len(people),
                "seconds": round(elapsed, 1),
            }
        finally:
            rig.stop()


def counters(rig: Rig) -> dict[str, float]:
    """The node's counters by name and labels, and its processor seconds."""
    with urllib.request.urlopen(rig.url + "metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    values = {k: float(v) for k, v in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}
    assert rig.node is not None
    fields = Path(f"/proc/{rig.node.pid}/stat").read_text().rsplit(")", 1)[1].split()
    values["cpu_s"] = (int(fields[11]) + int(fields[12])) / 100
    return values


def rate(name: str, before: dict[str, float], after: dict[str, float], seconds: float) -> float:
    return round((after[name] - before[name]) / seconds, 2)


def late_share(before: dict[str, float], after: dict[str, float]) -> float:
    """Share of the released frames that left veiled in full."""
    released = {
        k: v - before.get(k, 0.0) for k, v in after.items() if k.startswith("veilcast_frames_released_total")
    }
    covered = sum(v for k, v in released.items() if "covered" in k)
    total = sum(released.values())
    return round(1 - covered / total, 5) if total else 0.0


def rss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0
