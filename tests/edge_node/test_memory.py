"""Free memory goes back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edge_node.memory import ARENAS, give_back, map_frames, share_arenas

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


THREADS = """
import ctypes, re, threading
from pathlib import Path
from edge_node.memory import share_arenas

assert share_arenas()
begin = threading.Barrier(12)

def allocate():
    begin.wait()
    blocks = [bytearray(9_000) for _ in range(2_000)]
    begin.wait()
    del blocks

threads = [threading.Thread(target=allocate) for _ in range(12)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
file = libc.fopen(b"/proc/self/fd/1", b"w")
libc.malloc_info(0, ctypes.c_void_p(file))
libc.fclose(ctypes.c_void_p(file))
"""


def test_many_threads_share_few_arenas() -> None:
    if not share_arenas():
        pytest.skip("this C library has no mallopt")
    done = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, check=True)
    assert 1 <= done.stdout.count("<heap nr=") <= ARENAS


FRAMES = """
from pathlib import Path
from edge_node.memory import map_frames

def resident_kb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))

assert map_frames()
large = bytearray(30_000_000)  # once such a block is free, glibc would keep smaller ones among the others
del large
frames, between = [], []
for _ in range(30):
    frames.append(bytearray(2_764_800))
    between.append(bytearray(100_000))
full = resident_kb()
del frames
print(full - resident_kb())
"""


def test_a_frame_that_is_free_goes_back_at_once_whatever_lies_beside_it() -> None:
    if not map_frames():
        pytest.skip("this C library has no mallopt")
    done = subprocess.run([sys.executable, "-c", FRAMES], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 70_000, "kB"
