"""Slows down whoever guesses passwords. Pure: `now` is monotonic seconds.

After some failures each further attempt must wait twice as long as the one before, up to a limit: nobody is
locked out for ever. An attempt counts as failed from its beginning, so that many at once gain nothing.
Called by `hub.web.accounts`.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BrakeSettings:
    """How one kind of key is slowed down."""

    free: int
    """Failures before the first wait."""
    longest_s: float
    first_s: float = 1.0
    forget_s: float = 3_600.0
    """Without a failure for so long, all is forgiven."""
    max_keys: int = 10_000
    """Remembered at once; the one that was quiet for longest goes first."""


@dataclass(slots=True)
class _Trouble:
    failures: int = 0
    last_at: float = 0.0
    until: float = 0.0


class Brake:
    """Attempts by key: an address, an account, a browser."""

    def __init__(self, settings: BrakeSettings) -> None:
        self._settings = settings
        self._troubles: OrderedDict[str, _Trouble] = OrderedDict()

    def wait_s(self, key: str, now: float) -> float:
        """How long until the next attempt; 0 where it may come now."""
        trouble = self._troubles.get(key)
        return max(0.0, trouble.until - now) if trouble is not None else 0.0

    def begin(self, key: str, now: float) -> None:
        """An attempt begins, and counts as failed until `passed`."""
        settings = self._settings
        trouble = self._troubles.setdefault(key, _Trouble())
        self._troubles.move_to_end(key)
        if now - trouble.last_at > settings.forget_s:
            trouble.failures = 0
        trouble.failures += 1
        trouble.last_at = now
        over = trouble.failures - settings.free
        if over >= 0:
            trouble.until = now + min(settings.longest_s, settings.first_s * 2.0 ** min(over, 30))
        while len(self._troubles) > settings.max_keys:
            self._troubles.popitem(last=False)

    def passed(self, key: str) -> None:
        """The attempt succeeded: its key is trusted again."""
        self._troubles.pop(key, None)


def address_key(address: str) -> str:
    """The key of an address: IPv6 by its network of 64 bits, which one customer has whole."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "?"
    if isinstance(ip, ipaddress.IPv6Address):
        mapped = ip.ipv4_mapped
        if mapped is None:
            return str(ipaddress.ip_network((ip, 64), strict=False))
        return str(mapped)
    return str(ip)
