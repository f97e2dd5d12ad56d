"""What a node sends to its hub: five people in view, and nobody; counted on the socket.

Real processes and real CURVE, with a proxy between them that counts every byte. Five people walk in
place in 720p at 25 a second, first as strangers, then enrolled and shown (each is proven again before its
lease ends). They are cut out of photos with some of the background, which the node's watch for photos that
are held up finds out and veils, unasked: so it is off here. The peer is a node that sends the crop of every
face of every frame; its crops are cut and coded from the same clip. Needs the LFW pictures.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from benchmarks.counting import CountingProxy
from benchmarks.interval import median_95
from benchmarks.leak_clips import frames_of
from benchmarks.node import PATIENCE_S, SCENE, counters, rate
from benchmarks.scenes import LFW, portraits, write_clip
from edge_node.capture.room import draw_room
from tests.e2e.rig import Rig
from vision.crops import cut_crop, encode_crop, encode_look
from vision.detector import Mtcnn, MtcnnSettings

WINDOWS = 5
"""Stretches of time that are measured one by one."""
SETTLE_S = 6.0
"""The first looks at a face are closer together than the later ones."""
SHOWN_WITHIN_S = 60.0
PHOTOS = 3
"""That each of the five is enrolled by, at the most."""
EMPTY_CLIP_S = 4.0
BASELINE_EVERY = 5
"""Of so many frames of the clip, the faces of one are cut and coded for the peer."""
MIN_ASK_PX = 32.0
"""Like the node: smaller faces are not sent."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """One stretch of time."""

    to_hub_kbit_per_s: float
    from_hub_kbit_per_s: float
    questions_per_s: float
    analysis_fps: float
    shown: float
    """People shown, as of its end."""


def measure(quick: bool = False) -> dict[str, Any]:
    """Keys as documented in docs/performance.md. Raises FileNotFoundError without the pictures."""
    if not LFW.is_dir():
        raise FileNotFoundError(f"no pictures of people at {LFW}: five different faces are needed")
    window_s = 3.0 if quick else 20.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        people = portraits(SCENE.people, folder / "people")
        write_clip(folder / "five.mp4", SCENE, people, 6.0 if quick else 24.0, back_and_forth=True)
        _write_empty_clip(folder / "empty.mp4")
        every_crop, every_look = _each_frames_crops(folder / "five.mp4")
        strangers, shown, empty = _streamed(folder, window_s)
    to_hub = [t.to_hub_kbit_per_s for t in shown]
    middle, low, high = median_95(to_hub)
    fewer = median_95([every_crop / kbit for kbit in to_hub])
    fewer_alike = median_95([every_look / kbit for kbit in to_hub])
    quiet = median_95([t.to_hub_kbit_per_s for t in empty])
    return {
        "kbit_per_s_five": round(middle, 1),
        "kbit_per_s_five_lo": round(low, 1),
        "kbit_per_s_five_hi": round(high, 1),
        "fewer_bytes": round(fewer[0], 1),
        "fewer_bytes_lo": round(fewer[1], 1),
        "fewer_bytes_coded_alike": round(fewer_alike[0], 1),
        "fewer_bytes_coded_alike_lo": round(fewer_alike[1], 1),
        "kbit_per_s_each_frames_crops": round(every_crop, 1),
        "kbit_per_s_empty": round(quiet[0], 2),
        "kbit_per_s_empty_hi": round(quiet[2], 2),
        "questions_empty": round(sum(t.questions_per_s for t in empty), 2),
        "kbit_per_s_five_strangers": round(median_95([t.to_hub_kbit_per_s for t in strangers])[0], 1),
        "kbit_per_s_from_hub": round(median_95([t.from_hub_kbit_per_s for t in shown])[0], 1),
        "questions_per_s": round(median_95([t.questions_per_s for t in shown])[0], 2),
        "analysis_fps": round(median_95([t.analysis_fps for t in shown])[0], 1),
        "shown": round(float(np.mean([t.shown for t in shown])), 1),
        "windows": WINDOWS,
        "window_s": window_s,
    }


def _streamed(folder: Path, window_s: float) -> tuple[list[Traffic], list[Traffic], list[Traffic]]:
    """Five strangers, five people who are shown, an empty room."""
    rig = Rig(folder, PATIENCE_S)
    with CountingProxy(("127.0.0.1", rig.hub_port)) as proxy:
        settings = folder / "node.toml"
        changed = settings.read_text().replace(rig.hub_address, proxy.address)
        settings.write_text(f"{changed}[liveness]\nenabled = false\n")
        try:
            rig.start_hub()
            rig.start_node("--source", str(folder / "five.mp4"))
            time.sleep(SETTLE_S)
            strangers = _windows(rig, proxy, window_s, 1 if window_s < 10 else WINDOWS)
            _enrol(rig, folder)
            _wait_until_shown(rig)
            time.sleep(SETTLE_S)
            shown = _windows(rig, proxy, window_s, WINDOWS)
            rig.kill("node")
            rig.start_node("--source", str(folder / "empty.mp4"))
            time.sleep(SETTLE_S / 2)
            return strangers, shown, _windows(rig, proxy, window_s, 1 if window_s < 10 else WINDOWS)
        finally:
            rig.stop()


def _windows(rig: Rig, proxy: CountingProxy, seconds: float, count: int) -> list[Traffic]:
    measured = []
    for _ in range(count):
        before, (there, back), started = counters(rig), proxy.passed(), time.monotonic()
        time.sleep(seconds)
        (there_now, back_now), elapsed = proxy.passed(), time.monotonic() - started
        after = counters(rig)
        measured.append(
            Traffic(
                8 * (there_now - there) / elapsed / 1000,
                8 * (back_now - back) / elapsed / 1000,
                rate("veilcast_questions_total", before, after, elapsed),
                rate("veilcast_frames_analyzed_total", before, after, elapsed),
                after["veilcast_faces_shown"],
            )
        )
    return measured


def _enrol(rig: Rig, folder: Path) -> None:
    """Everyone of the scene, with some of their other photos where there are any."""
    people = folder / "enrolled"
    for drawn in sorted((folder / "people").iterdir()):
        person = drawn.resolve().parent
        (people / person.name).mkdir(parents=True)
        for photo in sorted(person.glob("*.jpg"))[:PHOTOS]:
            shutil.copy(photo, people / person.name)
    done = rig.enrol("add-folder", str(people))
    if done.returncode not in (0, 1):  # 1: some of the photos were not good enough
        raise RuntimeError(f"enrolling failed: {done.stderr.strip()[-300:]}")


def _wait_until_shown(rig: Rig) -> None:
    """Until somebody is; how many were is a part of the result."""
    started = time.monotonic()
    while not rig.shown():
        if time.monotonic() - started > SHOWN_WITHIN_S:
            raise RuntimeError("nobody was recognized: is the machine too busy to stream?")
        time.sleep(0.1)


def _each_frames_crops(clip: Path) -> tuple[float, float]:
    """kbit/s of a node that sends every frame's crops: by the contract, and coded as looks."""
    detector = Mtcnn(MtcnnSettings(min_face_px=int(MIN_ASK_PX)))
    frames = crop_bytes = look_bytes = 0
    for image in list(frames_of(clip))[::BASELINE_EVERY]:
        found = detector.detect(image)
        frames += 1
        for box, landmarks in zip(found.boxes_xyxy, found.landmarks, strict=True):
            if min(box[2] - box[0], box[3] - box[1]) >= MIN_ASK_PX:
                crop = cut_crop(image, box, landmarks)
                crop_bytes += len(encode_crop(crop))
                look_bytes += len(encode_look(crop))
    scale = 8 * SCENE.fps / frames / 1000
    return crop_bytes * scale, look_bytes * scale


def _write_empty_clip(path: Path) -> None:
    """The room of the scene with nobody in it, and a sensor's noise."""
    room = draw_room(SCENE.width, SCENE.height)
    still = room.back.copy()
    still[still.shape[0] - room.counter.shape[0] :] = room.counter
    dice = np.random.default_rng(1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=round(SCENE.fps))
        stream.width, stream.height, stream.pix_fmt = SCENE.width, SCENE.height, "yuv420p"
        stream.options = {"preset": "superfast", "crf": "18"}
        for _ in range(round(EMPTY_CLIP_S * SCENE.fps)):
            noise = dice.integers(-3, 4, still.shape[:2], np.int16)[..., None]
            image = np.clip(still.astype(np.int16) + noise, 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())
