"""Every setting of a hub. `deploy/hub.toml` documents each one; a test compares the two.

Read once at start by `protocol.settings.load_settings`, which refuses unknown keys and bad values.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from hub.server import ServerSettings
from hub.signing import SIGNING_KEY_FILE
from protocol.errors import SettingsError

Mode = Literal["reveal-consented", "veil-protected", "veil-all"]
CameraName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")]


class NetworkSettings(Struct, frozen=True, forbid_unknown_fields=True):
    listen: str = "tcp://127.0.0.1:5570"
    max_peers: Annotated[int, Meta(ge=1, le=4096)] = 64
    max_in_flight: Annotated[int, Meta(ge=1, le=1024)] = 32
    heartbeat_s: Annotated[float, Meta(ge=0.1, le=60.0)] = 1.0
    liveness: Annotated[int, Meta(ge=2, le=100)] = 3


class RecognitionSettings(Struct, frozen=True, forbid_unknown_fields=True):
    model: Literal["auto", "dlib-resnet", "vggface2-resnet50"] = "auto"
    precision: Literal["auto", "fp32", "fp16", "int8"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[int, Meta(ge=0, le=64)] = 0
    max_batch: Annotated[int, Meta(ge=1, le=256)] = 16
    max_age_ms: Annotated[float, Meta(ge=0.0, le=1_000.0)] = 10.0
    max_waiting: Annotated[int, Meta(ge=1, le=4096)] = 256


class DecisionSettings(Struct, frozen=True, forbid_unknown_fields=True):
    looks_needed: Annotated[int, Meta(ge=1, le=16)] = 2
    looks_kept: Annotated[int, Meta(ge=1, le=16)] = 5
    lease_s: Annotated[float, Meta(ge=0.5, le=10.0)] = 3.0

    def __post_init__(self) -> None:
        if self.looks_needed > self.looks_kept:
            raise ValueError(
                f"decisions.looks_needed = {self.looks_needed} is more than "
                f"decisions.looks_kept = {self.looks_kept}"
            )


class AuditSettings(Struct, frozen=True, forbid_unknown_fields=True):
    keep_days: Annotated[float, Meta(ge=0.0, le=36_500.0)] = 0.0


class WebSettings(Struct, frozen=True, forbid_unknown_fields=True):
    enabled: bool = True
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8443
    tls: bool = True
    tls_cert: str = ""
    tls_key: str = ""
    names: tuple[Annotated[str, Meta(min_length=1, max_length=253)], ...] = ()
    session_idle_s: Annotated[float, Meta(ge=60.0, le=604_800.0)] = 3_600.0
    session_longest_s: Annotated[float, Meta(ge=300.0, le=2_592_000.0)] = 43_200.0
    ticket_s: Annotated[float, Meta(ge=10.0, le=600.0)] = 300.0


class CameraSettings(Struct, frozen=True, forbid_unknown_fields=True):
    default_mode: Mode = "reveal-consented"
    modes: dict[CameraName, Mode] = {}

    def mode_of(self, camera: str) -> Mode:
        """The mode of a camera; a camera is a node's name."""
        return self.modes.get(camera, self.default_mode)


class HubSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file: one table per part."""

    state: Annotated[str, Meta(min_length=1)] = "var/hub"
    server: NetworkSettings = NetworkSettings()
    recognition: RecognitionSettings = RecognitionSettings()
    decisions: DecisionSettings = DecisionSettings()
    cameras: CameraSettings = CameraSettings()
    audit: AuditSettings = AuditSettings()
    web: WebSettings = WebSettings()

    def with_options(self, state: str | None, listen: str | None) -> HubSettings:
        """The same with what a command line says instead."""
        settings = self
        if state is not None:
            settings = replace(settings, state=state)
        if listen is not None:
            settings = replace(settings, server=replace(settings.server, listen=listen))
        return settings

    def with_web(self, where: str | None) -> HubSettings:
        """The same with the pages at HOST:PORT, or "off". Raises SettingsError."""
        if where is None:
            return self
        if where == "off":
            return replace(self, web=replace(self.web, enabled=False))
        host, colon, port = where.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535:
            raise SettingsError(f"--web {where}: write HOST:PORT (127.0.0.1:8443), or off")
        return replace(self, web=replace(self.web, enabled=True, host=host, port=int(port)))

    @property
    def files(self) -> StateFiles:
        return StateFiles(Path(self.state))

    @property
    def for_server(self) -> ServerSettings:
        network = self.server
        return ServerSettings(
            network.listen,
            network.max_peers,
            network.max_in_flight,
            network.heartbeat_s,
            network.liveness,
        )


class StateFiles(Struct, frozen=True):
    """Where a hub keeps what it must not lose."""

    folder: Path

    @property
    def key(self) -> Path:
        return self.folder / "hub.key"

    @property
    def public_key(self) -> Path:
        return self.folder / "hub.pub"

    @property
    def allow_list(self) -> Path:
        return self.folder / "authorized"

    @property
    def calibration(self) -> Path:
        return self.folder / "calibration.json"

    @property
    def people(self) -> Path:
        return self.folder / "people.db"

    @property
    def signing_key(self) -> Path:
        return self.folder / SIGNING_KEY_FILE
