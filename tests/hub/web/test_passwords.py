"""Which passwords are taken, and how they are kept."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher, extract_parameters

from hub.web.passwords import PasswordError, Passwords, check_new
from tests.hub.web.site import CHEAP, PASSWORD


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("short", "at least 12"),
        ("", "at least 12"),
        ("aaaaaaaaaaaaaaaa", "too easy"),
        ("x" * 2_000, "too long"),
        ("Annabel" * 3, "too easy"),
        ("abababababab", "too easy"),
    ],
)
def test_a_bad_password_is_refused_with_its_reason(password: str, why: str) -> None:
    with pytest.raises(PasswordError, match=why):
        check_new("annabel", password)


def test_several_words_are_taken() -> None:
    check_new("ann", PASSWORD)
    check_new("ann", "ein Vögelchen auf dem Dach")


def test_it_is_kept_as_argon2id_at_the_costs_of_the_rfc() -> None:
    kept = Passwords().hash(PASSWORD)
    assert kept.startswith("$argon2id$")
    costs = extract_parameters(kept)
    assert (costs.memory_cost, costs.time_cost, costs.parallelism) == (65_536, 3, 4)
    assert Passwords().verify(kept, PASSWORD)
    assert not Passwords().verify(kept, PASSWORD + " ")


def test_the_same_password_from_every_keyboard() -> None:
    assert CHEAP.verify(CHEAP.hash("Vögelchen am Dach"), "Vo\u0308gelchen am Dach")


def test_nobody_and_a_damaged_text_are_no_match_and_cost_a_check() -> None:
    class Counting(PasswordHasher):
        checks = 0

        def verify(self, *args: object) -> bool:  # type: ignore[override]
            Counting.checks += 1
            return super().verify(*args)  # type: ignore[arg-type]

    passwords = Passwords(Counting(time_cost=1, memory_cost=8, parallelism=1))
    assert not passwords.verify(None, "nobody has this password"), "not even what the stand-in was made of"
    assert not passwords.verify("nonsense", PASSWORD)
    assert not passwords.verify(passwords.hash(PASSWORD), "x" * 10_000)
    assert Counting.checks == 3


def test_another_cost_is_noticed() -> None:
    assert Passwords().is_outdated(CHEAP.hash(PASSWORD))
    assert not CHEAP.is_outdated(CHEAP.hash(PASSWORD))
