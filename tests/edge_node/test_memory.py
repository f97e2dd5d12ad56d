"""Free memory goes back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edge_node.memory import give_back

SCATTERED = """
from pathlib import Path
from edge_node.memory import give_back

def resident_kb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))

blocks = [bytearray(2_000) for _ in range(50_000)]
kept = blocks[::100]  # what is left in use lies between the free blocks
del blocks
before = resident_kb()
assert give_back()
print(before - resident_kb())
"""


def test_what_lies_free_between_what_is_in_use_goes_back() -> None:
    if not give_back():
        pytest.skip("this C library has no malloc_trim")
    done = subprocess.run([sys.executable, "-c", SCATTERED], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 50_000, "kB"
