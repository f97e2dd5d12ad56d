"""docs/faults.md names every scenario, mutant and real fault, and nothing else."""

from __future__ import annotations

import re

from tests.faults.mutants import MUTANTS, ROOT
from tests.faults.real import FAULTS
from tests.faults.scenarios import SCENARIOS

DOCUMENT = (ROOT / "docs" / "faults.md").read_text()


def rows(title: str) -> list[list[str]]:
    """The cells of the table whose first head is `title`."""
    table = DOCUMENT.split(f"| {title} |", 1)[1].split("\n\n", 1)[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_the_scenarios_are_those_of_the_code() -> None:
    assert [row[0].strip("`") for row in rows("scenario")] == list(SCENARIOS)


def test_the_mutants_are_those_of_the_code() -> None:
    documented = {row[0]: tuple(re.findall(r"`(\w+)`", row[2])) for row in rows("without its guard: …")}
    assert documented == {m.name: m.scenarios for m in MUTANTS}


def test_the_mutants_are_in_the_files_of_the_code() -> None:
    files = {row[0]: re.findall(r"`([\w/.]+)`", row[1]) for row in rows("without its guard: …")}
    assert files == {m.name: [str(m.edits[0].path.relative_to(ROOT))] for m in MUTANTS}


def test_the_real_faults_are_those_of_the_code() -> None:
    assert {row[0].strip("`") for row in rows("fault")} == set(FAULTS)
