"""How long to wait before trying again. Pure: the caller brings the attempt and the dice.

Exponential with full jitter, so that many nodes do not come back to a restarted hub in step
(M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015).
"""

from __future__ import annotations


def backoff_s(attempt: int, roll: float, first_s: float = 1.0, max_s: float = 32.0) -> float:
    """Seconds to wait after failure number `attempt` (from 0), for a `roll` in 0..1.

    Uniform between 0 and a ceiling that starts at `first_s` and doubles up to `max_s`.
    Raises ValueError for a negative attempt or a roll outside 0..1.
    """
    if attempt < 0 or not 0.0 <= roll <= 1.0:
        raise ValueError(f"attempt must be >= 0 and roll in 0..1, not {attempt} and {roll}")
    # Beyond 2**32 the ceiling is max_s anyway; the cap keeps the power from overflowing.
    return float(roll * min(max_s, first_s * 2.0 ** min(attempt, 32)))
