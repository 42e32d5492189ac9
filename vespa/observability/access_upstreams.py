"""The upstream of a request in a line of the access log: one of several backends, or a worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

KNOWN_MAX: Final = 256
"""The number of upstreams whose text is remembered. A worker has 64 backends at most, and few clients more workers."""


class UpstreamTexts(dict[str, str]):
    """
    The text for each upstream, by its address (`EndedRequest.upstream_address`); "" for the address "".

    `write` makes a text of an address, once as long as that is remembered.
    """

    def __init__(self, write: Callable[[str], str]) -> None:
        super().__init__()
        self._write = write

    def __missing__(self, address: str) -> str:
        if len(self) >= KNOWN_MAX:
            self.clear()
        text = self[address] = self._write(address) if address else ""
        return text


def printable_address(address: str) -> str:
    """An address as one word of printable ASCII, whatever the path of a socket has in it."""
    text = address.encode("ascii", "backslashreplace").decode("ascii")
    return "".join(each if each.isprintable() and each != " " else "?" for each in text)
