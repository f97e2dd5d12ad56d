"""Real processes under real faults: what left the node meanwhile, and how soon it was well again.

`run_all` plays every fault on one stage (hub, node, CURVE, a viewer; see `tests.faults.stage`) and says of
each how many faces of people who may not be shown could be seen, and the seconds from the end of the fault
until the known person was shown again, without a hand. Called by the benchmark, by `test_real`, and as
`python -m tests.faults.real [NAME...]`. The simulation beside it plays far more cases, in virtual time.
"""

from __future__ import annotations

import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.rig import Rig, free_port, wait_for
from tests.faults.camera import MjpegCamera
from tests.faults.footage import FPS
from tests.faults.kernel_link import KernelLink, NoKernelLink
from tests.faults.proxy import Fault
from tests.faults.stage import GIVE_UP_S, Stage
from tests.faults.watch import recorded

KILLS = 3
LOST_S = 2.5
"""Of a recording whose node was killed, at most so much is missing at its end: a second that waits for its
cluster, what the encoder holds, and what had not been released."""
STOPPED_S = 5.0
BURNERS = 4
OVERLOAD_S = 8.0


@dataclass(frozen=True, slots=True)
class RealOutcome:
    """What came of one fault."""

    name: str
    leaks: int
    face_frames: int
    """Faces that were judged: all that must not be seen, in pictures that were not veiled in full."""
    recovered_in_s: float | None
    """None where the fault was not played; GIVE_UP_S where the node stayed without the person."""
    note: str = ""
    """Why a fault was not played; where the first leak is."""


# --- the hub ----------------------------------------------------------------------------------------


def hub_killed(stage: Stage) -> float:
    """`kill -9`; it is back when it says that it is ready."""
    stage.rig.kill("hub")
    stage.dark(time.monotonic())
    stage.rig.start_hub()
    return stage.recovery()


def hub_stopped(stage: Stage) -> float:
    """SIGSTOP: its connections stay, and nothing answers."""
    hub = stage.rig.hub
    assert hub is not None
    hub.send_signal(signal.SIGSTOP)
    try:
        stage.dark(time.monotonic())
    finally:
        hub.send_signal(signal.SIGCONT)
    return stage.recovery()


def key_rotated(stage: Stage) -> float:
    """The hub has a new key. The node must say what to do; with the new file it recovers at its start."""
    rig = stage.rig
    rig.kill("hub", signal.SIGTERM)
    for name in ("hub.key", "hub.pub"):
        (rig.folder / "hub" / name).unlink()
    Rig.check("hub", "init", "--state", str(rig.folder / "hub"))
    rig.start_hub()
    stage.dark(time.monotonic())
    if "hub.pub" not in rig.output("node"):
        raise RuntimeError(f"the node does not say which key to look at:\n{rig.output('node')}")
    shutil.copyfile(rig.folder / "hub" / "hub.pub", rig.folder / "node" / "hub.pub")
    stage.restart_node("--source", str(stage.clip))
    return stage.recovery()


# --- the link ---------------------------------------------------------------------------------------


def _broken_link(fault: Fault) -> Callable[[Stage], float]:
    def play(stage: Stage) -> float:
        stage.rig.proxy.switch(fault)
        try:
            stage.dark(time.monotonic())
        finally:
            stage.rig.proxy.switch()
        return stage.recovery()

    return play


def kernel_link(stage: Stage) -> float:
    """The hub behind a link of the kernel's own (network namespace), which is slowed to uselessness."""
    rig = stage.rig
    with KernelLink() as link:
        rig.kill("hub", signal.SIGTERM)
        direct = rig.hub_listens
        rig.hub_prefix, rig.hub_listens = link.prefix, f"tcp://{link.far_address}:{rig.hub_port}"
        rig.proxy.target = (link.far_address, rig.hub_port)
        try:
            rig.start_hub()
            wait_for(stage.is_shown, GIVE_UP_S, "the known person is shown over the kernel's link")
            link.slow()
            stage.dark(time.monotonic())
            link.mend()
            recovered_in_s = stage.recovery()
        finally:
            rig.kill("hub", signal.SIGTERM)
            rig.hub_prefix, rig.hub_listens = [], direct
            rig.proxy.target = ("127.0.0.1", rig.hub_port)
            rig.start_hub()
    return recovered_in_s


# --- the node ---------------------------------------------------------------------------------------


def node_killed(stage: Stage) -> float:
    """`kill -9` at random moments. What was recorded until then must play and be veiled."""
    rig = stage.rig
    dice = random.Random(7)
    target = stage.folder / "killed.mkv"
    options = ("--source", str(stage.clip), "--record", str(target))
    slowest_s = 0.0
    for number in range(KILLS):
        stage.restart_node(*options, number=signal.SIGKILL)
        slowest_s = max(slowest_s, stage.recovery())
        time.sleep(dice.uniform(1.0, 4.0))
        frames = rig.state()["picture"]["seq"]
        rig.kill("node")
        kept = target.rename(stage.folder / f"killed-{number}.mkv")
        stage.recordings.append(kept)
        playable = sum(1 for _ in recorded(kept))
        if playable < frames - LOST_S * FPS:
            raise RuntimeError(f"of {frames} frames only {playable} can be played after a kill")
    stage.restart_node("--source", str(stage.clip))
    return max(slowest_s, stage.recovery())


