"""Distinguishes local addresses from those of servers on the Internet."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

# Texts that resolvers accept as an IPv4 address in an unusual form: 127.1, 2130706433, 0x7f.1.
_is_odd_number = re.compile(r"(?:0[xX][0-9A-Fa-f]+|[0-9]+)(?:\.(?:0[xX][0-9A-Fa-f]*|[0-9]*))*", re.ASCII).fullmatch


def is_loopback(host: str) -> bool:
    """Whether a host, a name or an address without brackets, certainly means this machine."""
    address = _address(host)
    return address.is_loopback if address is not None else host.lower() == "localhost"


def is_near(host: str) -> bool:
    """Whether a host is this machine, an address of its network link, or may be one in an unusual form."""
    address = _address(host)
    if address is not None:
        return address.is_loopback or address.is_link_local or address.is_unspecified
    name = host.lower().rstrip(".")
    return name == "localhost" or name.endswith(".localhost") or _is_odd_number(host) is not None


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """The IP address that a host is, IPv4 where it is one in IPv6; None for a name."""
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return (address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address


# Networks without Internet servers: this machine, its link, private networks, carriers' (100.64/10), clouds' metadata
# servers (169.254.169.254, 192.0.0.192, 100.100.100.200, fd00:ec2::254, 168.63.129.16), multicast, reserved.
_NOT_PUBLIC: Final = [
    ip_network(each)
    for each in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16"),
        *("172.16.0.0/12", "192.0.0.0/24", "192.168.0.0/16", "224.0.0.0/4", "240.0.0.0/4"),
        *("::/127", "64:ff9b:1::/48", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
    )
]
# IPv6 addresses that lead to the IPv4 address in their last bits: IPv4-compatible, and NAT64 (RFC 6052).
_WITH_IPV4: Final = (ip_network("::/96"), ip_network("64:ff9b::/96"))


def is_public(address: str) -> bool:
    """Whether an IP address, without brackets, may be a server on the Internet, like every IPv4 address within it."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return not any(each in network for each in (found, *_within(found)) for network in _NOT_PUBLIC)


def _within(address: IPv4Address | IPv6Address) -> list[IPv4Address]:
    """The IPv4 addresses within an IPv6 address."""
    if isinstance(address, IPv4Address):
        return []
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if any(address in network for network in _WITH_IPV4):
        found.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return [each for each in found if each is not None]
