"""Names and addresses of the web servers of node and hub. Pure: no name server is asked."""

from __future__ import annotations

import ipaddress


def host_name(host: str) -> str:
    """A Host header without its port; brackets of an IPv6 address are taken off."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_address(host: str) -> bool:
    """An address rather than a name: no other site can make a name of its own lead here by it."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
