"""
Heads that arrive in pieces.

Each piece is examined once, so a head that arrives byte by byte takes linear time. A malformed head is refused at once,
because its end may never come.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

import httptools

from vespa.protocol.message_head import FIELDS_MAX, SILENT, Head
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead, check_syntax, understand_request_head
from vespa.protocol.response_head import BadResponse, ResponseHead, parse_response_head

HEAD_END: Final = b"\r\n\r\n"

AnyHead = TypeVar("AnyHead", bound=Head)


class HeadPieces(Generic[AnyHead]):
    """Collects the pieces of one head in `held`. Holds at most `max_bytes` and one piece."""

    __slots__ = ("held", "_max_bytes", "_max_fields")

    def __init__(self, max_bytes: int, max_fields: int = FIELDS_MAX, held: bytearray | None = None) -> None:
        """`max_bytes` and `max_fields` limit the head. `held` is an empty buffer for the pieces."""
        self.held: bytearray = bytearray() if held is None else held
        self._max_bytes = max_bytes
        self._max_fields = max_fields

    def feed(self, data: bytes) -> tuple[AnyHead | None, int, int]:
        """
        Take the next piece.

        Returns the head (None before its end has come), the offset in `data` at which the body starts, and the body's
        length as `HeadReader.read` returns it. Raises like `HeadReader.read`.
        """
        raise NotImplementedError

    def _keep(self, data: bytes) -> tuple[int, bool]:
        """Keep the next piece. Returns the size of the head so far, without later bytes, and whether it is complete."""
        held = self.held
        before = len(held)
        held += data
        at = held.find(HEAD_END, max(0, before - 3))
        return (at + 4, True) if at >= 0 else (len(held), False)


class RequestHeadPieces(HeadPieces[RequestHead]):
    """The pieces of a request's head."""

    __slots__ = ("_parser",)

    def __init__(self, max_bytes: int, max_fields: int = FIELDS_MAX, held: bytearray | None = None) -> None:
        super().__init__(max_bytes, max_fields, held)
        self._parser = httptools.HttpRequestParser(SILENT)

    def feed(self, data: bytes) -> tuple[RequestHead | None, int, int]:
        before = len(self.held)
        end, complete = self._keep(data)
        if end > self._max_bytes:
            raise request_too_large(self._max_bytes)
        check_syntax(self._parser, data[: end - before])
        if not complete:
            return None, len(data), 0
        head, length = understand_request_head(bytes(self.held[:end]), self._max_fields)
        return head, end - before, length


class ResponseHeadPieces(HeadPieces[ResponseHead]):
    """The pieces of a response's head. Another protocol is refused at once, other malformed heads at their end."""

    __slots__ = ()

    def feed(self, data: bytes) -> tuple[ResponseHead | None, int, int]:
        held = self.held
        before = len(held)
        end, complete = self._keep(data)
        if end > self._max_bytes:
            raise response_too_large(self._max_bytes)
        if complete:
            head, length = parse_response_head(bytes(held[:end]), self._max_fields)
            return head, end - before, length
        start = max(0, before - 3)
        begins_response = len(held) < 5 or held.startswith(b"HTTP/")
        if held.find(b"\n\n", start) >= 0 or held.find(b"\n\r\n", start) >= 0 or not begins_response:
            raise BadResponse("its head is malformed")
        return None, len(data), 0


def request_too_large(max_bytes: int) -> Refusal:
    """The refusal of a request whose head is longer than `max_bytes`."""
    return Refusal(431, "head_too_large", f"the request's head is larger than {max_bytes} bytes")


def response_too_large(max_bytes: int) -> BadResponse:
    """The error for a response whose head is longer than `max_bytes`."""
    return BadResponse(f"its head is larger than {max_bytes} bytes")
