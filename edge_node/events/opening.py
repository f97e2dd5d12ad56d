"""From the settings to a desk with its receivers, and the rules on what may go where."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from urllib.parse import urlsplit

from edge_node.config import MqttSettings, NodeSettings
from edge_node.errors import ConfigError
from edge_node.events.changes import Changes, Patience
from edge_node.events.desk import NoticeDesk
from edge_node.events.discovery import Topics
from edge_node.events.mqtt import Broker, MqttSender
from edge_node.events.notices import Present
from edge_node.events.outbox import Outbox
from edge_node.events.webhook import Webhook
from edge_node.reporting import software_version
from edge_node.secret_file import read_secret

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def open_desk(
    settings: NodeSettings,
    camera_up: Callable[[], bool],
    hub_up: Callable[[], bool],
    call: Callable[..., None],
) -> NoticeDesk | None:
    """None where nobody is to be told. Raises ConfigError."""
    if not settings.mqtt.host and not settings.webhook.url:
        return None
    events = settings.events
    patience = Patience(events.stranger_after_s, events.gone_after_s)
    changes = Changes(patience, has_hub=settings.hub.enabled)
    desk = NoticeDesk(settings.name, changes, camera_up, hub_up, call)
    receivers: list[MqttSender | Webhook] = []
    if settings.mqtt.host:
        receivers.append(_open_mqtt(settings, lambda: desk.present))
    if settings.webhook.url:
        receivers.append(_open_webhook(settings))
    desk.receivers = receivers
    return desk


def _open_webhook(settings: NodeSettings) -> Webhook:
    url, names = settings.webhook.url, settings.events.names
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError("webhook.url must be an address such as https://example.org/notices")
    if names and parts.scheme == "http" and host not in LOOPBACK:
        raise ConfigError("events.names = true needs webhook.url with https://, or names travel in the clear")
    secret = read_secret(settings.webhook.secret_file, "webhook.secret_file")
    return Webhook(url, secret.encode(), names, Outbox())


def _open_mqtt(settings: NodeSettings, present: Callable[[], Present]) -> MqttSender:
    mqtt, names = settings.mqtt, settings.events.names
    if names and not mqtt.tls and mqtt.host not in LOOPBACK:
        raise ConfigError("events.names = true needs mqtt.tls = true, or names travel in the clear")
    broker = Broker(
        mqtt.host, mqtt.port, _tls(mqtt), mqtt.user,
        read_secret(mqtt.password_file, "mqtt.password_file"), mqtt.discovery,
    )  # fmt: skip
    return MqttSender(broker, Topics(mqtt.topic, settings.name), software_version(), names, Outbox(), present)


def _tls(mqtt: MqttSettings) -> ssl.SSLContext | None:
    if not mqtt.tls:
        return None
    try:
        return ssl.create_default_context(cafile=mqtt.ca or None)
    except (OSError, ssl.SSLError) as exc:
        reason = exc.strerror or "no certificate in PEM"
        raise ConfigError(f"mqtt.ca: {mqtt.ca} cannot be used: {reason}") from exc
