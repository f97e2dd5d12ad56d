"""Modes, consents, leases."""

from __future__ import annotations

import pytest

from hub.evidence import Finding
from hub.policy import LiveConsent, Mode, PolicySettings, decide

ADA = Finding("ada", 0.97, 0.2)
NOBODY = Finding("", 0.5, 0.1, "not similar enough to anyone", is_stranger=True)


def consent(cameras: tuple[str, ...] = (), until: float | None = None) -> dict[str, LiveConsent]:
    return {"ada": LiveConsent("ada", "Ada", frozenset(cameras), until)}


def test_a_proven_person_with_a_consent_is_shown_for_a_lease() -> None:
    verdict = decide(ADA, consent(), "door", PolicySettings(lease_s=3.0), 0.0)
    assert (verdict.reveal, verdict.lease_s, verdict.identity, verdict.name) == (True, 3.0, "ada", "Ada")


def test_without_a_consent_nobody_is_shown() -> None:
    assert not decide(ADA, {}, "door", PolicySettings(), 0.0).reveal


def test_a_consent_for_other_cameras_does_not_count() -> None:
    assert not decide(ADA, consent(("yard",)), "door", PolicySettings(), 0.0).reveal
    assert decide(ADA, consent(("yard", "door")), "door", PolicySettings(), 0.0).reveal


def test_a_lease_never_outlives_its_consent() -> None:
    verdict = decide(ADA, consent(until=101.0), "door", PolicySettings(lease_s=3.0), 100.0)
    assert verdict.lease_s == pytest.approx(1.0)
    assert not decide(ADA, consent(until=100.0), "door", PolicySettings(), 100.0).reveal


def test_a_stranger_is_veiled_and_learns_nothing() -> None:
    verdict = decide(NOBODY, consent(), "door", PolicySettings(), 0.0)
    assert (verdict.reveal, verdict.identity, verdict.similarity) == (False, "", 0.0)


@pytest.mark.parametrize("finding", [ADA, NOBODY, Finding("")])
def test_veil_all_shows_nobody(finding: Finding) -> None:
    assert not decide(finding, consent(), "door", PolicySettings("veil-all"), 0.0).reveal


def test_veil_protected_shows_whoever_is_proven_not_to_be_listed() -> None:
    settings = PolicySettings("veil-protected")
    assert decide(NOBODY, {}, "door", settings, 0.0).reveal
    assert not decide(ADA, consent(), "door", settings, 0.0).reveal
    assert not decide(Finding("", 0.9, 0.0, "unsure"), {}, "door", settings, 0.0).reveal


@pytest.mark.parametrize(("camera", "mode"), [("door", "veil-all"), ("yard", "reveal-consented")])
def test_each_camera_has_its_mode(camera: str, mode: Mode) -> None:
    assert PolicySettings(modes={"door": "veil-all"}).mode(camera) == mode
