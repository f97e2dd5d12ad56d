"""Real clips at their own rate through node and hub, recorded: every frame, in time, the right people."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import av
import numpy as np
import pytest

from tests.data import DATA, needs_data
from tests.e2e.rig import likeness
from vision.detections import Image

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240), needs_data]
ROOT = Path(__file__).parents[2]
ALIKE = 0.6
"""Detail that correlates more than this after encoding twice is the same face."""
KNOWN = 23
"""hamilton's track of lin_manuel_miranda, from frame 82 to 210."""
STRANGERS = {37, 39, 40}


def decoded(path: Path) -> tuple[list[float], list[Image]]:
    """Presentation times in seconds and pictures of a clip."""
    times, images = [], []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            assert frame.time is not None
            times.append(frame.time)
            images.append(np.asarray(frame.to_ndarray(format="bgr24"), np.uint8))
    return times, images


def labels(clip: str) -> dict[int, list[tuple[int, tuple[float, float, float, float], str]]]:
    rows = defaultdict(list)
    with (DATA / "labels" / f"{clip}.csv").open() as file:
        for row in csv.DictReader(file):
            box = (float(row["x1"]), float(row["y1"]), float(row["x2"]), float(row["y2"]))
            rows[int(row["frame"])].append((int(row["track"]), box, row["kind"]))
    return rows


def stream(clip: str, target: Path, people: str) -> None:
    arguments = ["--source", str(DATA / "video" / f"{clip}.mp4"), "--people", people]
    arguments += ["--record", str(target), "--once", "--port", "0"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "live.py"), *arguments],
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def assert_every_frame_in_time(source: list[float], recorded: list[float]) -> None:
    assert len(recorded) == len(source)
    shift = recorded[0] - source[0]
    drift = [abs(r - s - shift) for r, s in zip(recorded, source, strict=True)]
    assert max(drift) <= 0.002, "a Matroska file counts milliseconds"


def test_hamilton_shows_the_enrolled_singer_and_no_stranger(tmp_path: Path) -> None:
    stream("hamilton", tmp_path / "out.mkv", str(DATA / "people"))
    times, source = decoded(DATA / "video" / "hamilton.mp4")
    recorded_times, recorded = decoded(tmp_path / "out.mkv")
    assert_every_frame_in_time(times, recorded_times)
    shown = of_known = 0
    for n, rows in labels("hamilton").items():
        for track, box, kind in rows:
            if kind == "back":
                continue
            alike = likeness(source[n], recorded[n], box)
            if track == KNOWN and kind == "frontal" and n >= 82 + 30:
                of_known += 1
                shown += alike > ALIKE
            if track in STRANGERS:
                assert alike < ALIKE, f"stranger {track} in frame {n}: {alike:.2f}"
    assert of_known > 0
    assert shown >= 0.5 * of_known, f"shown in {shown} of {of_known} frames"


def test_royal_opera_shows_nobody(tmp_path: Path) -> None:
    stream("royal_opera", tmp_path / "out.mkv", "")
    times, source = decoded(DATA / "video" / "royal_opera.mp4")
    recorded_times, recorded = decoded(tmp_path / "out.mkv")
    assert_every_frame_in_time(times, recorded_times)
    seen = faces = 0
    for n, rows in labels("royal_opera").items():
        for _, box, kind in rows:
            if kind != "frontal" or box[2] - box[0] < 32:
                continue
            faces += 1
            seen += likeness(source[n], recorded[n], box) > ALIKE
    assert faces > 300
    assert seen <= 0.05 * faces, f"{seen} of {faces} frontal faces can be seen"
