"""Every setting of a node. `deploy/node.toml` documents each one; a test compares the two.

Read once at start by `protocol.settings.load_settings`, which refuses unknown keys and bad values.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from edge_node.privacy.release import ReleaseSettings as BufferSettings
from protocol.messages import WebAddress

Milliseconds = Annotated[float, Meta(ge=0.0, le=10_000.0)]
Unit = Annotated[float, Meta(ge=0.0, le=1.0)]
Seconds = Annotated[float, Meta(ge=0.0, le=60.0)]


class SourceSettings(Struct, frozen=True, forbid_unknown_fields=True):
    spec: str = "demo"
    once: bool = False
    rotate: Literal[0, 90, 180, 270] = 0
    transport: Literal["tcp", "udp"] = "tcp"
    width: Annotated[int, Meta(ge=160, le=7680)] = 1280
    height: Annotated[int, Meta(ge=120, le=4320)] = 720
    fps: Annotated[float, Meta(ge=1.0, le=120.0)] = 25.0


class DetectSettings(Struct, frozen=True, forbid_unknown_fields=True):
    min_face_px: Annotated[int, Meta(ge=12, le=400)] = 32
    min_score: Unit = 0.6
    trust_score: Unit = 0.9
    scan_every_ms: Milliseconds = 120.0
    scan_still_ms: Milliseconds = 400.0
    veil_detector: Literal["auto", "centerface", "off"] = "auto"
    veil_width_px: Annotated[int, Meta(ge=160, le=1920)] = 448
    runtime: Literal["auto", "openvino", "onnxruntime"] = "auto"
    threads: Annotated[int, Meta(ge=0, le=64)] = 0


class TrackSettings(Struct, frozen=True, forbid_unknown_fields=True):
    coast_ms: Milliseconds = 1000.0
    backfill_ms: Milliseconds = 600.0


class LivenessSettings(Struct, frozen=True, forbid_unknown_fields=True):
    enabled: bool = True
    limit: Annotated[float, Meta(ge=0.3, le=0.95)] = 0.6


class ReleaseSettings(Struct, frozen=True, forbid_unknown_fields=True):
    max_delay_ms: Annotated[float, Meta(ge=50.0, le=5_000.0)] = 500.0
    lookback_ms: Milliseconds = 60.0
    max_gap_ms: Annotated[float, Meta(ge=20.0, le=5_000.0)] = 250.0
    lookback_analyses: Annotated[float, Meta(ge=0.0, le=5.0)] = 1.9
    calm_lookback_analyses: Annotated[float, Meta(ge=0.9, le=5.0)] = 0.9

    def of_buffer(self) -> BufferSettings:
        """Those of them that the buffer goes by, in seconds."""
        return BufferSettings(
            max_delay_s=self.max_delay_ms / 1000,
            lookback_s=self.lookback_ms / 1000,
            lookback_analyses=self.lookback_analyses,
            calm_lookback_analyses=self.calm_lookback_analyses,
        )


class VeilSettings(Struct, frozen=True, forbid_unknown_fields=True):
    style: Literal["veil", "solid", "pixelate", "blur"] = "veil"
    allow_weak: bool = False
    growth: Annotated[float, Meta(ge=1.3, le=3.0)] = 1.4
    captions: bool = True

    def __post_init__(self) -> None:
        if self.style in ("pixelate", "blur") and not self.allow_weak:
            raise ValueError(
                f'veil.style = "{self.style}" can be undone by an attacker; '
                "choose veil or solid, or set veil.allow_weak = true"
            )


class HubSettings(Struct, frozen=True, forbid_unknown_fields=True):
    address: str = "tcp://127.0.0.1:5570"
    key: str = "var/node/node.key"
    hub_key: str = "var/node/hub.pub"
    enabled: bool = True


class WebSettings(Struct, frozen=True, forbid_unknown_fields=True):
    enabled: bool = True
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    tls_cert: str = ""
    tls_key: str = ""
    ticket_key: str = ""
    hub_origin: Annotated[str, Meta(max_length=300, pattern=r"^(https?://[A-Za-z0-9.:\[\]-]+)?$")] = ""
    public_url: WebAddress = ""


class RecordSettings(Struct, frozen=True, forbid_unknown_fields=True):
    path: str = ""
    segment_minutes: Annotated[float, Meta(ge=0.1, le=1_440.0)] = 10.0
    keep_days: Annotated[float, Meta(ge=0.0, le=36_500.0)] = 7.0
    keep_gb: Annotated[float, Meta(ge=0.0, le=1_000_000.0)] = 20.0
    min_free_gb: Annotated[float, Meta(ge=0.0, le=1_000_000.0)] = 1.0


class PublishSettings(Struct, frozen=True, forbid_unknown_fields=True):
    url: str = ""
    user: str = ""
    secret_file: str = ""
    max_kbps: Annotated[int, Meta(ge=300, le=20_000)] = 8_000


class EventSettings(Struct, frozen=True, forbid_unknown_fields=True):
    names: bool = False
    stranger_after_s: Annotated[float, Meta(ge=0.5, le=3_600.0)] = 3.0
    gone_after_s: Annotated[float, Meta(ge=0.5, le=3_600.0)] = 5.0


class MqttSettings(Struct, frozen=True, forbid_unknown_fields=True):
    host: str = ""
    port: Annotated[int, Meta(ge=1, le=65535)] = 8883
    tls: bool = True
    ca: str = ""
    user: str = ""
    password_file: str = ""
    topic: Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_/.-]+$")] = "veilcast"
    discovery: Annotated[str, Meta(max_length=128, pattern=r"^[A-Za-z0-9_/.-]*$")] = "homeassistant"


class WebhookSettings(Struct, frozen=True, forbid_unknown_fields=True):
    url: str = ""
    secret_file: str = ""


class NodeSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file: one table per part, in the order of the data."""

    name: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")] = "door"
    source: SourceSettings = SourceSettings()
    detect: DetectSettings = DetectSettings()
    track: TrackSettings = TrackSettings()
    liveness: LivenessSettings = LivenessSettings()
    release: ReleaseSettings = ReleaseSettings()
    veil: VeilSettings = VeilSettings()
    hub: HubSettings = HubSettings()
    web: WebSettings = WebSettings()
    record: RecordSettings = RecordSettings()
    publish: PublishSettings = PublishSettings()
    events: EventSettings = EventSettings()
    mqtt: MqttSettings = MqttSettings()
    webhook: WebhookSettings = WebhookSettings()
