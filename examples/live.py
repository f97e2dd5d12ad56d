"""Hub and node on one machine, for trying out: what `make run` starts.

Starts a hub with fresh keys in a folder of its own, enrols the demo's person or a folder of people, and
streams a camera, a file or the demo scene. Everything enrolled here is gone at the end. Uses the commands
that a person would use, as processes.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from edge_node.capture.portraits import demo_portrait_path
from edge_node.errors import NodeError

NODE_NAME = "live"
DEMO_PERSON = "Grace Hopper"
READY_S = 30.0
"""Until a part is up; compiling models for the first time takes a few seconds."""
STOP_S = 15.0
"""Until a part has ended after it was asked to: a recording is finished meanwhile."""


class LiveError(Exception):
    """One line for a person."""


class Part:
    """A process whose output is watched for one line and shown with its name in front."""

    def __init__(self, name: str, arguments: list[str], ready_mark: str) -> None:
        self.name = name
        self.ready_line = ""
        self._mark = ready_mark
        self._is_ready = threading.Event()
        self._last_line = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            start_new_session=True,  # Ctrl-C reaches this script only, which stops the parts in order
        )  # fmt: skip
        assert self.process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self._reader.start()

    def wait_ready(self) -> None:
        """Until the line has come. Raises LiveError if the process ends or takes too long."""
        deadline = time.monotonic() + READY_S
        while not self._is_ready.wait(0.05):
            if self.process.poll() is not None:
                self._reader.join(1.0)
                raise LiveError(
                    self._last_line or f"the {self.name} ended with code {self.process.returncode}"
                )
            if time.monotonic() > deadline:
                raise LiveError(f"the {self.name} did not start within {READY_S:.0f} s")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._reader.join(1.0)

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self._last_line = line.rstrip()
            print(f"{self.name:4} | {self._last_line}", flush=True)
            if self._mark in line:
                self.ready_line = self._last_line
                self._is_ready.set()


def main() -> int:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="veilcast-live-") as folder:
        parts: list[Part] = []
        stopping = stop_on_signals()
        try:
            return run(arguments, Path(folder), parts, stopping)
        except (LiveError, NodeError) as exc:
            print(f"make run: {exc}", file=sys.stderr)
            return 1
        finally:
            for part in reversed(parts):
                part.stop()


def run(arguments: argparse.Namespace, folder: Path, parts: list[Part], stopping: threading.Event) -> int:
    address = f"tcp://127.0.0.1:{free_port()}"
    state = folder / "hub"
    command("hub", "init", "--state", str(state))
    command("hub", "keys", "make-node", NODE_NAME, str(folder / "node"), "--state", str(state))
    command("hub", "keys", "make-admin", "live", str(folder / "admin"), "--state", str(state))
    wall = f"127.0.0.1:{free_port()}" if arguments.wall else "off"
    ready_mark = "pages at" if arguments.wall else "hub ready"
    hub = Part("hub", ["hub", "run", *hub_options(folder, state, address), "--web", wall], ready_mark)
    parts.append(hub)
    enrol: Callable[[], None] = lambda: enrol_people(arguments, folder, address)  # noqa: E731
    if arguments.once:  # whoever is in the file must be known before its first frame
        hub.wait_ready()
        enrol()
    node = Part("node", ["edge_node", "run", *node_options(arguments, folder, address, wall)], "live page at")
    parts.append(node)
    if not arguments.once:
        hub.wait_ready()
        enrol()
    node.wait_ready()
    where = first_link(state) if arguments.wall else f"  Watch: {node.ready_line.rsplit(' ', 1)[-1]}"
    print(f"\n{where}\n" + ("" if arguments.once else "  Ctrl-C stops.\n"), flush=True)
    while not stopping.wait(0.1):
        for part in parts:
            code = part.process.poll()
            if code is not None:
                if part is node and code == 0:
                    return 0
                part.stop()
                raise LiveError(f"the {part.name} ended with code {code}; its last words stand above")
    return 0 if not arguments.once else 130


def enrol_people(arguments: argparse.Namespace, folder: Path, address: str) -> None:
    """The demo's person, a folder of people, or nobody."""
    access = [
        "--hub",
        address,
        "--key",
        str(folder / "admin" / "admin.key"),
        "--hub-key",
        str(folder / "admin" / "hub.pub"),
    ]
    if arguments.people:
        if not Path(arguments.people).is_dir():
            raise LiveError(f"PEOPLE={arguments.people} is no folder: give one with a folder per person")
        # Some photos may be refused by name; whoever has a good one is enrolled.
        code = subprocess.call([sys.executable, "-m", "enrollment", *access, "add-folder", arguments.people])
        if code not in (0, 1):
            raise LiveError("nobody could be enrolled; the reason stands above")
    elif arguments.people is None and arguments.source == "demo":
        note = ["--note", "the demo's person; a photo in the public domain"]
        command("enrollment", *access, "add", DEMO_PERSON, str(demo_portrait_path(DEMO_PERSON)), *note)


def hub_options(folder: Path, state: Path, address: str) -> list[str]:
    settings = folder / "hub.toml"
    # On this machine alone: a certificate that no browser knows would only be in the way.
    settings.write_text("[web]\ntls = false\n")
    return ["--config", str(settings), "--state", str(state), "--listen", address]


def first_link(state: Path) -> str:
    """Where the first admin chooses a name and a password, as the command says it."""
    return "\n".join(f"  {line}" for line in command("hub", "users", "reset-link", "--state", str(state)))


def node_options(arguments: argparse.Namespace, folder: Path, address: str, wall: str) -> list[str]:
    settings = folder / "node.toml"
    tickets = f'[web]\nticket_key = "{folder}/node/sign.pub"\nhub_origin = "http://{wall}"\n'
    settings.write_text(
        f'name = "{NODE_NAME}"\n[hub]\naddress = "{address}"\n'
        f'key = "{folder}/node/node.key"\nhub_key = "{folder}/node/hub.pub"\n'
        + (tickets if arguments.wall else "")
    )
    port = arguments.port if port_is_free(arguments.port) else 0
    options = ["--config", str(settings), "--source", arguments.source, "--port", str(port)]
    if arguments.record:
        options += ["--record", arguments.record]
    return options + (["--once"] if arguments.once else [])


def command(*arguments: str) -> list[str]:
    """Run a command to its end; the lines that it printed. Raises LiveError with its last line."""
    done = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise LiveError(lines[-1] if lines else f"{arguments[0]} ended with code {done.returncode}")
    return done.stdout.strip().splitlines()


def stop_on_signals() -> threading.Event:
    """Set by Ctrl-C and SIGTERM."""
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    return stopping


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make run", description=__doc__)
    parser.add_argument("--source", default="demo", help="demo, a camera number, a file, rtsp://…")
    parser.add_argument("--people", default=None, help="a folder with a folder per person; empty: nobody")
    parser.add_argument("--record", default="", help="record the anonymized stream to this .mkv")
    parser.add_argument("--once", action="store_true", help="stream a file once, then exit")
    parser.add_argument("--port", type=int, default=8080, help="of the live page, where it is free")
    parser.add_argument("--wall", action="store_true", help="the hub's pages, too; a link makes their admin")
    return parser.parse_args()


if __name__ == "__main__":
    os.chdir(Path(__file__).parent.parent)
    sys.exit(main())
