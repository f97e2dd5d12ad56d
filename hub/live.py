"""Who may be shown where at this moment, and whose permission has just ended. Pure.

Values only: `hub.service` keeps the current `Live`, replaces it when people, consents or time change,
and tells nodes what `ended` returns. Times are UTC epoch seconds (`wall`).
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from hub.policy import LiveConsent


@dataclass(frozen=True, slots=True)
class Live:
    """The consents that hold, by identity, and the version of the gallery they belong to."""

    gallery_version: int = 0
    identities: AbstractSet[str] = frozenset()
    """Everyone with templates, consent or not."""
    consents: Mapping[str, LiveConsent] = field(default_factory=dict)

    def permits(self, identity: str, camera: str) -> bool:
        """The identity has a consent for this camera."""
        consent = self.consents.get(identity)
        return consent is not None and (not consent.cameras or camera in consent.cameras)

    def permits_at(self, wall: float, identity: str, camera: str) -> bool:
        """The same, of a consent that has not expired by `wall`."""
        consent = self.consents.get(identity)
        if consent is None or (consent.until is not None and wall >= consent.until):
            return False
        return not consent.cameras or camera in consent.cameras

    def next_expiry(self) -> float:
        """When the next consent ends by itself; infinity where none does."""
        untils = (c.until for c in self.consents.values() if c.until is not None)
        return min(untils, default=float("inf"))

    def at(self, wall: float) -> Live:
        """The same without the consents that have expired by `wall`."""
        holding = {
            identity: consent
            for identity, consent in self.consents.items()
            if consent.until is None or wall < consent.until
        }
        return Live(self.gallery_version, self.identities, holding)


def ended(before: Live, after: Live, camera: str) -> tuple[str, ...]:
    """The identities that could be shown by this camera and no longer can, sorted."""
    return tuple(
        sorted(i for i in before.consents if before.permits(i, camera) and not after.permits(i, camera))
    )
