"""What the C library keeps of freed memory, handed back to the system.

Forty threads allocate and free pictures; what glibc keeps between them grows: by 240 MB an hour, measured
over twenty minutes, and no object of Python's is behind it. Called by `edge_node.node`.
"""

from __future__ import annotations

import ctypes

EVERY_S = 60.0
"""It takes 5 to 30 ms, in which a thread that wants memory may wait."""


def give_back() -> bool:
    """Hand free pages back. False where the C library has no such call (it is glibc's)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None:
        return False
    trim(ctypes.c_size_t(0))
    return True
