"""Which addresses are this machine's own, or its network link's."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address

# What resolvers take for an IPv4 address though it is not written as one: 127.1, 2130706433, 0x7f.1.
_is_odd_number = re.compile(r"(?:0[xX][0-9A-Fa-f]+|[0-9]+)(?:\.(?:0[xX][0-9A-Fa-f]*|[0-9]*))*", re.ASCII).fullmatch


def is_loopback(host: str) -> bool:
    """Whether a host, a name or an address without brackets, is surely this machine to itself."""
    try:
        address = ip_address(host)
    except ValueError:
        return host.lower() == "localhost"
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def is_near(host: str) -> bool:
    """Whether a host is this machine, one that only its network link knows, or written so that it might be."""
    try:
        address = ip_address(host)
    except ValueError:
        name = host.lower().rstrip(".")
        return name == "localhost" or name.endswith(".localhost") or _is_odd_number(host) is not None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    known = mapped or address
    return known.is_loopback or known.is_link_local or known.is_unspecified
