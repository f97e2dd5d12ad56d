"""From looks to verdicts: decode, embed, identify, weigh, decide. Blocking.

The three stages of `hub.batcher`: `prepare` and `infer` may run in several threads and touch nothing but the
model; everything else belongs to the one thread of `judge`: evidence, the current gallery and the live
consents. Crops and probes of strangers are dropped with the track's evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hub.embedding.port import Aligned, Embedder, Embeddings, staged
from hub.evidence import EvidenceBook, EvidenceSettings, Foreseen, Probe, TrackKey
from hub.gallery import Candidate, Gallery
from hub.policy import LiveConsent, PolicySettings, Verdict, decide
from hub.visitors import VisitorBook
from protocol.messages import Landmarks
from vision.crops import FaceCrop, decode_crop
from vision.errors import CropError

RIVAL_REASON = "another face of this camera is more like this person"
ALIKE = 1e-6
"""Similarities closer than this differ by rounding alone: who was shown first is shown on."""


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
        self._model = staged(embedder)
        self._gallery = gallery
        self._consents = dict(consents)
        self._evidence = EvidenceBook(evidence, len(gallery.identities))
        self._policy = policy
        self._wall = wall

    @property
    def gallery(self) -> Gallery:
        return self._gallery

    @property
    def lanes(self) -> int:
        """Batches that the model computes at once."""
        return self._model.lanes

    def recognize(self, looks: Sequence[Look]) -> list[Verdict | RejectedLook]:
        """A verdict for each look, in order: all stages, one after the other."""
        return self.judge(looks, self.infer([self.prepare(look) for look in looks]))

    def prepare(self, look: Look) -> Aligned | RejectedLook:
        """What the network is given. In any thread."""
        try:
            crop = decode_crop(look.crop_jpeg, np.array(look.landmarks, np.float32))
        except CropError as exc:
            return RejectedLook(str(exc))
        return self._model.align(crop)

    def infer(self, prepared: Sequence[Aligned | RejectedLook]) -> list[Probe | RejectedLook]:
        """The network, for those that were not rejected. In as many threads as there are lanes."""
        faces = [p for p in prepared if not isinstance(p, RejectedLook)]
        probes = iter(self._model.infer(faces) if faces else ())
        return [p if isinstance(p, RejectedLook) else next(probes) for p in prepared]

    def judge(
        self, looks: Sequence[Look], inferred: Sequence[Probe | RejectedLook]
    ) -> list[Verdict | RejectedLook]:
        """A verdict for each look, in order. `Verdict.ousted` names tracks to revoke."""
        # One search for the whole batch: for each look, and for what it will say with those before it.
        known = [(k, p) for k, p in zip(looks, inferred, strict=True) if not isinstance(p, RejectedLook)]
        foreseen = self._evidence.foresee([(look.key, probe, look.quality) for look, probe in known])
        fused = [f for f in foreseen if f is not None]
        found = self._search([probe for _, probe in known] + [f.probe for f in fused])
        candidates = iter(found[: len(known)])
        for f, those in zip(fused, found[len(known) :], strict=True):
            f.candidates = those
        futures = iter(foreseen)
        results: list[Verdict | RejectedLook] = []
        for i, (look, probe) in enumerate(zip(looks, inferred, strict=True)):
            if isinstance(probe, RejectedLook):
                results.append(probe)
                continue
            verdict = self._judge(look, probe, next(candidates), next(futures))
            for j, before in enumerate(looks[:i] if verdict.ousted else ()):
                # What this batch has granted so far is not on its way yet: it is taken back here.
                is_ousted = before.key[:2] == look.key[:2] and before.track in verdict.ousted
                if is_ousted and not isinstance(results[j], RejectedLook):
                    results[j] = Verdict.veil(RIVAL_REASON)
            results.append(verdict)
        return results

    def embed_photos(self, crops: Sequence[FaceCrop]) -> Embeddings:
        """(N, D) embeddings for enrolment."""
        return self._model.embed(crops)

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

    def _search(self, probes: Sequence[Probe]) -> list[list[Candidate]]:
        """Of each probe whom it is closest to."""
        return self._gallery.identify(np.concatenate(probes).reshape(len(probes), -1), 2) if probes else []

    def _judge(
        self, look: Look, probe: Probe, candidates: list[Candidate], foreseen: Foreseen | None
    ) -> Verdict:
        finding = self._evidence.look(
            look.key, probe, look.quality, look.now,
            # What was not foreseen: a second look at one track in a batch, one that contradicts those before.
            lambda p: candidates if p is probe else self._gallery.identify(p[None], 2)[0],
            foreseen,
        )  # fmt: skip
        if self._visitors is not None:
            self._visitors.take(look.key, probe, look.quality, bool(finding.identity), look.now)
        verdict = decide(
            finding, self._consents, look.node, self._policy, self._wall(),
            self._gallery.version, self._evidence.threshold,
        )  # fmt: skip
        return self._alone(look, verdict) if verdict.reveal and verdict.identity else verdict

    def _alone(self, look: Look, verdict: Verdict) -> Verdict:
        """Of several faces of one camera that pass as one person, only the most similar is shown."""
        rivals = self._evidence.rivals(look.key, self._policy.lease_s)
        if any(similarity >= verdict.similarity - ALIKE for _, similarity in rivals):
            self._evidence.unprove(look.key)
            return Verdict.veil(RIVAL_REASON)
        for key, _ in rivals:
            self._evidence.unprove(key)
        return replace(verdict, ousted=tuple(key[2] for key, _ in rivals)) if rivals else verdict
