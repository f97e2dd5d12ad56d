"""Where memory lies, read from the kernel's tables."""

from __future__ import annotations

import mmap
import os

from benchmarks.resident import LEAST_MB, by_mapping, grouped, growth, resident

SMAPS = """\
55609b09c000-55609c9cb000 rw-p 00000000 00:00 0                          [heap]
Rss:                2048 kB
7f0000000000-7f0000001000 ---p 00000000 00:00 0
Rss:                   0 kB
7f0000001000-7f0000801000 rw-p 00000000 00:00 0
Rss:                1024 kB
7f0000900000-7f0000a00000 rw-p 00000000 00:00 0
Rss:                 512 kB
7f0000b00000-7f0000c00000 r-xp 00000000 fe:00 123                        /usr/lib/libx264.so.165
Rss:                 256 kB
7f0000c00000-7f0000d00000 rw-p 00100000 fe:00 123                        /usr/lib/libx264.so.165
Rss:                 256 kB
7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0                          [stack]
Rss:                 128 kB
"""


def test_mappings_are_added_up_by_what_they_are_for() -> None:
    assert grouped(SMAPS.splitlines()) == {
        "heap": 2.0, "mapped": 0.5, "stacks": 1.0, "libx264.so.165": 0.5, "of the kernel": 0.125,
    }  # fmt: skip


def test_what_grew_most_comes_first_and_small_changes_are_left_out() -> None:
    before = {"heap": 90.0, "mapped": 40.0, "gone": 3.0, "still": 7.0}
    after = {"heap": 93.0, "mapped": 50.0, "new": 1.0, "still": 7.0 + LEAST_MB / 2}
    grown = growth(before, after)
    assert grown == {"mapped": 10.0, "heap": 3.0, "new": 1.0, "gone": -3.0}
    assert list(grown) == ["mapped", "heap", "new", "gone"]


def test_a_process_is_told_in_parts_that_make_up_the_whole() -> None:
    before, mapped = resident(os.getpid()), by_mapping(os.getpid())
    block = mmap.mmap(-1, 32 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    block.write(bytes(range(1, 129)) * (32 << 13))
    after = resident(os.getpid())
    assert after.anonymous_mb - before.anonymous_mb > 25
    assert after.rss_mb >= after.anonymous_mb + after.file_mb - 0.1
    assert growth(mapped, by_mapping(os.getpid()))["mapped"] > 25
    block.close()
