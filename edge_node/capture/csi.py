"""Cameras on a ribbon cable: Raspberry Pi through picamera2, Jetson through a GStreamer process. [I/O]

Both need software of the board that no package index has; where it is missing the error says what to
install. Neither is imported before such a camera is asked for.
"""

from __future__ import annotations

import importlib
import logging
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from edge_node.capture.limited import LimitedCaller
from edge_node.capture.source import (
    NETWORK_TIMEOUT_S,
    CapturedImage,
    SourceClock,
    SourceError,
    SourceInfo,
    SourceKind,
    SourceLost,
    SourceOptions,
)
from vision.detections import Image

log = logging.getLogger(__name__)

OPEN_S = 15.0
"""For each call into a camera's library: starting one takes a second or two."""
INSPECT_S = 15.0
"""GStreamer reads all its plugins when it is first asked."""
END_S = 5.0
LAUNCH, INSPECT = "gst-launch-1.0", "gst-inspect-1.0"
NO_PICAMERA = (
    "needs picamera2: run 'sudo apt install python3-picamera2' and make the environment with "
    "'python3 -m venv --system-site-packages'"
)


def number_of(spec: str) -> int:
    """The camera's number in `csi://0` or `jetson://1`. Raises SourceError."""
    number = spec.partition("://")[2]
    if not (number.isascii() and number.isdigit() and len(number) <= 2):
        raise SourceError(f"write {spec.partition('://')[0]}://0 for the first camera, …://1 for the second")
    return int(number)


def load_picamera() -> Any:
    """The class Picamera2. Raises SourceError where it is not installed."""
    try:
        return importlib.import_module("picamera2").Picamera2
    except (ImportError, AttributeError) as exc:
        raise SourceError(f"a camera on a Raspberry Pi's ribbon cable {NO_PICAMERA}") from exc


class PiCamera:
    """`csi://N`."""

    def __init__(
        self,
        number: int,
        options: SourceOptions,
        loader: Callable[[], Any] = load_picamera,
        now: Callable[[], float] = time.monotonic,
        limit_s: float = OPEN_S,
    ) -> None:
        self.skipped = 0
        self._now = now
        self._label = f"csi://{number}"
        self._camera: Any = None
        self._caller = LimitedCaller(self._label, limit_s)
        try:
            self._camera = self._caller.call(lambda: self._open(loader(), number, options))
            self._first: Image | None = self._grab()
        except TimeoutError as exc:
            self._caller.close()
            raise SourceLost(f"{self._label} does not answer within {limit_s:g} s") from exc
        except (SourceLost, SourceError):
            self.close()
            raise
        height, width = self._first.shape[:2]
        self.info = SourceInfo(width, height, options.fps, SourceKind.CAMERA, self._label, is_live=True)
        self._clock = SourceClock(1 / options.fps)
        self._began = now()

    def read(self) -> CapturedImage:
        """The next picture, stamped by its arrival."""
        image, self._first = self._first, None
        if image is None:
            image = self._grab()
        return CapturedImage(image, self._clock.stamp(self._now() - self._began))

    def close(self) -> None:
        camera, self._camera = self._camera, None
        if camera is not None:
            try:
                self._caller.call(camera.stop)
                self._caller.call(camera.close)
            except TimeoutError:
                log.warning("%s does not let go; it is left behind", self._label)
        self._caller.close()

    def _open(self, kind: Any, number: int, options: SourceOptions) -> Any:
        found = kind.global_camera_info()
        if number >= len(found):
            raise SourceError(f"there is no camera {self._label}; libcamera finds {len(found)}")
        try:
            camera = kind(number)
            # picamera2 names formats by the order in a word: its RGB888 is B, G, R in memory.
            main = {"size": (options.width, options.height), "format": "RGB888"}
            camera.configure(
                camera.create_video_configuration(main=main, controls={"FrameRate": options.fps})
            )
            camera.start()
        except (RuntimeError, IndexError, OSError) as exc:
            raise SourceError(f"{self._label} does not open ({exc}): another program may hold it") from exc
        return camera

    def _grab(self) -> Image:
        camera = self._camera
        if camera is None:
            raise SourceLost(f"{self._label} is closed")
        try:
            taken = self._caller.call(lambda: camera.capture_array("main"))
            return np.ascontiguousarray(taken[..., :3], np.uint8)
        except (RuntimeError, OSError, TimeoutError) as exc:
            raise SourceLost(f"{self._label} gives no picture ({type(exc).__name__})") from exc


