"""Heads read by functions, as the connections do that have no `HeadReader`: they find a length on the head itself."""

from __future__ import annotations

from typing import Final, TypeVar

import httptools

from vespa.protocol.message_head import FIELDS_LEAST, FIELDS_MAX, SILENT, TOKENS_MAX, Head
from vespa.protocol.request_head import RequestHead, check_syntax, parse_request_head, understand_request_head
from vespa.protocol.request_target import ALLOW
from vespa.protocol.response_head import BadResponse, ResponseHead, parse_response_head

__all__ = [
    "ALLOW",
    "FIELDS_MAX",
    "TOKENS_MAX",
    "BadResponse",
    "Head",
    "RequestHead",
    "RequestReader",
    "ResponseHead",
    "read_request_head",
    "read_response_head",
]

_Head = TypeVar("_Head", RequestHead, ResponseHead)
_HEADS_MAX: Final = 512
_HEAD_MAX: Final = 1024
_requests: Final[dict[bytes, RequestHead]] = {}
_responses: Final[dict[bytes, ResponseHead]] = {}


class RequestReader:
    """Reads one request head that comes in pieces. Raises `Refusal` as soon as one is wrong."""

    __slots__ = ("_max_fields", "_parser", "_pieces")

    def __init__(self, max_fields: int = FIELDS_MAX) -> None:
        self._max_fields = max_fields
        self._parser = httptools.HttpRequestParser(SILENT)
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> None:
        """Take more of the head; nothing that stands behind it."""
        check_syntax(self._parser, data)
        self._pieces.append(data)

    def done(self) -> RequestHead:
        """The head, once its blank line was fed. Raises `Refusal`."""
        return _with_length(*understand_request_head(b"".join(self._pieces), self._max_fields))


def read_request_head(data: bytes, max_fields: int = FIELDS_MAX) -> RequestHead:
    """Read a whole request head, its blank line included. Raises `Refusal` for what must not be served."""
    head = _requests.get(data)
    if head is None:
        head = _with_length(*parse_request_head(data, max_fields))
        _remember(_requests, data, head)
    return head


def read_response_head(data: bytes, max_fields: int = FIELDS_MAX) -> ResponseHead:
    """Read a whole response head, its blank line included. Raises `BadResponse`."""
    head = _responses.get(data)
    if head is None:
        head = _with_length(*parse_response_head(data, max_fields))
        _remember(_responses, data, head)
    return head


def _with_length(head: _Head, length: int) -> _Head:
    head.length = length if head.has_length else None
    return head


def _remember(known: dict[bytes, _Head], data: bytes, head: _Head) -> None:
    """Keep a head to know it by when the same bytes come again: programs repeat themselves. Bounded, both ways."""
    if len(data) <= _HEAD_MAX and len(head.lines) <= FIELDS_LEAST:
        if len(known) >= _HEADS_MAX:
            known.clear()
        known[data] = head
