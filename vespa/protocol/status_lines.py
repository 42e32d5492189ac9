"""Status lines of our own: another server's reason phrase is not to be trusted on a line of ours."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

STATUS_LINES: Final[Mapping[int, bytes]] = MappingProxyType(
    {s.value: b"HTTP/1.1 %d %b\r\n" % (s.value, s.phrase.encode("ascii")) for s in HTTPStatus}
)
"""The line of each status that has a reason phrase, its line break included."""


def status_line(status: int) -> bytes:
    """The status line with its line break; a status without a phrase of its own gets an empty one."""
    return STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
