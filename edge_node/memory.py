"""What the C library keeps of freed memory: kept together, and handed back to the system.

Forty threads allocate and free pictures, and the encoder is opened anew whenever its rate changes: what glibc
keeps between them grew by 100 MB an hour, and no object of Python's is behind it. Called by
`edge_node.__main__` and `edge_node.node`.
"""

from __future__ import annotations

import ctypes

EVERY_S = 60.0
"""It takes 5 to 30 ms, in which a thread that wants memory may wait."""
ARENAS = 2
"""Two cores rarely allocate at once. With eight a core, glibc's own choice, a node grew from 491 to 541 MB
in its first minute; with these from 440 to 448."""
MAPPED_BYTES = 2 << 20
"""Frames (2.8 MB at 720p) and what an encoder holds (27 MB in some ten blocks) are larger. They are freed by
another thread and up to half a second later, or when the rate changes: between small blocks they would leave
holes (docs/adr/0031-large-blocks-apart.md)."""
TRIM_BYTES = 16 << 20
"""What a store may keep free at its end. glibc chooses it by itself only as long as it chooses MAPPED_BYTES
too; at its first value, 128 kB, many a free would shrink a store that grows again at once. A frame that finds
room there is not mapped, which would take 1.4 ms of the processor for its pages."""
M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -8, -3, -1
"""Of malloc.h."""


def map_frames() -> bool:
    """Have no store grow for a frame or an encoder: a block of that size that finds no room is mapped by
    itself and goes back once it is free. glibc raises that size to 32 MB by itself when it sees such blocks
    freed. False where the C library has no such settings."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES)) and bool(mallopt(M_TRIM_THRESHOLD, TRIM_BYTES))


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
