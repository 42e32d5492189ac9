"""
Heads that come in pieces.

No byte is looked at twice for each piece that comes, so a head that comes byte by byte is linear work; and what is
wrong is said at once, not when the head ends: it may never end.
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
    """
    The pieces of one head; used for one head only. `held` is what came of it so far.

    Memory is at most `max_bytes`, and one piece.
    """

    __slots__ = ("held", "_max_bytes", "_max_fields")

    def __init__(self, max_bytes: int, max_fields: int = FIELDS_MAX, held: bytearray | None = None) -> None:
        """`max_bytes` and `max_fields` bound the head; `held`, which is empty, is what the pieces are kept in."""
        self.held: bytearray = bytearray() if held is None else held
        self._max_bytes = max_bytes
        self._max_fields = max_fields

    def feed(self, data: bytes) -> tuple[AnyHead | None, int, int]:
        """
        Take the next piece.

        Returns the head (None: its end has not come), where behind it in `data` the body starts, and the body's length
        as `HeadReader.read` tells it. Raises as that does.
        """
        held = self.held
        before = len(held)
        held += data
        at = held.find(HEAD_END, max(0, before - 3))
        end = at + 4 if at >= 0 else len(held)
        if end > self._max_bytes:
            raise self._too_large()
        if at < 0:
            self._look_at(data, before)
            return None, len(data), 0
        head, length = self._complete(bytes(held[:end]), data[: end - before])
        return head, end - before, length

    def _too_large(self) -> Exception:
        """What is raised for a head of more than `max_bytes`."""
        raise NotImplementedError

    def _look_at(self, piece: bytes, before: int) -> None:
        """Raise for what is wrong already; `piece` is held too, behind `before` bytes that were looked at before."""
        raise NotImplementedError

    def _complete(self, data: bytes, piece: bytes) -> tuple[AnyHead, int]:
        """Understand the whole head, `data`, which ends with `piece`."""
        raise NotImplementedError


class RequestHeadPieces(HeadPieces[RequestHead]):
    """The pieces of a request's head."""

    __slots__ = ("_parser",)

    def __init__(self, max_bytes: int, max_fields: int = FIELDS_MAX, held: bytearray | None = None) -> None:
        super().__init__(max_bytes, max_fields, held)
        self._parser = httptools.HttpRequestParser(SILENT)

    def _too_large(self) -> Exception:
        return request_too_large(self._max_bytes)

    def _look_at(self, piece: bytes, before: int) -> None:
        check_syntax(self._parser, piece)

    def _complete(self, data: bytes, piece: bytes) -> tuple[RequestHead, int]:
        check_syntax(self._parser, piece)
        return understand_request_head(data, self._max_fields)


class ResponseHeadPieces(HeadPieces[ResponseHead]):
    """The pieces of a response's head. What llhttp refuses is refused when the end has come, other dialects at once."""

    __slots__ = ()

    def _too_large(self) -> Exception:
        return response_too_large(self._max_bytes)

    def _look_at(self, piece: bytes, before: int) -> None:
        held, start = self.held, max(0, before - 3)
        if held.find(b"\n\n", start) >= 0 or held.find(b"\n\r\n", start) >= 0 or not _begins_response(held):
            raise BadResponse("its head is malformed")

    def _complete(self, data: bytes, piece: bytes) -> tuple[ResponseHead, int]:
        return parse_response_head(data, self._max_fields)


def _begins_response(held: bytearray) -> bool:
    return len(held) < 5 or held.startswith(b"HTTP/")


def request_too_large(max_bytes: int) -> Refusal:
    """What a request is refused with whose head is longer than `max_bytes`."""
    return Refusal(431, "head_too_large", f"the request's head is larger than {max_bytes} bytes")


def response_too_large(max_bytes: int) -> BadResponse:
    """What a response is refused with whose head is longer than `max_bytes`."""
    return BadResponse(f"its head is larger than {max_bytes} bytes")
