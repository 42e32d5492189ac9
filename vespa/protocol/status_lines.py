"""Status lines of our own. A proxy must not repeat another server's reason phrase in its own status line."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

STATUS_LINES: Final[Mapping[int, bytes]] = MappingProxyType(
    {s.value: b"HTTP/1.1 %d %b\r\n" % (s.value, s.phrase.encode("ascii")) for s in HTTPStatus}
)
"""The line of each status that has a reason phrase, with its line break."""


def status_line(status: int) -> bytes:
    """The status line with its line break. A status without a reason phrase gets an empty one."""
    return STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
