"""Hub and node as processes with a link that can be broken, a viewer, and what came of it.

Owns setting up, watching and judging; which fault happens is in `tests.faults.real`. A fault leaves the
stage as it found it, so that one stage serves many.
"""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.e2e.rig import GRACE, Rig, wait_for
from tests.faults.footage import Footage
from tests.faults.proxy import FaultProxy
from tests.faults.watch import Ban, Verdict, Viewer, decoded, judge, recorded

LEASE_S = 3.0
"""Of the hub's decisions by default."""
SLACK_S = 1.0
"""From the release of a picture to its arrival here, on a machine that is busy."""
DARK_S = 2.0
"""Nobody is shown for at least so long before a fault is cleared."""
GIVE_UP_S = 30.0
"""A node that has not recovered by then does not without a hand."""
SHOWN_S = 30.0


class FaultRig(Rig):
    """The rig of the e2e tests, with a proxy on the node's way to the hub. Asks the node's page over one
    connection that stays open: a node without free file descriptors takes no other."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.proxy = FaultProxy(("127.0.0.1", self.hub_port))
        self.proxy.__enter__()
        config = folder / "node.toml"
        config.write_text(config.read_text().replace(self.hub_address, self.proxy.address))
        self.hub_prefix: list[str] = []
        """What the hub's command is run by."""
        self.hub_listens = self.hub_address
        self._page: http.client.HTTPConnection | None = None

    def start_hub(self) -> None:
        self.hub = self._spawn(
            "hub",
            "hub",
            "run",
            "--state",
            str(self.folder / "hub"),
            "--listen",
            self.hub_listens,
            "--web",
            "off",
        )
        wait_for(lambda: "hub ready" in self.output("hub"), 60, "the hub is ready")

    def stop(self) -> None:
        super().stop()
        self.proxy.__exit__()

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self._get("/state"))
        return state

    def reveals(self) -> float:
        """Answers of the hub so far that show someone."""
        for line in self._get("/metrics").decode().splitlines():
            if line.startswith('veilcast_decisions_total{outcome="reveal"}'):
                return float(line.rsplit(" ", 1)[1])
        return 0.0

    def _get(self, path: str) -> bytes:
        """Raises OSError where the node does not answer."""
        for is_last in (False, True):
            page = self._page or http.client.HTTPConnection("127.0.0.1", self.web_port, timeout=20)
            self._page = page
            try:
                page.request("GET", path)
                return page.getresponse().read()
            except (OSError, http.client.HTTPException) as exc:
                page.close()
                self._page = None  # of a node that was restarted since
                if is_last:
                    raise OSError(f"the node does not answer: {exc}") from exc
        raise AssertionError("unreachable")

    def _spawn(self, name: str, *arguments: str) -> subprocess.Popen[str]:
        prefix = self.hub_prefix if name == "hub" else []
        with (self.folder / f"{name}.log").open("w") as log:
            command = [*prefix, sys.executable, "-m", *arguments]
            return subprocess.Popen(command, stdout=log, stderr=log, text=True)


class Stage:
    """A running hub that knows one person, a clip that shows her and strangers, and a node for both."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.footage = Footage()
        self.clip = folder / "clip.mp4"
        self.footage.write(self.clip)
        self.rig = FaultRig(folder)
        self.recordings: list[Path] = []
        """Judged with the stream."""
        self._bans: list[Ban] = []
        self._options: tuple[str, ...] = ()
        self._viewer: Viewer | None = None

    def __enter__(self) -> Stage:
        try:
            # Enrolment goes to the hub itself; only the node's way leads through the proxy.
            self.rig.start_hub()
            self.rig.enrol_grace()
        except BaseException:
            self.rig.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._viewer is not None:
            self._viewer.close()
        self.rig.stop()

    # --- before a fault -----------------------------------------------------------------------

    def begin(self, *options: str) -> None:
        """A node with these options (default: the clip as its source) that shows the known person."""
        options = options or ("--source", str(self.clip))
        node = self.rig.node
        if node is None or node.poll() is not None or options != self._options:
            self.restart_node(*options)
        wait_for(self.is_shown, SHOWN_S, "the known person is shown")
        self._bans, self.recordings = [], []
        self._viewer = Viewer(self.rig.web_port)
        wait_for(lambda: self.viewer.count > 10, 10, "the viewer sees the stream")

    def restart_node(self, *options: str, number: int = signal.SIGTERM) -> None:
        """End the node by this signal, where there is one, and start it with these options."""
        node = self.rig.node
        if node is not None and node.poll() is None:
            self.rig.kill("node", number)
        self.rig.start_node(*options)
        self._options = options

    @property
    def viewer(self) -> Viewer:
        assert self._viewer is not None, "begin comes first"
        return self._viewer

    def is_shown(self) -> bool:
        """Whether the node says that it shows the known person."""
        return GRACE in self.rig.shown()

    # --- during a fault -----------------------------------------------------------------------

    def dark(self, begun: float) -> None:
        """Let a fault that began at `begun` go on until leases have ended and a while more, in which
        nobody may be shown."""
        begin = begun + LEASE_S + SLACK_S
        time.sleep(max(0.0, begin + DARK_S - time.monotonic()))
        self.ban(begin, time.monotonic())

    def ban(self, begin: float, end: float, after: int = -1) -> None:
        """Nobody may be shown in what arrives in this time."""
        self._bans.append(Ban(begin, end, after))

    def recovery(self) -> float:
        """Seconds from now until the known person is shown; GIVE_UP_S where she is not by then."""
        begun = time.monotonic()
        while not self.is_shown():
            if time.monotonic() - begun > GIVE_UP_S:
                break
            time.sleep(0.03)
        return time.monotonic() - begun

    # --- afterwards ---------------------------------------------------------------------------

    def end_quietly(self) -> None:
        """Judge nothing: no fault was played, or the play begins anew."""
        self.viewer.close()
        self._viewer = None

    def end(self) -> Verdict:
        """Judge all that was let out since `begin`. Raises RuntimeError where the node has ended or has
        told of a mistake of its own, and where nothing could be judged."""
        time.sleep(0.5)
        pictures = self.viewer.close()
        self._viewer = None
        node = self.rig.node
        if node is None or node.poll() is not None or "Traceback" in self.rig.output("node"):
            raise RuntimeError(f"the node did not live through it:\n{self.rig.output('node')}")
        verdict = judge(self.footage, decoded(pictures), GRACE, self._bans)
        for path in self.recordings:
            verdict += judge(self.footage, recorded(path), GRACE, ())
        if not verdict.shown or not verdict.face_frames:
            raise RuntimeError("the known person was never seen in the pictures: the judge is blind")
        return verdict
