"""Open-set search as the hub decides it: 300 people enrolled with one photo each, and 1,500 strangers.

Every look goes through the gallery and `hub.evidence`, at the threshold and margin that ship. A single look
is judged alone (1 of 1); fused are five looks of a person as one track (K of N as shipped). People are drawn
anew several times, and so is the photo that is enrolled. Called by `benchmarks.recognition`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from benchmarks.lfw import Faces, person_of, quality_of_photo
from hub.evidence import EvidenceBook, EvidenceSettings
from hub.gallery import Gallery

FUSED = 5
SESSION = bytes(16)


@dataclass(slots=True)
class Tally:
    """Shares, as counts."""

    strangers: int = 0
    strangers_named: int = 0
    strangers_fused: int = 0
    strangers_fused_named: int = 0
    looks: int = 0
    missed: int = 0
    wrong: int = 0
    same_looks: int = 0
    """Single looks of those people who are fused, too."""
    same_missed: int = 0
    fused: int = 0
    fused_missed: int = 0
    fused_wrong: int = 0

    def shares(self) -> dict[str, float]:
        """FPIR and FNIR of single looks and of fused ones."""
        return {
            "fpir": _share(self.strangers_named, self.strangers),
            "fpir_fused": _share(self.strangers_fused_named, self.strangers_fused),
            "fnir_single": _share(self.same_missed, self.same_looks),
            "fnir_single_everyone": _share(self.missed, self.looks),
            "fnir_fused": _share(self.fused_missed, self.fused),
            "wrong_name": _share(self.wrong, self.looks),
            "wrong_name_fused": _share(self.fused_wrong, self.fused),
            "strangers": float(self.strangers),
            "looks": float(self.looks),
            "fused": float(self.fused),
        }


@dataclass(frozen=True, slots=True)
class Searches:
    """The people to draw from and how to judge."""

    faces: Faces
    settings: EvidenceSettings
    enrolled: int = 300
    strangers: int = 1_500
    tally: Tally = field(default_factory=Tally)

    def run(self, people: Sequence[str], draws: int, seed: int = 1) -> Tally:
        """Draw galleries and strangers from `people`. Those with photos for fusing are enrolled first."""
        random = np.random.default_rng(seed)
        photos = self.faces.of(people)
        many = [p for p, own in photos.items() if len(own) > FUSED][: self.enrolled]
        several = [p for p, own in photos.items() if 1 < len(own) <= FUSED]
        for _ in range(draws):
            drawn = random.choice(several, min(len(several), self.enrolled - len(many)), replace=False)
            enrolled = [*many, *(str(p) for p in drawn)]
            others = [p for p in photos if p not in set(enrolled)]
            chosen = random.choice(others, min(len(others), self.strangers), replace=False)
            shuffled = {p: [str(x) for x in random.permutation(photos[p])] for p in enrolled}
            self._search(shuffled, [photos[str(p)] for p in chosen])
        return self.tally

    def _search(self, enrolled: dict[str, list[str]], strangers: list[list[str]]) -> None:
        tally, vectors = self.tally, self.faces.vectors
        templates = np.stack([vectors[own[0]] for own in enrolled.values()])
        gallery = Gallery(1, templates.shape[1], list(enrolled), templates)
        for own in strangers:
            tally.strangers += 1
            tally.strangers_named += bool(self._judge(gallery, own[:1], is_single=True))
            if len(own) > 1:
                tally.strangers_fused += 1
                tally.strangers_fused_named += bool(self._judge(gallery, own[:FUSED]))
        for person, own in enrolled.items():
            named = [self._judge(gallery, [photo], is_single=True) for photo in own[1:]]
            missed = sum(name != person for name in named)
            tally.looks += len(named)
            tally.missed += missed
            tally.wrong += sum(name not in ("", person) for name in named)
            if len(own) > FUSED:
                fused = self._judge(gallery, own[1 : 1 + FUSED])
                tally.same_looks += len(named)
                tally.same_missed += missed
                tally.fused += 1
                tally.fused_missed += fused != person
                tally.fused_wrong += fused not in ("", person)

    def _judge(self, gallery: Gallery, looks: list[str], is_single: bool = False) -> str:
        """Who a track with these looks is at its end."""
        settings = replace(self.settings, k=1, n=1) if is_single else self.settings
        book = EvidenceBook(settings, len(gallery.identities))
        name = ""
        for number, photo in enumerate(looks):
            quality = 1.0 if is_single else quality_of_photo(photo)
            name = book.look(
                ("camera", SESSION, 1), self.faces.vectors[photo], quality, 0.3 * number,
                lambda probe: gallery.identify(probe[None], 2)[0],
            ).identity  # fmt: skip
        return name


def everyone(faces: Faces) -> list[str]:
    """All people, in order."""
    return sorted({person_of(photo) for photo in faces.vectors})


def _share(count: int, of: int) -> float:
    return round(count / of, 5) if of else 0.0
