"""Where a process's resident memory lies: allocated or of files, and in which mappings. [I/O]

Reads the kernel's tables (proc(5)), Linux only. Used by `benchmarks.node`, which tells what grew.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

LEAST_MB = 0.5
"""Growth that is not worth a line."""

_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \d+\s*(.*)$")


@dataclass(frozen=True, slots=True)
class Resident:
    """Of one process, in MB."""

    rss_mb: float
    anonymous_mb: float
    """What it has allocated."""
    file_mb: float
    """Pages of libraries and models, once they have been touched: the system can drop and read them again."""


def resident(pid: int) -> Resident:
    """Raises OSError where there is no such process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    kb = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith(" kB")}
    return Resident(*(kb[name] / 1024 for name in ("VmRSS", "RssAnon", "RssFile")))


def by_mapping(pid: int) -> dict[str, float]:
    """Resident MB: of the heap, stacks of threads, what else is allocated ("mapped": the C library's further
    arenas, large blocks and Python's own, which the kernel joins where they touch), each file by its name."""
    return grouped(Path(f"/proc/{pid}/smaps").read_text().splitlines())


def grouped(smaps: Iterable[str]) -> dict[str, float]:
    """The same of the lines of a smaps file."""
    total_mb: dict[str, float] = {}
    name, guard_end = "", 0
    for line in smaps:
        if found := _MAPPING.match(line):
            begin, end, access = int(found[1], 16), int(found[2], 16), found[3]
            name = _kind(found[4], is_guarded=begin == guard_end)
            guard_end = end if access == "---p" and not found[4] else 0
        elif line.startswith("Rss:"):
            total_mb[name] = total_mb.get(name, 0.0) + int(line.split()[1]) / 1024
    return total_mb


def growth(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """MB by what grew or shrank by at least LEAST_MB, the most first."""
    change = {name: round(after.get(name, 0.0) - before.get(name, 0.0), 1) for name in before | after}
    return dict(sorted(((k, v) for k, v in change.items() if abs(v) >= LEAST_MB), key=lambda item: -item[1]))


def _kind(path: str, is_guarded: bool) -> str:
    if path.startswith("/"):
        return Path(path).name
    if path == "[heap]":
        return "heap"
    if path:
        return "of the kernel"
    # A thread's stack lies on a page that nobody may touch.
    return "stacks" if is_guarded else "mapped"
