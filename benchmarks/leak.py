"""Does a face slip through? Leaked face-frames of the live node and of deface, on the same clips.

Real clips with labels, and drawn scenes with exact ground truth; everyone is veiled (no hub). Judged by
`benchmarks.leak_check`, which knows nothing of either. `--out` takes pictures of every leak.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks import leak_sheet, peers
from benchmarks.leak_check import changed_share, check_patches, is_plate, patch_box
from benchmarks.leak_clips import Clip, drawn_clips, frames_of, people_drawn, real_clips
from benchmarks.leak_ours import Output, Run, keep, live, offline, reduced
from benchmarks.leak_sheet import Leak

ROUNDS = 3
"""Times that each real clip is streamed: where the analyses fall is chance."""


@dataclass(slots=True)
class Tally:
    """Face-frames and leaks of one clip or of several."""

    face_frames: int = 0
    shown_face_frames: int = 0
    """Of these, the ones in frames that were not veiled in full: only they can leak."""
    leaks: list[Leak] = field(default_factory=list)
    frames: int = 0
    painted: float = 0.0
    """Sum of the painted share of each frame."""

    @property
    def rate(self) -> float:
        return len(self.leaks) / self.face_frames if self.face_frames else 0.0

    @property
    def area(self) -> float:
        return self.painted / self.frames if self.frames else 0.0

    def add(self, other: Tally) -> None:
        self.face_frames += other.face_frames
        self.shown_face_frames += other.shown_face_frames
        self.leaks += other.leaks
        self.frames += other.frames
        self.painted += other.painted


@dataclass(frozen=True, slots=True)
class Peer:
    """deface at one scale over all real clips."""

    tally: Tally
    fps: float
    cpu_ms: float
    """Processor time a frame."""


def measure(quick: bool = False, out: Path | None = None) -> dict[str, Any]:
    """Run everything; pictures of the leaks go to `out`."""
    real, drawn = real_clips(), drawn_clips(quick)
    rounds = 1 if quick else ROUNDS
    ours_real, real_runs = _stream(real, rounds)
    ours_drawn, drawn_runs = _stream(drawn, 1)
    sheets = {"ours-real": _sum(ours_real), "ours-generated": _sum(ours_drawn)}
    scales = {scale: _deface(real, scale, may_run=not quick or scale == peers.FAST) for scale in peers.SCALES}
    full, fast = scales[peers.FULL], scales[peers.FAST]
    runs = [*real_runs, *drawn_runs]
    result: dict[str, Any] = {
        "leak_rate_real": _rate(sheets["ours-real"]),
        "leak_rate_real_shown": _rate_shown(sheets["ours-real"]),
        "fps_real": _fps(real_runs),
        "leak_rate_real_deface_full": _rate(full.tally) if full else None,
        "leak_rate_real_deface_fast": _rate(fast.tally) if fast else None,
        "fps_deface_fast": fast.fps if fast else None,
        "area_ratio_vs_deface": _area_ratio(sheets["ours-real"], full or fast),
        "leak_rate_generated": _rate(sheets["ours-generated"]),
        "face_frames_real": sheets["ours-real"].face_frames,
        "face_frames_generated": sheets["ours-generated"].face_frames,
        "people_generated": people_drawn(quick),
        "full_frame_rate": _full_frame_rate(runs),
        "added_delay_ms_p95": _delay_ms(drawn_runs),
        "added_delay_ms_p95_real": _delay_ms(real_runs),
        "frames_by_reason": dict(sum((Counter(r.reasons) for r in runs), Counter())),
        "analyzed_share": round(sum(r.analyzed for r in runs) / sum(len(r.released_at) for r in runs), 3),
        "cpu_ms_per_frame_real": _cpu_ms(real_runs),
        "load_average": round(os.getloadavg()[0], 2),
        "faults": sum(r.faults for r in runs),
        "clips": {name: _row(tally) for name, tally in {**ours_real, **ours_drawn}.items()},
        "deface": {
            s: {**_row(d.tally), "fps": d.fps, "cpu_ms_per_frame": d.cpu_ms} for s, d in scales.items() if d
        },
    }
    if not quick:
        every = {clip.name: _judge(clip, offline(clip).outputs) for clip in [*real, *drawn]}
        result["clips_every_frame_analyzed"] = {name: _row(tally) for name, tally in every.items()}
        sheets["ours-every-frame-analyzed"] = _sum(every)
    if out is not None:
        sheets |= {f"deface-{s}": d.tally for s, d in scales.items() if d}
        for name, tally in sheets.items():
            leak_sheet.write(out, name, tally.leaks)
    return result


def _stream(clips: list[Clip], rounds: int) -> tuple[dict[str, Tally], list[Run]]:
    tallies: dict[str, Tally] = {}
    runs = []
    for clip in clips:
        tallies[clip.name] = Tally()
        for _ in range(rounds):
            run = live(clip)
            runs.append(run)
            tally = _judge(clip, run.outputs)
            run.outputs.clear()  # a scene's pictures take a gigabyte
            tallies[clip.name].add(tally)
            print(f"  {clip.name}: {len(tally.leaks)} of {tally.face_frames} leaked", file=sys.stderr)
    return tallies, runs


def _deface(clips: list[Clip], scale: str, may_run: bool) -> Peer | None:
    """Its leaks and its rate over all clips; None where a clip has not been done and may not be."""
    total, frames, seconds, cpu_ms = Tally(), 0, 0.0, 0.0
    for clip in clips:
        run = peers.deface(clip.path, scale, may_run)
        if run is None:
            return None
        total.add(_judge(clip, dict(enumerate(_kept(clip, Path(run.output))))))
        cpu_ms += run.frames * run.cpu_ms_per_frame
        frames += run.frames
        seconds += run.frames / run.fps
    return Peer(total, round(frames / seconds, 2), round(cpu_ms / frames, 1))


def _kept(clip: Clip, output: Path) -> Iterator[Output]:
    """A peer's frames in the size of the source: encoders like sizes that 16 divides."""
    sizes = [image.shape[1::-1] for image in frames_of(clip.path)]
    # deface repeats the first frame where a clip's first time stamp is not 0 (275 frames become 300).
    repeated = sum(1 for _ in frames_of(output)) - len(sizes)
    if repeated < 0:
        raise peers.PeerError(f"{output} has {-repeated} frames less than its source")
    images = islice(frames_of(output), repeated, None)
    for n, (image, size) in enumerate(zip(images, sizes, strict=True)):
        if image.shape[1::-1] == size:
            yield keep(image, clip, n)
        else:
            fitted = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            yield keep(np.asarray(fitted, np.uint8), clip, n)


