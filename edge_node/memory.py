"""What the C library keeps of freed memory: kept together, and handed back to the system.

Forty threads allocate and free pictures; what glibc keeps between them grows: by 240 MB an hour, measured
over twenty minutes, and no object of Python's is behind it. Called by `edge_node.__main__` and
`edge_node.node`.
"""

from __future__ import annotations

import ctypes

EVERY_S = 60.0
"""It takes 5 to 30 ms, in which a thread that wants memory may wait."""
ARENAS = 2
"""Two cores rarely allocate at once. With eight a core, glibc's own choice, a node grew from 491 to 541 MB
in its first minute; with these from 440 to 448."""
M_ARENA_MAX = -8
"""Of malloc.h."""


def share_arenas() -> bool:
    """Have all threads allocate from a few stores, before they begin. False where the C library has no such
    setting."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(M_ARENA_MAX, ARENAS))


def give_back() -> bool:
    """Hand free pages back. False where the C library has no such call (it is glibc's)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None:
        return False
    trim(ctypes.c_size_t(0))
    return True
