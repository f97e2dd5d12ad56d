"""The one way to open a source: from what a person writes to the implementation that serves it."""

from __future__ import annotations

from pathlib import Path

from edge_node.capture.camera import CameraSource
from edge_node.capture.csi import JetsonCamera, PiCamera, number_of
from edge_node.capture.folder import FolderSource
from edge_node.capture.media import MediaSource
from edge_node.capture.source import FrameSource, SourceError, SourceOptions
from edge_node.capture.synthetic import open_demo
from edge_node.capture.turned import Turned

NETWORK_SCHEMES = ("rtsp", "rtsps", "http", "https")
MAX_CAMERA_NUMBER = 255
"""Video devices that Linux numbers by default."""


def open_source(spec: str, options: SourceOptions | None = None) -> FrameSource:
    """Open what `spec` names: `demo`, `0` or `/dev/video0`, a file, a folder of files, `rtsp://…`, `http://…`,
    `csi://0` (Raspberry Pi) or `jetson://0`.

    Raises SourceError where the spec cannot work, SourceLost where a camera does not answer now.
    """
    options = options or SourceOptions()
    source = _open(spec.strip(), options)
    return Turned(source, options.rotate) if options.rotate else source


def _open(spec: str, options: SourceOptions) -> FrameSource:
    if not spec:
        raise SourceError(f"no source given; {_ALLOWED}")
    if spec == "demo":
        return open_demo(options)
    device = camera_device(spec)
    if device is not None:
        return CameraSource(device, options)
    if "://" in spec:
        scheme = spec.split("://", 1)[0].lower()
        if scheme == "csi":
            return PiCamera(number_of(spec), options)
        if scheme == "jetson":
            return JetsonCamera(number_of(spec), options)
        if scheme not in NETWORK_SCHEMES:
            raise SourceError(f"{scheme}:// is not a source that can be opened; {_ALLOWED}")
        return MediaSource.network(spec, options)
    path = Path(spec).expanduser()
    return FolderSource(path, options) if path.is_dir() else MediaSource.file(path, options)


_ALLOWED = (
    "use demo, a camera number, /dev/videoN, a file, a folder, rtsp://…, http://…, csi://N or jetson://N"
)


def camera_device(spec: str) -> str | None:
    """`/dev/videoN` for a camera's number or device path, None for anything else."""
    if spec.isascii() and spec.isdigit():
        if int(spec) > MAX_CAMERA_NUMBER:
            raise SourceError(f"there is no camera number {spec[:20]}; they go from 0 to {MAX_CAMERA_NUMBER}")
        return f"/dev/video{int(spec)}"
    return spec if spec.startswith("/dev/video") else None