def _judge(clip: Clip, outputs: dict[int, Output]) -> Tally:
    """Compare what came out with what went in. A frame that never came out cannot leak, nor count."""
    tally = Tally()
    for n, source in enumerate(frames_of(clip.path)):
        output = outputs.get(n)
        if output is None:
            continue
        tally.frames += 1
        small = reduced(source)
        tally.painted += changed_share(small, output.small)
        shows = not is_plate(small, output.small)
        for face, patch in zip(clip.faces.get(n, []), output.patches, strict=True):
            x1, y1, x2, y2 = patch_box(face.box_xyxy, (source.shape[0], source.shape[1]))
            if x2 - x1 < 8 or y2 - y1 < 8:
                continue
            verdict = check_patches(source[y1:y2, x1:x2], patch, (x1, y1), face)
            if verdict is None:
                continue
            tally.face_frames += 1
            if shows:
                tally.shown_face_frames += 1
            if shows and verdict.leaked:
                tally.leaks.append(Leak(clip.name, face, verdict, source[y1:y2, x1:x2].copy(), patch))
    return tally


def _sum(tallies: dict[str, Tally]) -> Tally:
    total = Tally()
    for tally in tallies.values():
        total.add(tally)
    return total


def _rate(tally: Tally) -> float:
    return round(tally.rate, 5)


def _rate_shown(tally: Tally) -> float:
    """Of the face-frames in frames with a picture: frames veiled in full flatter `leak_rate_real`."""
    return round(len(tally.leaks) / max(1, tally.shown_face_frames), 5)


def _row(tally: Tally) -> dict[str, Any]:
    """One clip, with its leaks by kind of face."""
    kinds = Counter(leak.face.kind for leak in tally.leaks)
    return {
        "face_frames": tally.face_frames,
        "shown_face_frames": tally.shown_face_frames,
        "leaks": len(tally.leaks),
        "leak_rate": _rate(tally),
        "area": round(tally.area, 4),
        "leaks_by_kind": dict(kinds),
    }


def _fps(runs: list[Run]) -> float:
    """Of the slowest run, as a part of its clip's own rate it cannot exceed."""
    return round(min(run.fps for run in runs), 2)


def _area_ratio(ours: Tally, deface: Peer | None) -> float | None:
    return round(ours.area / deface.tally.area, 3) if deface and deface.tally.area else None


def _cpu_ms(runs: list[Run]) -> float:
    """Processor time a frame: hardly depends on what else the machine does."""
    return round(1000 * sum(run.cpu_s for run in runs) / sum(len(run.released_at) for run in runs), 1)


def _full_frame_rate(runs: list[Run]) -> float:
    released = sum(sum(run.reasons.values()) for run in runs)
    covered = sum(run.reasons.get("covered", 0) for run in runs)
    return round(1 - covered / released, 5) if released else 0.0


def _delay_ms(runs: list[Run]) -> float:
    return round(float(np.percentile([d * 1000 for run in runs for d in run.delays_s], 95)), 1)
