"""Twisted endpoint strings: their parts, and whether other machines can reach the port that they describe."""

from __future__ import annotations

from ipaddress import ip_address


def split(description: str) -> tuple[list[str], dict[str, str]]:
    r"""
    The positional and the named values of an endpoint string.

    A ":" separates them, a "=" follows a name. "\" before a character removes its special meaning.
    """
    values: list[str] = []
    named: dict[str, str] = {}
    name: str | None = None
    text = ""
    characters = iter(description)
    for character in characters:
        if character == ":":
            values.append(text) if name is None else named.__setitem__(name, text)
            name, text = None, ""
        elif character == "=" and name is None:
            name, text = text, ""
        else:
            text += next(characters, "") if character == "\\" else character
    values.append(text) if name is None else named.__setitem__(name, text)
    return values, named


def kind_of(description: str) -> str:
    """The kind of an endpoint, such as "tcp"."""
    return description.partition(":")[0]


def port_of(description: str) -> int | None:
    """The number of the port that an endpoint listens at; None if it has none."""
    values, named = split(description)
    text = named.get("port", values[1] if len(values) > 1 else "") if values[0] in ("tcp", "tcp6", "ssl") else ""
    return int(text) if text.isascii() and text.isdigit() else None


def interface_of(description: str) -> str:
    """The address that an endpoint listens at; "" if it is every address, or if the endpoint has none."""
    values, named = split(description)
    at = {"tcp": 2, "tcp6": 3}.get(values[0], len(values))
    return named.get("interface", values[at] if at < len(values) else "")


def is_local(description: str) -> bool:
    """
    Whether certainly only this machine can connect: a unix socket, or a port at a loopback address.

    False for kinds of endpoints whose address their string does not show.
    """
    kind = kind_of(description)
    if kind == "unix":
        return True
    if kind not in ("tcp", "tcp6", "ssl"):
        return False
    interface = interface_of(description)
    try:
        return ip_address(interface).is_loopback
    except ValueError:
        return interface == "localhost"
