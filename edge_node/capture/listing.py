"""What this machine can take pictures from, for `veilcast-node sources`. [I/O]

Asks each V4L2 device for its formats and sizes by ioctl, and looks for the software of boards' own cameras.
Opens no stream: a camera that is in use is listed like others.
"""

from __future__ import annotations

import fcntl
import importlib.util
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_node.capture.csi import has_argus, load_picamera
from edge_node.capture.limited import LimitedCaller
from edge_node.capture.source import SourceError

QUERYCAP, ENUM_FMT, ENUM_FRAMESIZES = 0x80685600, 0xC0405602, 0xC02C564A
"""From linux/videodev2.h."""
CAPTURE, HAS_DEVICE_CAPS = 0x1, 0x80000000
TYPE_CAPTURE = 1
DISCRETE = 1
ASK_S = 3.0
"""For one question to a driver; most answer within a millisecond."""
MAX_ENTRIES = 64
"""Formats, and sizes of each, that are asked for: a driver that never says "no more" exists."""

Ioctl = Callable[[Path, int, bytearray], bool]
"""Does one on a device; False where it is refused."""


@dataclass(frozen=True, slots=True)
class Found:
    """One thing to take pictures from."""

    spec: str
    """For `[source] spec`."""
    name: str
    formats: tuple[str, ...] = ()
    """Such as "MJPG 640x480 1280x720"."""
    note: str = ""


def ioctl(device: Path, request: int, data: bytearray) -> bool:
    def ask() -> None:
        with device.open("rb", buffering=0) as opened:
            fcntl.ioctl(opened, request, data)

    caller = LimitedCaller(f"asking {device}", ASK_S)
    try:
        caller.call(ask)
    except OSError:  # a TimeoutError is one
        return False  # refused, hangs, gone or not ours to read: it is asked for in `v4l2`, which says so
    finally:
        caller.close()
    return True


def v4l2(dev: Path = Path("/dev"), ask: Ioctl = ioctl) -> list[Found]:
    """The cameras among the video devices."""
    found = []
    for device in sorted(dev.glob("video*"), key=lambda p: (len(p.name), p.name)):
        if not device.name.removeprefix("video").isdigit():
            continue
        data = bytearray(104)
        if not ask(device, QUERYCAP, data):
            note = "cannot be asked: add this user to the group video (sudo usermod -aG video $USER)"
            found.append(Found(str(device), "video device", note=note))
            continue
        name = bytes(data[16:48]).split(b"\0")[0].decode(errors="replace")
        caps, device_caps = struct.unpack_from("=II", data, 84)
        if (device_caps if caps & HAS_DEVICE_CAPS else caps) & CAPTURE:
            found.append(Found(str(device), name, tuple(_formats(device, ask))))
    return found


def _formats(device: Path, ask: Ioctl) -> list[str]:
    lines = []
    for index in range(MAX_ENTRIES):
        data = bytearray(64)
        struct.pack_into("=II", data, 0, index, TYPE_CAPTURE)
        if not ask(device, ENUM_FMT, data):
            break
        code = bytes(data[44:48])
        lines.append(" ".join([code.decode("ascii", "replace").strip(), *_sizes(device, code, ask)]))
    return lines


def _sizes(device: Path, code: bytes, ask: Ioctl) -> list[str]:
    sizes = []
    for index in range(MAX_ENTRIES):
        data = bytearray(44)
        struct.pack_into("=I4s", data, 0, index, code)
        if not ask(device, ENUM_FRAMESIZES, data):
            break
        kind, *numbers = struct.unpack_from("=7I", data, 8)
        if kind != DISCRETE:
            sizes.append(f"{numbers[0]}x{numbers[3]} to {numbers[1]}x{numbers[4]}")
            break
        sizes.append(f"{numbers[0]}x{numbers[1]}")
    return sizes


def pi() -> list[Found]:
    """Raspberry Pi cameras, where picamera2 is installed."""
    if importlib.util.find_spec("picamera2") is None:
        return []
    try:
        cameras = load_picamera().global_camera_info()
    except SourceError as exc:
        return [Found("csi://0", "Raspberry Pi camera", note=str(exc))]
    return [Found(f"csi://{n}", str(camera.get("Model", "camera"))) for n, camera in enumerate(cameras)]


def jetson() -> list[Found]:
    """A Jetson's camera interface. It does not say what is connected."""
    return [Found("jetson://0", "Jetson camera interface")] if has_argus() else []


def everything() -> list[Found]:
    """All of it, the built-in scene last."""
    return [*v4l2(), *pi(), *jetson(), Found("demo", "the built-in scene")]
