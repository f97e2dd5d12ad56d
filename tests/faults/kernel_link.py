"""A link of the kernel's own between this network and another one on the same machine.

Owns a network namespace, a pair of virtual cables and the queue on the near end, which loses and delays
like a bad link (netem) or lets almost nothing through (tbf). Needs root. Called by `tests.faults.real`.
"""

from __future__ import annotations

import os
import shutil
import subprocess

NETWORK = "10.203.77"
SLOW = (
    ["netem", "delay", "2500ms", "500ms", "loss", "10%"],
    ["tbf", "rate", "8kbit", "burst", "2kb", "latency", "500ms"],
)
"""The first that the kernel knows is used."""


class NoKernelLink(Exception):  # noqa: N818 - a fact about the machine, not a mistake
    """This machine cannot have such a link; the text says why."""


class KernelLink:
    """A context manager. Raises NoKernelLink where root, iproute2 or the kernel's modules are absent."""

    far_address = f"{NETWORK}.2"

    def __init__(self) -> None:
        if os.geteuid() != 0 or not (shutil.which("ip") and shutil.which("tc")):
            raise NoKernelLink("root and iproute2 are needed")
        self._space = f"veil{os.getpid()}"
        self._near, self._far = f"vn{os.getpid()}", f"vf{os.getpid()}"
        self.prefix = ["ip", "netns", "exec", self._space]
        """Runs a command at the far end."""

    def __enter__(self) -> KernelLink:
        try:
            _run("ip", "netns", "add", self._space)
            _run("ip", "link", "add", self._near, "type", "veth", "peer", "name", self._far)
            _run("ip", "link", "set", self._far, "netns", self._space)
            _run("ip", "addr", "add", f"{NETWORK}.1/30", "dev", self._near)
            _run("ip", "link", "set", self._near, "up")
            _run(*self.prefix, "ip", "addr", "add", f"{NETWORK}.2/30", "dev", self._far)
            _run(*self.prefix, "ip", "link", "set", self._far, "up")
            _run(*self.prefix, "ip", "link", "set", "lo", "up")
            self.slow()
            self.mend()
        except NoKernelLink:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # The cable goes with the namespace that holds its far end; what was never made needs no end.
        for command in (["ip", "link", "del", self._near], ["ip", "netns", "del", self._space]):
            subprocess.run(command, capture_output=True, check=False)

    def slow(self) -> None:
        """From now on hardly anything passes towards the far end."""
        reasons = []
        for queue in SLOW:
            try:
                _run("tc", "qdisc", "add", "dev", self._near, "root", *queue)
            except NoKernelLink as exc:
                reasons.append(str(exc))
            else:
                return
        raise NoKernelLink("; ".join(reasons))

    def mend(self) -> None:
        """A whole link again."""
        _run("tc", "qdisc", "del", "dev", self._near, "root")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoKernelLink(f"{' '.join(command[:3])} failed ({done.stderr.strip()})")
