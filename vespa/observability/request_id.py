"""Request ids: taken from the caller's `X-Request-Id`, or made. By them the logs of several programs can be joined."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import count
from typing import Any, Final

from vespa.protocol.request_head import RequestHead

FIELD: Final = b"X-Request-Id"
LENGTH_MAX: Final = 128
"""The longest id, in characters, that is taken from a caller."""
KNOWN_MAX: Final = 256
"""The number of heads whose ids are remembered, because a program repeats its heads. Each has at most 8 KiB."""

_NAME: Final = FIELD.lower()
_LINE_BEGINS: Final = _NAME + b":"
# Visible ASCII without quotes and backslash, which logs would have to escape.
_is_safe = re.compile(rb"[!#-&(-\[\]-~]{1,%d}" % LENGTH_MAX).fullmatch


def taken(head: RequestHead) -> str:
    """The caller's id, if it is sent once, short and of safe characters; otherwise ""."""
    found = _values(head)
    return found[0].decode("ascii") if len(found) == 1 and _is_safe(found[0]) else ""


def _values(head: RequestHead) -> list[bytes]:
    return [value for name, value in head.headers if name.lower() == _NAME]


class RequestIds:
    """
    Gives each request an id. Those that it makes begin with random digits of this process, and end with a number.

    `prefix` and `next_number` are for code that makes ids by itself, because a call takes time.
    """

    def __init__(self, random: Callable[[], float]) -> None:
        """`random` returns a number in [0, 1). It is called once."""
        self.prefix: Final = f"{int(random() * (1 << 48)):012x}-"
        self.next_number: Final = count(1).__next__
        self._taken: dict[RequestHead, str] = {}

    def make(self) -> str:
        """A new id, of 21 characters."""
        return f"{self.prefix}{self.next_number():08x}"

    def of(self, request: Any) -> str:
        """
        The id of a request: its caller's or a new one.

        The request keeps it as `request_id`, which is "" before. Its `head` is None if that is malformed.
        """
        request_id: str = request.request_id
        if not request_id:
            head = request.head
            request_id = request.request_id = (head is not None and self._taken_from(head)) or self.make()
        return request_id

    def lines(self, request: Any) -> bytes:
        """The field line that holds the id of a request, for a response."""
        return b"X-Request-Id: %b\r\n" % self.of(request).encode("ascii")

    def _taken_from(self, head: RequestHead) -> str:
        found = self._taken.get(head)
        if found is None:
            found = taken(head)
            if head.plain:  # others may be larger, and rarely repeat
                if len(self._taken) >= KNOWN_MAX:
                    self._taken.clear()
                self._taken[head] = found
        return found

    def added_to(self, request_head: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
        """
        `HeaderPolicy.request_head` with the request's id: an id of ours is added, and a caller's passes.

        A caller's that cannot be taken is replaced.
        """

        def with_id(exchange: Any) -> bytes:
            fields = request_head(exchange)
            request_id = exchange.request_id or self.of(exchange)
            if self._taken_from(exchange.head) == request_id:
                return fields
            return b"%bX-Request-Id: %b\r\n" % (_without_id(exchange.head, fields), request_id.encode("ascii"))

        return with_id


def _without_id(head: RequestHead, fields: bytes) -> bytes:
    if _LINE_BEGINS not in head.fields_block.lower():
        return fields
    return b"\r\n".join(line for line in fields.split(b"\r\n") if not line.lower().startswith(_LINE_BEGINS))
