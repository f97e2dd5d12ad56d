"""Python's collector of garbage, set for a process that answers within milliseconds.

By default it walks through all objects of the program again and again while questions wait. What was loaded
by the start stays until the end: it is set aside. What comes later is freed by its reference counts; the
collector is left for what holds itself in a ring, which is rare. Used by `hub.__main__`.
"""

from __future__ import annotations

import gc

YOUNG = 10_000
"""Objects made beyond those freed, after which the youngest are looked at: questions under way have fewer."""
OLDER = 20
"""Looks at the younger for one at the older ones."""


def set_aside() -> None:
    """Call once, when all is loaded and before questions come."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, OLDER, OLDER)
