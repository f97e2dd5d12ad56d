"""Starts hub and node as processes and talks to them as a user would. Shared by the e2e tests."""

from __future__ import annotations

import json
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge_node.capture.portraits import demo_portrait_path
from vision.detections import Image

TEST_PORTS = (20_000, 32_000)
"""Below /proc/sys/net/ipv4/ip_local_port_range."""
NODE = "door"
GRACE = "Grace Hopper"


class Rig:
    """A state folder with keys, a hub and a node that can be started and killed."""

    def __init__(self, folder: Path, patience_s: float = 30.0) -> None:
        """patience_s: for a process to be ready."""
        self.folder = folder
        self._patience_s = patience_s
        self.hub_port, self.web_port = free_port(), free_port()
        self.hub: subprocess.Popen[str] | None = None
        self.node: subprocess.Popen[str] | None = None
        self.check("hub", "init", "--state", str(folder / "hub"))
        self.check("hub", "keys", "make-node", NODE, str(folder / "node"), "--state", str(folder / "hub"))
        self.check("hub", "keys", "make-admin", "me", str(folder / "admin"), "--state", str(folder / "hub"))
        (folder / "node.toml").write_text(
            f'name = "{NODE}"\n[hub]\naddress = "{self.hub_address}"\n'
            f'key = "{folder}/node/node.key"\nhub_key = "{folder}/node/hub.pub"\n'
        )

    @property
    def hub_address(self) -> str:
        return f"tcp://127.0.0.1:{self.hub_port}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.web_port}/"

    # --- processes --------------------------------------------------------------------------

    def start_hub(self) -> None:
        self.hub = self._spawn(
            "hub",
            "hub",
            "run",
            "--state",
            str(self.folder / "hub"),
            "--listen",
            self.hub_address,
            "--web",
            "off",
        )
        wait_for(lambda: "hub ready" in self.output("hub"), self._patience_s, "the hub is ready")

    def start_node(self, *options: str) -> None:
        self.node = self._spawn(
            "node", "edge_node", "run", "--config", str(self.folder / "node.toml"),
            "--port", str(self.web_port), *options,
        )  # fmt: skip
        wait_for(self.is_streaming, self._patience_s, "the node streams")

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        """Kill a process and wait for its end; its exit code."""
        process = getattr(self, name)
        assert isinstance(process, subprocess.Popen)
        process.send_signal(number)
        return process.wait(20)

    def stop(self) -> None:
        for process in (self.node, self.hub):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in (self.node, self.hub):
            if process is not None:
                process.wait(20)

    def output(self, name: str) -> str:
        """All that a process wrote since it was last started."""
        path = self.folder / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def _spawn(self, name: str, *arguments: str) -> subprocess.Popen[str]:
        with (self.folder / f"{name}.log").open("w") as log:
            return subprocess.Popen([sys.executable, "-m", *arguments], stdout=log, stderr=log, text=True)

    # --- commands ---------------------------------------------------------------------------

    def enrol(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `veilcast-enroll`."""
        access = ["--hub", self.hub_address, "--key", str(self.folder / "admin" / "admin.key")]
        access += ["--hub-key", str(self.folder / "admin" / "hub.pub")]
        return run("enrollment", *access, *arguments)

    def enrol_grace(self) -> None:
        done = self.enrol("add", GRACE, str(demo_portrait_path(GRACE)))
        assert done.returncode == 0, done.stderr

    @staticmethod
    def check(*arguments: str) -> None:
        done = run(*arguments)
        assert done.returncode == 0, done.stderr

    # --- what a viewer sees -----------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        with urllib.request.urlopen(self.url + "state", timeout=5) as answer:
            state: dict[str, Any] = json.load(answer)
        return state

    def is_streaming(self) -> bool:
        try:
            return self.state()["picture"] is not None
        except OSError:
            assert self.node is None or self.node.poll() is None, self.output("node")
            return False

    def shown(self) -> list[str]:
        return [face["name"] for face in self.state()["picture"]["shown"]]

    def snapshot(self) -> tuple[int, Image]:
        """The number of the newest frame, and its pixels."""
        with urllib.request.urlopen(self.url + "snapshot.jpg", timeout=5) as answer:
            image = cv2.imdecode(np.frombuffer(answer.read(), np.uint8), cv2.IMREAD_COLOR)
            return int(answer.headers["X-Frame-Seq"]), np.asarray(image, np.uint8)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments], capture_output=True, text=True, timeout=90, check=False
    )


def free_port() -> int:
    """A port that nobody listens on, and none of those that the system gives to outgoing connections: one of
    these could take it while its owner is killed and started again."""
    for port in random.sample(range(*TEST_PORTS), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError(f"no free port among a hundred of {TEST_PORTS}")


def wait_for(condition: Callable[[], bool], limit_s: float, what: str) -> float:
    """Seconds until the condition held. Fails with `what` where it never did."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < limit_s, f"not within {limit_s} s: {what}"
        time.sleep(0.05)
    return time.monotonic() - started


def likeness(source: Image, output: Image, box: tuple[float, float, float, float]) -> float:
    """Correlation of facial detail of two pictures inside the inner face: 1 the same, about 0 veiled."""
    x1, y1, x2, y2 = box
    w, h = x2 - x1, y2 - y1
    rows = slice(max(0, int(y1 + 0.2 * h)), int(y2 - 0.15 * h))
    columns = slice(max(0, int(x1 + 0.15 * w)), int(x2 - 0.15 * w))
    detail = []
    for image in (source, output):
        gray = cv2.cvtColor(image[rows, columns], cv2.COLOR_BGR2GRAY).astype(np.float32)
        high = gray - cv2.GaussianBlur(gray, (0, 0), max(2.0, 0.08 * w))
        detail.append((high - high.mean()).ravel())
    norms = float(np.linalg.norm(detail[0]) * np.linalg.norm(detail[1]))
    return float(detail[0] @ detail[1]) / max(norms, 1e-6)
