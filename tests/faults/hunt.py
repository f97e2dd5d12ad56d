"""Lives through faults with one guard removed, and says what gave the mutant away.

The guard is removed while its module is imported: nothing is written to disk. Modules are imported
once, so each mutant lives in a process of its own: `python -m tests.faults.hunt NAME`, or `caught(mutant)`
from tests and the benchmark.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from types import CodeType, ModuleType

from tests.faults.mutants import MUTANTS, ROOT, Edit, Mutant

SEEDS = 8
"""Runs of each scenario before a mutant counts as not caught."""
NOT_CAUGHT = 3
"""Exit status, unlike that of a Python that failed."""


class HuntError(RuntimeError):
    """The process of a mutant ended without a verdict."""


class _Patcher(importlib.abc.MetaPathFinder, importlib.machinery.SourceFileLoader):
    """Finds one module, and loads it from the edited source."""

    def __init__(self, edits: list[Edit]) -> None:
        """All edits of one module."""
        self._source = edits[0].path.read_text()
        for edit in edits:
            self._source = edit.applied(self._source)
        super().__init__(edits[0].module, str(edits[0].path))

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.util.spec_from_loader(fullname, self) if fullname == self.name else None

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._source, self.path, "exec")


def caught(mutant: Mutant) -> str | None:
    """Hunt in a process of its own: what gave the mutant away; None where nothing did.

    Raises HuntError where the process failed, ValueError (through it) where the guard has moved.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.hunt", mutant.name],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode not in (0, NOT_CAUGHT):
        raise HuntError(f"{mutant.name}: {done.stderr.strip()}")
    return done.stdout.strip() if done.returncode == 0 else None


def hunt(mutant: Mutant, seeds: int = SEEDS) -> str | None:
    """What gave the mutant away; None where nothing did. To be called once in a fresh process."""
    for module in {edit.module for edit in mutant.edits}:
        if module in sys.modules:
            raise ValueError(f"{module} is imported already: the mutant would not be seen")
        sys.meta_path.insert(0, _Patcher([edit for edit in mutant.edits if edit.module == module]))
    from tests.faults.scenarios import plot_of
    from tests.faults.simulation import run

    for seed in range(seeds):
        for name in mutant.scenarios:
            tally = run(name, plot_of(name, seed), seed).tally
            if tally.leaks:
                return f"{name}, seed {seed}: {len(tally.leaks)} leaks, {tally.leaks[0].kind}"
            if tally.faults:
                return f"{name}, seed {seed}: {tally.faults[0]}"
    return None


def main(name: str) -> int:
    import cv2

    cv2.setNumThreads(1)
    found = hunt(next(m for m in MUTANTS if m.name == name))
    print(found or "not caught")
    return 0 if found else NOT_CAUGHT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
