"""The table of all benchmarks: goals by the right bound, gaps shown as gaps."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks import __main__ as benches
from benchmarks.summary import GOALS, table, write


def test_every_goal_belongs_to_a_benchmark_that_exists() -> None:
    assert set(GOALS) <= set(benches.NAMES)


def test_each_goal_is_met_missed_or_not_measured(tmp_path: Path) -> None:
    write(tmp_path, "hub", {"wire_to_bare_lo": 0.91, "p99_ms_200_nodes_hi": 51.0, "fairness_lo": None})
    rows = table(tmp_path).splitlines()
    assert "| hub | `wire_to_bare_lo` | 0.91 | ≥ 0.9 | met |" in rows
    assert "| hub | `p99_ms_200_nodes_hi` | 51.0 | ≤ 50 | missed |" in rows
    assert "| hub | `fairness_lo` | – | ≥ 0.8 | not measured |" in rows
    assert "| gallery | `erase_ms` | – | ≤ 10 | not measured |" in rows


def _bench(monkeypatch: pytest.MonkeyPatch, name: str, fails: bool) -> None:
    module = ModuleType(f"benchmarks.{name}", "A stand-in.")

    def measure(quick: bool = False) -> dict[str, object]:
        if fails:
            raise OSError("no disk")
        return {"quick_was": quick}

    module.measure = measure  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, f"benchmarks.{name}", module)


def test_one_that_fails_costs_the_others_nothing_but_the_exit_status(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(benches, "NAMES", ("audit", "embed"))
    _bench(monkeypatch, "audit", fails=True)
    _bench(monkeypatch, "embed", fails=False)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "all", "--quick", "--results", str(tmp_path)])
    assert benches.main() == 1
    assert json.loads((tmp_path / "audit.json").read_text())["failed"] == "OSError: no disk"
    kept = json.loads((tmp_path / "embed.json").read_text())
    assert kept["quick_was"] is True
    assert kept["quick"] is True
    assert kept["machine"]["cores"]
    assert (tmp_path / "summary.md").is_file()
