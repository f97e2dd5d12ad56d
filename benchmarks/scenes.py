"""Clips for benchmarks, drawn by the labelled scene generator and kept as files for one run."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from edge_node.capture.portraits import Portrait, demo_portraits, folder_portraits
from edge_node.capture.scene import Scenario
from edge_node.capture.synthetic import SceneRenderer
from vision.detections import Image
from vision.detector import Mtcnn, MtcnnSettings

LFW = Path(__file__).parents[2] / "shared" / "data" / "lfw" / "images"


def portraits(people: int, folder: Path) -> list[Portrait]:
    """`people` different faces of LFW where it is at hand (links go to `folder`), else the demo's two."""
    if not LFW.is_dir():
        return demo_portraits()
    detector = Mtcnn(MtcnnSettings(min_face_px=60))

    def locate(photo: Image) -> tuple[float, float, float, float] | None:
        found = detector.detect(photo)
        if not len(found):
            return None
        x1, y1, x2, y2 = (float(v) for v in found.boxes_xyxy[int(np.argmax(found.scores))])
        return x1, y1, x2, y2

    folder.mkdir(parents=True, exist_ok=True)
    for person in sorted(LFW.iterdir())[:: max(1, 3000 // people)][:people]:
        photo = next(person.glob("*.jpg"))
        (folder / photo.name).symlink_to(photo)
    return folder_portraits(folder, locate)


def write_clip(
    path: Path, scenario: Scenario, people: list[Portrait], seconds: float, back_and_forth: bool = False
) -> None:
    """Draw a scene into an H.264 file. back_and_forth: the same frames follow in reverse, so that nobody
    jumps where a player that loops starts over."""
    renderer = SceneRenderer(scenario, people)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=round(scenario.fps))
        stream.width, stream.height, stream.pix_fmt = scenario.width, scenario.height, "yuv420p"
        stream.options = {"preset": "superfast", "crf": "18"}
        there = range(round(seconds * scenario.fps))
        for n in [*there, *there[-2:0:-1]] if back_and_forth else there:
            image, _ = renderer.render(n)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())
