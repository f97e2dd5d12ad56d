"""Looks to verdicts, with an embedder that reads the color of a crop."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hub.embedding.port import Embeddings, ModelManifest
from hub.evidence import EvidenceSettings
from hub.gallery import Gallery
from hub.policy import LiveConsent, PolicySettings, Verdict
from hub.recognizer import Look, Recognizer, RejectedLook
from vision.crops import FaceCrop, encode_crop

POINTS = np.array([(90, 90), (140, 90), (115, 120), (95, 150), (135, 150)], np.float32)
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


class ColorEmbedder:
    """(N, 3): the mean color as a direction."""

    manifest = ModelManifest("color", 3, "", "", 0.9, 0.1, "by eye")

    def embed(self, crops: Sequence[FaceCrop]) -> Embeddings:
        if not crops:
            return np.zeros((0, 3), np.float32)
        colors = np.array([c.image_rgb.reshape(-1, 3).mean(axis=0) for c in crops], np.float32)
        return colors / np.linalg.norm(colors, axis=1, keepdims=True)


def jpeg(color: tuple[int, int, int]) -> bytes:
    return encode_crop(FaceCrop(np.full((224, 224, 3), color, np.uint8), POINTS))


def look(color: tuple[int, int, int], track: int = 1, session: bytes = bytes(16)) -> Look:
    points = tuple((float(x), float(y)) for x, y in POINTS)
    return Look("door", session, track, jpeg(color), points, 0.9, 0.0)  # type: ignore[arg-type]


def consents(*identities: str) -> dict[str, LiveConsent]:
    return {i: LiveConsent(i, i.title(), frozenset(), None) for i in identities}


def gallery(version: int = 1, *extra: tuple[str, tuple[float, ...]]) -> Gallery:
    rows = [("ada", (1.0, 0.0, 0.0)), *extra]
    return Gallery(version, 3, [n for n, _ in rows], np.array([v for _, v in rows], np.float32))


def recognizer() -> Recognizer:
    return Recognizer(
        ColorEmbedder(), gallery(), consents("ada"), EvidenceSettings(0.9, 0.1), PolicySettings(),
        wall=lambda: 0.0,
    )  # fmt: skip


def reveals(r: Recognizer, *looks: Look) -> list[bool]:
    return [isinstance(v, Verdict) and v.reveal for v in r.recognize(looks)]


def test_two_looks_at_an_enrolled_person_reveal_her() -> None:
    r = recognizer()
    assert reveals(r, look(RED)) == [False]
    (verdict,) = r.recognize([look(RED)])
    assert isinstance(verdict, Verdict)
    assert (verdict.reveal, verdict.identity, verdict.name) == (True, "ada", "Ada")
    assert r.shown("ada") == [("door", bytes(16), 1)]


def test_a_stranger_stays_veiled() -> None:
    assert reveals(recognizer(), *[look(GREEN)] * 5) == [False] * 5


def test_bytes_that_are_no_crop_are_rejected_and_the_others_answered() -> None:
    bad = Look("door", bytes(16), 1, b"junk", look(RED).landmarks, 0.9, 0.0)
    r = recognizer()
    results = r.recognize([look(RED), bad, look(RED)])
    assert isinstance(results[1], RejectedLook)
    assert isinstance(results[2], Verdict)
    assert results[2].reveal


def test_a_withdrawn_consent_names_the_tracks_to_revoke_and_veils_from_then_on() -> None:
    r = recognizer()
    r.recognize([look(RED), look(RED)])
    assert r.replace_gallery(gallery(2), {}) == [("door", bytes(16), 1)]
    assert reveals(r, look(RED), look(RED)) == [False, False]


def test_a_changed_consent_is_proven_anew() -> None:
    r = recognizer()
    r.recognize([look(RED), look(RED)])
    elsewhere = {"ada": LiveConsent("ada", "Ada", frozenset({"yard"}), None)}
    assert r.replace_gallery(gallery(2), elsewhere) == [("door", bytes(16), 1)]


def test_an_unchanged_consent_keeps_the_reveal() -> None:
    r = recognizer()
    r.recognize([look(RED), look(RED)])
    assert r.replace_gallery(gallery(2), consents("ada")) == []
    assert reveals(r, look(RED)) == [True]


def test_when_people_change_every_track_is_proven_anew() -> None:
    r = recognizer()
    r.recognize([look(RED), look(RED)])
    r.replace_gallery(gallery(2, ("bea", (0.0, 1.0, 0.0))), consents("ada", "bea"))
    assert reveals(r, look(RED)) == [False]
    assert reveals(r, look(RED)) == [True]


def test_a_new_session_inherits_nothing() -> None:
    r = recognizer()
    r.recognize([look(RED), look(RED)])
    r.forget_session("door", bytes(16))
    assert reveals(r, look(RED)) == [False]


def test_the_nearest_other_person_is_found_for_enrolment() -> None:
    r = recognizer()
    red = np.array([[1, 0, 0]], np.float32)
    nearest = r.nearest(red)
    assert nearest is not None
    assert nearest.identity == "ada"
    assert r.nearest(red, besides="ada") is None
