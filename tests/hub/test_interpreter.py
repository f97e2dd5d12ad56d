"""A hub's process walks through its loaded objects once, and no more; its threads take short turns."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import gc, sys
from hub.interpreter import answer_soon
kept = [[n] for n in range(50_000)]
answer_soon()
print(sum(len(gc.get_objects(age)) for age in range(3)) < 1_000)
class Ring:
    alive = 0
    def __init__(self):
        Ring.alive += 1
        self.me = self
    def __del__(self):
        Ring.alive -= 1
for _ in range(200_000):
    Ring()
print(Ring.alive < 100_000)
print(sys.getswitchinterval() < 0.001)
"""


def test_what_was_loaded_is_set_aside_and_rings_are_still_freed() -> None:
    # In a process of its own: what is set aside stays so.
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"] * 3
