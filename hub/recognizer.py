"""From looks to verdicts: decode, embed, identify, weigh, decide. Blocking.

Called in the one inference thread (`hub.batcher`), which owns everything here: evidence, the current
gallery and the live consents. Crops and probes of strangers are dropped with the track's evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hub.embedding.port import Embedder, Embeddings
from hub.evidence import EvidenceBook, EvidenceSettings, TrackKey
from hub.gallery import Candidate, Gallery
from hub.policy import LiveConsent, PolicySettings, Verdict, decide
from hub.visitors import VisitorBook
from protocol.messages import Landmarks
from vision.crops import FaceCrop, decode_crop
from vision.errors import CropError

RIVAL_REASON = "another face of this camera is more like this person"


@dataclass(frozen=True, slots=True)
class Look:
    """One question of a node."""

    node: str
    session: bytes
    track: int
    crop_jpeg: bytes
    landmarks: Landmarks
    quality: float
    now: float
    """Monotonic seconds at arrival."""

    @property
    def key(self) -> TrackKey:
        return (self.node, self.session, self.track)


@dataclass(frozen=True, slots=True)
class RejectedLook:
    """The crop was none; nothing was learned."""

    reason: str


class Recognizer:
    """`wall` gives UTC epoch seconds, for consents. `visitors` sees every look, and keeps none by default."""

    def __init__(
        self,
        embedder: Embedder,
        gallery: Gallery,
        consents: Mapping[str, LiveConsent],
        evidence: EvidenceSettings,
        policy: PolicySettings,
        wall: Callable[[], float],
        visitors: VisitorBook | None = None,
    ) -> None:
        self._visitors = visitors
        self._embedder = embedder
        self._gallery = gallery
        self._consents = dict(consents)
        self._evidence = EvidenceBook(evidence, len(gallery.identities))
        self._policy = policy
        self._wall = wall

    @property
    def gallery(self) -> Gallery:
        return self._gallery

    def recognize(self, looks: Sequence[Look]) -> list[Verdict | RejectedLook]:
        """A verdict for each look, in order. `Verdict.ousted` names tracks to revoke."""
        crops: list[FaceCrop] = []
        rejected: dict[int, RejectedLook] = {}
        for i, look in enumerate(looks):
            try:
                crops.append(decode_crop(look.crop_jpeg, np.array(look.landmarks, np.float32)))
            except CropError as exc:
                rejected[i] = RejectedLook(str(exc))
        probes = iter(self._embedder.embed(crops))
        results: list[Verdict | RejectedLook] = []
        for i, look in enumerate(looks):
            if i in rejected:
                results.append(rejected[i])
                continue
            verdict = self._judge(look, next(probes)[None])
            for j, before in enumerate(looks[:i]):
                # What this batch has granted so far is not on its way yet: it is taken back here.
                is_ousted = before.key[:2] == look.key[:2] and before.track in verdict.ousted
                if is_ousted and j not in rejected:
                    results[j] = Verdict.veil(RIVAL_REASON)
            results.append(verdict)
        return results

    def embed_photos(self, crops: Sequence[FaceCrop]) -> Embeddings:
        """(N, D) embeddings for enrolment."""
        return self._embedder.embed(crops)

    def nearest(self, embeddings: Embeddings, besides: str = "") -> Candidate | None:
        """The enrolled identity closest to any of the embeddings (N, D), other than `besides`."""
        found = [c for row in self._gallery.identify(embeddings, 2) for c in row if c.identity != besides]
        return max(found, key=lambda c: c.similarity, default=None)

    def replace_gallery(self, gallery: Gallery, consents: Mapping[str, LiveConsent]) -> list[TrackKey]:
        """Take a new snapshot. Returns the tracks whose reveal no longer stands: their identity is gone
        or holds no live consent. If templates changed, every track is proven anew."""
        revoked = [
            key
            for identity in self._consents
            if identity not in consents or consents[identity] != self._consents[identity]
            for key in self._evidence.proven(identity)
        ]
        if gallery.version != self._gallery.version and gallery.identities != self._gallery.identities:
            self._evidence.clear()
        self._gallery = gallery
        self._evidence.people = len(gallery.identities)
        self._consents = dict(consents)
        for key in revoked:
            self._evidence.forget(key)
        return revoked

    def forget_session(self, node: str, session: bytes) -> None:
        """The node has gone; so has what it asked."""
        self._evidence.forget_session(node, session)

    def shown(self, identity: str) -> list[TrackKey]:
        """The tracks that are proven to be this identity."""
        return self._evidence.proven(identity)

    def _judge(self, look: Look, probe: Embeddings) -> Verdict:
        finding = self._evidence.look(
            look.key, probe[0], look.quality, look.now,
            lambda p: self._gallery.identify(p[None], 2)[0],
        )  # fmt: skip
        if self._visitors is not None:
            self._visitors.take(look.key, probe[0], look.quality, bool(finding.identity), look.now)
        verdict = replace(
            decide(finding, self._consents, look.node, self._policy, self._wall()),
            gallery_version=self._gallery.version,
            threshold=self._evidence.threshold,
        )
        return self._alone(look, verdict) if verdict.reveal and verdict.identity else verdict

    def _alone(self, look: Look, verdict: Verdict) -> Verdict:
        """Of several faces of one camera that pass as one person, only the most similar is shown."""
        rivals = self._evidence.rivals(look.key, self._policy.lease_s)
        if any(similarity >= verdict.similarity for _, similarity in rivals):
            self._evidence.unprove(look.key)
            return Verdict.veil(RIVAL_REASON)
        for key, _ in rivals:
            self._evidence.unprove(key)
        return replace(verdict, ousted=tuple(key[2] for key, _ in rivals))
