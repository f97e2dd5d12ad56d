"""Runs one benchmark, or all of them. The last line of `--json` is one JSON object."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.machine import describe

NAMES = (
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
WITH_PICTURES = ("leak", "overload", "quantize", "presentation", "reid", "gallery", "hub")
"""These write what they found to `--out`, most of it as pictures."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=(*NAMES, "all"))
    parser.add_argument("--json", action="store_true", help="end with one JSON object on a line")
    parser.add_argument("--quick", action="store_true", help="under a minute, less exact")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for pictures of what was found")
    arguments = parser.parse_args()
    names = NAMES if arguments.name == "all" else (arguments.name,)
    for name in names:
        module = importlib.import_module(f"benchmarks.{name}")
        print(f"{name}: {module.__doc__.splitlines()[0]}", file=sys.stderr)
        result: dict[str, Any] = module.measure(quick=arguments.quick, **_pictures(name, arguments.out))
        if arguments.json:
            print(json.dumps({**result, "benchmark": name, "machine": describe()}))
        else:
            for key, value in result.items():
                print(f"  {key:28} {value}")
    return 0


def _pictures(name: str, out: Path | None) -> dict[str, Path]:
    return {"out": out} if out is not None and name in WITH_PICTURES else {}


if __name__ == "__main__":
    sys.exit(main())