def node_stopped(stage: Stage) -> float:
    """SIGSTOP for longer than a lease: what comes then may show nobody before the hub has said so anew."""
    node = stage.rig.node
    assert node is not None
    # Right after an answer: no other one can come in before the stop.
    before = stage.rig.reveals()
    wait_for(lambda: stage.rig.reveals() > before, GIVE_UP_S, "she is proven again")
    before = stage.rig.reveals()
    last = stage.viewer.newest()
    node.send_signal(signal.SIGSTOP)
    time.sleep(STOPPED_S)
    begun = asked_at = time.monotonic()
    node.send_signal(signal.SIGCONT)
    while (now := time.monotonic()) - begun < GIVE_UP_S and stage.rig.reveals() == before:
        asked_at = now
        time.sleep(0.02)
    stage.ban(begun, asked_at, after=last + IN_HAND)
    return asked_at - begun + stage.recovery()


IN_HAND = 4
"""Frames that had their masks, or were on their way to the viewer, when the node was stopped."""


def out_of_files(stage: Stage) -> float:
    """No free file descriptors, and a link that is cut, so that the node would need one."""
    node = stage.rig.node
    assert node is not None
    soft, hard = resource.prlimit(node.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (1, hard))
    try:
        stage.rig.proxy.switch(Fault(is_cut=True))
        stage.dark(time.monotonic())
        stage.rig.proxy.switch()
        time.sleep(2.0)  # the link is whole and the node cannot open it
    finally:
        stage.rig.proxy.switch()
        resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (soft, hard))
    return stage.recovery()


def disk_full(stage: Stage) -> float:
    """The recording cannot grow. The stream goes on, the node says so, what is kept plays."""
    target = stage.folder / "full.mkv"
    stage.restart_node("--source", str(stage.clip), "--record", str(target))
    wait_for(stage.is_shown, GIVE_UP_S, "the known person is shown")
    node = stage.rig.node
    assert node is not None
    limits = resource.prlimit(node.pid, resource.RLIMIT_FSIZE)
    size = target.stat().st_size + 20_000
    resource.prlimit(node.pid, resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        wait_for(lambda: "has stopped" in stage.rig.output("node"), GIVE_UP_S, "the node tells of it")
        time.sleep(2.0)
    finally:
        resource.prlimit(node.pid, resource.RLIMIT_FSIZE, limits)
    stage.recordings.append(target)
    return stage.recovery()


def camera_lost(stage: Stage) -> float:
    """The camera's stream dies and comes back."""
    camera = MjpegCamera(stage.footage, free_port())
    camera.start()
    try:
        stage.end_quietly()
        stage.begin("--source", camera.url)
        camera.stop()
        wait_for(lambda: stage.rig.state()["camera"]["state"] == "lost", GIVE_UP_S, "the loss is told")
        time.sleep(6.0)
        camera.start()
        recovered_in_s = stage.recovery()
        time.sleep(1.0)
        return recovered_in_s
    finally:
        camera.stop()


def overload(stage: Stage) -> float:
    """Twice as many busy processes as there are cores."""
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(BURNERS)]
    try:
        time.sleep(OVERLOAD_S)
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
    return stage.recovery()


FAULTS: dict[str, Callable[[Stage], float]] = {
    "hub-killed": hub_killed,
    "hub-stopped": hub_stopped,
    "link-delayed": _broken_link(Fault(delay_s=2.5)),
    "link-cut": _broken_link(Fault(is_cut=True)),
    "link-black-hole": _broken_link(Fault(is_black_hole=True)),
    "link-throttled": _broken_link(Fault(bytes_per_s=2_000)),
    "link-duplicated": _broken_link(Fault(duplicates=1.0)),
    "link-corrupted": _broken_link(Fault(corrupts=1.0)),
    "kernel-link": kernel_link,
    "node-stopped": node_stopped,
    "node-killed": node_killed,
    "out-of-files": out_of_files,
    "disk-full": disk_full,
    "camera-lost": camera_lost,
    "overload": overload,
    "key-rotated": key_rotated,
}


def play(stage: Stage, name: str) -> RealOutcome:
    """One fault. Raises RuntimeError or AssertionError where the node does not live through it."""
    stage.begin()
    try:
        recovered_in_s = FAULTS[name](stage)
    except NoKernelLink as exc:
        stage.end_quietly()
        return RealOutcome(name, 0, 0, None, f"not played: {exc}")
    verdict = stage.end()
    return RealOutcome(name, verdict.leaks, verdict.face_frames, recovered_in_s, verdict.first_leak)


def run_all(progress: Callable[[str], None], names: list[str] | None = None) -> list[RealOutcome]:
    """Every fault, or those named; `progress` gets a line about each."""
    outcomes = []
    with tempfile.TemporaryDirectory() as folder, Stage(Path(folder)) as stage:
        for name in names or list(FAULTS):
            outcome = play(stage, name)
            outcomes.append(outcome)
            after = "not played" if outcome.recovered_in_s is None else f"{outcome.recovered_in_s:.2f} s"
            progress(
                f"{name:16} leaks {outcome.leaks} of {outcome.face_frames} face-frames, "
                f"recovered after {after} {outcome.note}"
            )
    return outcomes


def main() -> int:
    names = sys.argv[1:]
    unknown = [name for name in names if name not in FAULTS]
    if unknown:
        print(f"no fault is called {', '.join(unknown)}; there are {', '.join(FAULTS)}", file=sys.stderr)
        return 2
    # Ended from outside, it still ends what it started.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    outcomes = run_all(lambda line: print(line, flush=True), names)
    return 1 if any(outcome.leaks for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
