"""A hub with its pages, several nodes, and browsers that are signed in. Shared by the tests of the wall."""

from __future__ import annotations

import importlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.rig import free_port, run, wait_for

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking",
    "--autoplay-policy=no-user-gesture-required",
]  # fmt: skip
PATIENCE_S = 240.0
"""Whatever a test of the wall waits for."""
PASSWORD = "correct horse battery staple"
DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}


class WallRig:
    """Keys, a hub with pages over TLS, and nodes that show their pictures to browsers with tickets only."""

    def __init__(self, folder: Path, patience_s: float = 60.0) -> None:
        self.folder = folder
        self._patience_s = patience_s
        self.hub_port, self.web_port = free_port(), free_port()
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.check("hub", "init", *self.state)

    @property
    def state(self) -> tuple[str, str]:
        return "--state", str(self.folder / "hub")

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.web_port}"

    def start_hub(self, **tables: str) -> None:
        settings = self.folder / "hub.toml"
        settings.write_text("".join(f"[{table}]\n{lines}\n" for table, lines in tables.items()))
        self._spawn(
            "hub", "hub", "run", "--config", str(settings), *self.state,
            "--listen", f"tcp://127.0.0.1:{self.hub_port}", "--web", f"127.0.0.1:{self.web_port}",
        )  # fmt: skip
        wait_for(lambda: "pages at" in self.output("hub"), self._patience_s, "the pages are served")

    def add_node(self, name: str, source: str = "demo", **tables: str) -> None:
        """Make the node's key and settings."""
        folder = self.folder / name
        self.check("hub", "keys", "make-node", name, str(folder), *self.state)
        more = "".join(f"[{table}]\n{lines}\n" for table, lines in tables.items())
        (folder / "node.toml").write_text(
            f'name = "{name}"\n[source]\nspec = "{source}"\n'
            f'[hub]\naddress = "tcp://127.0.0.1:{self.hub_port}"\n'
            f'key = "{folder}/node.key"\nhub_key = "{folder}/hub.pub"\n'
            f'[web]\nport = {free_port()}\nticket_key = "{folder}/sign.pub"\n'
            f'hub_origin = "{self.url}"\n{more}'
        )

    def start_node(self, name: str) -> None:
        self._spawn(name, "edge_node", "run", "--config", str(self.folder / name / "node.toml"))

    def add_user(self, name: str, *options: str) -> None:
        """Who signs in with PASSWORD."""
        secret = self.folder / "password"
        secret.touch(0o600)
        secret.write_text(PASSWORD)
        self.check("hub", "users", "add", name, *options, "--password-file", str(secret), *self.state)

    def first_link(self) -> str:
        """What the first admin opens."""
        done = run("hub", "users", "reset-link", *self.state)
        found = re.search(r"https://\S+", done.stdout)
        assert found, done.stdout + done.stderr
        return found.group()

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait(30)

    def stop(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(30)

    def output(self, name: str) -> str:
        path = self.folder / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def _spawn(self, name: str, *arguments: str) -> None:
        with (self.folder / f"{name}.log").open("w") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", *arguments], stdout=log, stderr=log, text=True
            )

    @staticmethod
    def check(*arguments: str) -> None:
        done = run(*arguments)
        assert done.returncode == 0, done.stderr


@contextmanager
def wall_rig(folder: Path) -> Iterator[WallRig]:
    """Whatever was started is stopped at the end."""
    folder.chmod(0o700)
    made = WallRig(folder, PATIENCE_S)
    try:
        yield made
    finally:
        made.stop()


def soon(holds: Any, what: str) -> None:
    """Wait until it holds. Fails with `what` where it never does."""
    wait_for(lambda: bool(holds()), PATIENCE_S, what)


@contextmanager
def browser() -> Iterator[Any]:
    """Chromium, or a skip where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        try:
            yield opened
        finally:
            opened.close()


def new_page(opened: Any, scheme: str = "light", viewport: dict[str, int] | None = None) -> Any:
    """A page of a browser that knows nobody; the hub's certificate is one that it made itself."""
    context = opened.new_context(
        ignore_https_errors=True, color_scheme=scheme, viewport=viewport or DESKTOP,
        has_touch=viewport is PHONE, is_mobile=viewport is PHONE, timezone_id="Europe/Berlin",
    )  # fmt: skip
    page = context.new_page()
    page.set_default_timeout(60_000)
    return page


def sign_in(page: Any, url: str, name: str) -> None:
    page.goto(f"{url}/login")
    page.fill("#name", name)
    page.fill("#password", PASSWORD)
    page.click("button[type=submit]")
    page.wait_for_selector("#wall", state="attached")


FRAMES = """(name) => {
  const video = document.querySelector(`[data-camera="${name}"] video`);
  return !video || video.hidden ? -1 : video.getVideoPlaybackQuality().totalVideoFrames;
}"""


def frames(page: Any, camera: str) -> int:
    """Frames that a camera's tile has shown; -1 while there is no video."""
    try:
        count: int = page.evaluate(FRAMES, camera)
    except page_error() as exc:
        # A node has told its address: the page loads itself anew to be allowed to reach it.
        if "context was destroyed" not in str(exc):
            raise
        return -1
    return count


def page_error() -> type[Exception]:
    """Playwright's own, which is there where a browser is."""
    kind: type[Exception] = importlib.import_module("playwright.sync_api").Error
    return kind


def screenshot(page: Any, name: str, folder: Path) -> None:
    """Into the documents where VEILCAST_SCREENSHOTS names their folder, else into the test's."""
    picture = page.screenshot()
    target = os.environ.get("VEILCAST_SCREENSHOTS")
    if not target:
        (folder / f"{name}.png").write_bytes(picture)
        return
    # With a palette: a third of the size, and nobody sees the difference on a page.
    colors = importlib.import_module("PIL.Image").open(BytesIO(picture)).convert("RGB").quantize(192)
    colors.save(Path(target) / f"{name}.png", optimize=True)
