"""A guard that is gone is noticed. The full hunt is `python -m benchmarks faults`; here are quick ones."""

from __future__ import annotations

import pytest

from tests.faults.hunt import caught
from tests.faults.mutants import MUTANTS, Mutant
from tests.faults.scenarios import SCENARIOS

QUICK = (
    "unasked answers count",
    "leases do not expire",
    "revocations are not heard",
    "the veil is too small",
)


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.name in QUICK], ids=lambda m: m.name)
def test_the_simulation_notices_that_a_guard_is_gone(mutant: Mutant) -> None:
    assert caught(mutant)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_every_guard_is_where_its_mutant_expects_it(mutant: Mutant) -> None:
    for edit in mutant.edits:
        compile(edit.source(), str(edit.path), "exec")
    assert set(mutant.scenarios) <= set(SCENARIOS)


def test_mutants_have_names_of_their_own() -> None:
    names = [m.name for m in MUTANTS]
    assert len(set(names)) == len(names)
    assert set(QUICK) <= set(names)
