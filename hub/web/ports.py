"""What the pages about cameras, people and the log may ask of the hub. Filled in by `hub.service`.

Every function is called in the hub's event loop and returns at once, unless it is awaited.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hub.audit.files import AuditFiles
from hub.audit.reveals import Shown
from hub.embedding.port import ModelManifest
from hub.live import Live
from hub.nodes import NodeBook, PaceBook
from protocol.keys import Peer
from protocol.messages import AnyMessage, Request


@dataclass(frozen=True, slots=True, kw_only=True)
class PagePorts:
    """The hub, as far as these pages are concerned."""

    ask: Callable[[Peer, Request, Sequence[bytes]], Awaitable[AnyMessage]]
    """What an admin's key may ask over the wire, recorded under the peer's name. Raises DeclinedError."""
    nodes: NodeBook
    pace: PaceBook
    live: Callable[[], Live]
    """Whose consents hold now."""
    shown: Callable[[], Sequence[Shown]]
    """Whom cameras may be showing at this moment."""
    names: Callable[[], Awaitable[Mapping[str, str]]]
    """Names by identity, of everyone who is enrolled. Raises StoreError."""
    notice: Callable[[str], str]
    """What a camera's page is told by the hub; empty where nothing is."""
    mode_of: Callable[[str], str]
    manifest: ModelManifest
    audit_files: AuditFiles
    public_key: Ed25519PublicKey
    """That signs receipts, the log and tickets."""
    hub_key: str
    """The public key of the line to nodes, as in hub.pub."""
    address: Callable[[], str]
    """Where nodes connect."""
    clock: Callable[[], float]
    """Monotonic seconds."""
    started: float
    """On that clock."""
