"""Runs one benchmark, or all of them. The last line of `--json` is one JSON object."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import summary
from benchmarks.machine import describe

NAMES = (
    "detect",
    "node",
    "hub",
    "network",
    "leak",
    "faults",
    "overload",
    "embed",
    "recognition",
    "dlib_path",
    "quality",
    "calibrate",
    "quantize",
    "audit",
    "reid",
    "presentation",
    "gallery",
    "glass",
)
WITH_PICTURES = ("leak", "overload", "quantize", "presentation", "reid", "gallery", "hub", "node")
"""These write what they found to `--out`, most of it as pictures."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=(*NAMES, "all"))
    parser.add_argument("--json", action="store_true", help="end with one JSON object on a line")
    parser.add_argument("--quick", action="store_true", help="under a minute, less exact")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for pictures of what was found")
    parser.add_argument("--results", type=Path, metavar="DIR", help="folder for NAME.json and summary.md")
    arguments = parser.parse_args()
    names = NAMES if arguments.name == "all" else (arguments.name,)
    has_failed = False
    for name in names:
        result = _measured(name, arguments.quick, arguments.out, goes_on=len(names) > 1)
        has_failed |= "failed" in result
        whole = {**result, "benchmark": name, "quick": arguments.quick, "machine": describe()}
        if arguments.results is not None:
            summary.write(arguments.results, name, whole)
        if arguments.json:
            print(json.dumps(whole))
        else:
            for key, value in result.items():
                print(f"  {key:28} {value}")
    if arguments.results is not None:
        text = summary.table(arguments.results)
        (arguments.results / "summary.md").write_text(text, encoding="utf-8")
        print(text, file=sys.stderr)
    return int(has_failed)


def _measured(name: str, quick: bool, out: Path | None, goes_on: bool) -> dict[str, Any]:
    """goes_on: there are others, to which a failure of this one is nothing; it is told as `failed`."""
    module = importlib.import_module(f"benchmarks.{name}")
    print(f"{name}: {(module.__doc__ or name).splitlines()[0]}", file=sys.stderr)
    try:
        result: dict[str, Any] = module.measure(quick=quick, **_pictures(name, out))
    except Exception as exc:
        if not goes_on:
            raise
        print(f"{name}: {type(exc).__name__}: {exc}", file=sys.stderr)
        return {"failed": f"{type(exc).__name__}: {exc}"}
    return result


def _pictures(name: str, out: Path | None) -> dict[str, Path]:
    return {"out": out} if out is not None and name in WITH_PICTURES else {}


if __name__ == "__main__":
    sys.exit(main())
