"""From evidence to a decision: the camera's mode, consents, leases. Pure.

Whoever is in doubt is veiled. Times of consents are UTC epoch seconds (`wall`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from hub.evidence import Finding

Mode = Literal["reveal-consented", "veil-protected", "veil-all"]
MIN_LEASE_S = 0.2
"""A shorter lease would end before the node could use it."""


@dataclass(frozen=True, slots=True)
class LiveConsent:
    """A consent that was neither withdrawn nor replaced."""

    identity: str
    name: str
    cameras: frozenset[str]
    """Empty: every camera."""
    until: float | None
    id: str = field(default="", compare=False)
    """For the audit log. Another consent with the same terms is no reason to veil."""


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """Modes by camera, and how long a decision holds."""

    default_mode: Mode = "reveal-consented"
    modes: Mapping[str, Mode] = field(default_factory=dict)
    lease_s: float = 3.0

    def mode(self, camera: str) -> Mode:
        return self.modes.get(camera, self.default_mode)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer about one track."""

    reveal: bool
    lease_s: float
    identity: str
    name: str
    similarity: float
    margin: float
    reason: str
    ousted: tuple[int, ...] = ()
    """Tracks of the same session that were shown as this person and must be veiled now."""
    consent: str = ""
    """Id of the consent that a reveal rests on; empty where it rests on none (veil-protected)."""
    gallery_version: int = 0
    """Of the snapshot that was searched; of reveals only, as is the next."""
    threshold: float = 0.0
    """In force for this decision."""

    @staticmethod
    @lru_cache(maxsize=64)
    def veil(reason: str) -> Verdict:
        return Verdict(False, 0.0, "", "", 0.0, 0.0, reason)


def decide(
    finding: Finding,
    consents: Mapping[str, LiveConsent],
    camera: str,
    settings: PolicySettings,
    wall: float,
    gallery_version: int = 0,
    threshold: float = 0.0,
) -> Verdict:
    """Show or veil a track of a camera. `consents` by identity; version and threshold go with a reveal."""
    mode = settings.mode(camera)
    if mode == "veil-all":
        return Verdict.veil("this camera shows nobody")
    if mode == "veil-protected":
        if not finding.is_stranger:
            return Verdict.veil("not proven to be absent from the list")
        return Verdict(
            True, settings.lease_s, "", "", 0.0, 0.0, "not on the list",
            gallery_version=gallery_version, threshold=threshold,
        )  # fmt: skip
    if not finding.identity:
        return Verdict.veil(finding.reason)
    consent = consents.get(finding.identity)
    if consent is None:
        return Verdict.veil("no live consent")
    if consent.cameras and camera not in consent.cameras:
        return Verdict.veil("no consent for this camera")
    lease_s = settings.lease_s
    if consent.until is not None:
        lease_s = min(lease_s, consent.until - wall)
    if lease_s < MIN_LEASE_S:
        return Verdict.veil("the consent has expired")
    return Verdict(
        True, lease_s, finding.identity, consent.name,
        min(1.0, finding.similarity), min(2.0, max(0.0, finding.margin)), "consented", consent=consent.id,
        gallery_version=gallery_version, threshold=threshold,
    )  # fmt: skip