def has_argus() -> bool:
    """Whether this machine has NVIDIA's camera element for GStreamer."""
    if shutil.which(LAUNCH) is None or shutil.which(INSPECT) is None:
        return False
    try:
        done = subprocess.run(  # noqa: S603
            [INSPECT, "nvarguscamerasrc"], capture_output=True, check=False, timeout=INSPECT_S
        )
    except subprocess.TimeoutExpired:
        log.warning("%s does not answer within %g s: no Jetson camera is looked for", INSPECT, INSPECT_S)
        return False
    return done.returncode == 0


def pipeline(number: int, options: SourceOptions) -> list[str]:
    """The command whose output is one raw picture (BGRx) after another."""
    rate = f"{round(options.fps)}/1"
    size = f"width={options.width},height={options.height}"
    return [
        LAUNCH, "-q", "nvarguscamerasrc", f"sensor-id={number}", "!",
        f"video/x-raw(memory:NVMM),{size},framerate={rate}", "!", "nvvidconv", "!",
        f"video/x-raw,format=BGRx,{size}", "!", "fdsink", "fd=1", "sync=false",
    ]  # fmt: skip


class JetsonCamera:
    """`jetson://N`. `command` is a program that writes raw pictures of the asked size."""

    def __init__(
        self,
        number: int,
        options: SourceOptions,
        command: list[str] | None = None,
        timeout_s: float = NETWORK_TIMEOUT_S,
    ) -> None:
        self.skipped = 0
        self._label = f"jetson://{number}"
        if command is None and not has_argus():
            raise SourceError(
                f"{self._label} needs GStreamer with nvarguscamerasrc, which JetPack brings: this is no "
                "Jetson, or 'sudo apt install gstreamer1.0-tools nvidia-l4t-gstreamer' is missing"
            )
        self._shape = (options.height, options.width, 4)
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = subprocess.Popen(  # noqa: S603
            command or pipeline(number, options), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
        self._clock = SourceClock(1 / options.fps)
        try:
            self._first: Image | None = self._grab()
        except SourceLost:
            self.close()
            raise
        self.info = SourceInfo(
            options.width, options.height, options.fps, SourceKind.CAMERA, self._label, is_live=True
        )
        self._began = time.monotonic()

    def read(self) -> CapturedImage:
        """The next picture, stamped by its arrival."""
        image, self._first = self._first, None
        if image is None:
            image = self._grab()
        return CapturedImage(image, self._clock.stamp(time.monotonic() - self._began))

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                log.warning("%s does not let go; it is left behind", self._label)
            if process.stdout is not None:
                process.stdout.close()

    def _grab(self) -> Image:
        process = self._process
        if process is None or process.stdout is None:
            raise SourceLost(f"{self._label} is closed")
        picture = np.empty(self._shape, np.uint8)
        view, filled = picture.data.cast("B"), 0
        descriptor = process.stdout.fileno()
        while filled < len(view):
            if not select.select([descriptor], [], [], self._timeout_s)[0]:
                raise SourceLost(f"{self._label} gives no picture within {self._timeout_s:g} s")
            count = os.readv(descriptor, [view[filled:]])
            if not count:
                raise SourceLost(f"{self._label} has ended: is the camera connected, and free?")
            filled += count
        return np.ascontiguousarray(picture[..., :3])
