"""
Reads the heads that arrive on a connection, and recognises those that it has read before.

A program repeats its heads, and often only the digits of Content-Length differ. So a head is recognised by its bytes
without those digits: one comparison, or one look-up, gives its parsed form. The digits must then be the length and
nothing else, because otherwise one message could pass for another (request smuggling). The rules:

1. A head has a key without digits only if the digits belong to its only Content-Length, on a line of its own, with one
   of the two usual spellings of the name, and do not begin with 0.
2. For any other head the key is all of its bytes, and it is kept only if its body has no length.
3. An entry holds no length. The length is read from the received bytes each time.
4. The two kinds of keys differ. In a key without digits a line break follows the first usual "Content-Length: ".
   A key with all bytes does not contain it, or the digit 0 follows it.
5. A recognised head is within every limit: without its digits it is no longer than `_KEY_MAX`, and it has no more than
   `FIELDS_LEAST` fields. A reader with tighter limits recognises no head.

The reader compares the connection's own last head first, then looks in a table that all connections share, then calls
llhttp.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic

from attrs import frozen

from vespa.protocol import head_pieces
from vespa.protocol.fields import forget_fields
from vespa.protocol.head_pieces import AnyHead, HeadPieces
from vespa.protocol.message_head import FIELDS_LEAST, FIELDS_MAX, LENGTH_DIGITS_MAX, forget_connections
from vespa.protocol.request_head import RequestHead, parse_request_head
from vespa.protocol.response_head import ResponseHead, parse_response_head

_LENGTH_FIELD: Final = b"ontent-Length: "
_LENGTH_FIELD_LOWER: Final = b"ontent-length: "
_LENGTH_FIELD_SIZE: Final = len(_LENGTH_FIELD)
_LINE_STARTS: Final = (b"\r\nC", b"\r\nc")
_ZERO: Final = ord("0")
_KEY_MAX: Final = 1024
_KNOWN_MAX: Final = 512
_NEVER: Final = b"\0"  # no head begins with this byte


@frozen(eq=False)
class HeadKind(Generic[AnyHead]):
    """
    Requests or responses: how to parse their heads, and the known heads that all readers share.

    Each known head comes with its bytes before and after the digits of its length. The second is b"" if the first holds
    the whole head.
    """

    parse: Callable[[bytes, int], tuple[AnyHead, int]]
    pieces: Callable[[int, int], HeadPieces[AnyHead]]
    too_large: Callable[[int], Exception]
    blank_lines_first: bool
    known: dict[bytes, tuple[AnyHead, bytes, bytes]]


# RFC 9112 2.2: empty lines before a request are skipped.
REQUESTS: Final[HeadKind[RequestHead]] = HeadKind(
    parse_request_head, head_pieces.RequestHeadPieces, head_pieces.request_too_large, True, {}
)
RESPONSES: Final[HeadKind[ResponseHead]] = HeadKind(
    parse_response_head, head_pieces.ResponseHeadPieces, head_pieces.response_too_large, False, {}
)


def forget_heads() -> None:
    """Clear the tables that all readers share, of heads and of their fields. Each reader keeps its last head."""
    REQUESTS.known.clear()
    RESPONSES.known.clear()
    forget_connections()
    forget_fields()


class HeadReader(Generic[AnyHead]):
    """
    Reads the heads that one connection receives.

    `unfinished` holds the pieces of a head whose end has not come, or None.
    """

    __slots__ = (
        "unfinished",
        "_kind",
        "_max_bytes",
        "_max_fields",
        "_knows",
        "_start",
        "_head",
        "_before",
        "_before_size",
        "_after",
        "_after_size",
    )

    def __init__(self, kind: HeadKind[AnyHead], max_bytes: int, max_fields: int = FIELDS_MAX) -> None:
        """`kind` is `REQUESTS` or `RESPONSES`; `max_bytes` and `max_fields` limit each head."""
        self.unfinished: HeadPieces[AnyHead] | None = None
        self._kind = kind
        self._max_bytes = max_bytes
        self._max_fields = max_fields
        self._knows = max_bytes >= _KEY_MAX + LENGTH_DIGITS_MAX and max_fields >= FIELDS_LEAST
        self._start = b""
        # The last head with a key.
        self._head: AnyHead | None = None
        self._before = self._after = _NEVER
        self._before_size = self._after_size = 0

    def read(self, data: bytes) -> tuple[AnyHead | None, int, int]:
        """
        Read the head at the beginning of `data`.

        Returns the head, the offset in `data` at which the body starts, and the body's length in bytes: 0 if there is
        no body, if it is chunked, or if it lasts until the connection ends. For a response to HEAD, and for 304, it is
        the Content-Length of a body that does not follow.

        If the end of the head has not come, the head is None, all of `data` is consumed, and `read_more` continues. If
        only blank lines came before a request, `unfinished` is None, and `read` continues.

        Raises `Refusal` for a request and `BadResponse` for a response, at once, even before the end has come.
        """
        if data.startswith(self._before):
            at = self._before_size
            after = self._after
            if not after:
                return self._head, at, 0
            stop = data.find(b"\r", at)
            if data.startswith(after, stop):
                digits = data[at:stop]
                if digits.isdigit() and stop - at <= LENGTH_DIGITS_MAX and data[at] != _ZERO:
                    return self._head, stop + self._after_size, int(digits)
        return self._read_another(data)

    def read_more(self, data: bytes) -> tuple[AnyHead | None, int, int]:
        """Continue with the `unfinished` head: `data` are the next bytes. Returns and raises like `read`."""
        assert self.unfinished is not None
        result = self.unfinished.feed(data)
        if result[0] is not None:
            self.unfinished = None
        return result

    @property
    def is_head_request(self) -> bool:
        """Whether the refused message began as a HEAD request. The refusal then has no body."""
        start = self._start if self.unfinished is None else self.unfinished.held[:5]
        return start == b"HEAD "

    def _read_another(self, data: bytes) -> tuple[AnyHead | None, int, int]:
        """Read a head that is not the same as the last one."""
        kind = self._kind
        if kind.blank_lines_first and data[:1] in b"\r\n":
            return self._read_behind_blank_lines(data)
        end = data.find(head_pieces.HEAD_END) + 4
        if end == 3:
            self.unfinished = kind.pieces(self._max_bytes, self._max_fields)
            return self.read_more(data)
        if not self._knows:
            return self._parse(data, end)
        at = data.find(_LENGTH_FIELD, 0, end)
        if at < 0:
            at = data.find(_LENGTH_FIELD_LOWER, 0, end)
        key, before, after, length = b"", b"", b"", 0
        if at < 0:
            key = before = data[:end]
        else:
            at += _LENGTH_FIELD_SIZE
            stop = data.find(b"\r", at)
            digits = data[at:stop]
            if digits == b"0":
                key = before = data[:end]
            elif digits.isdigit() and stop - at <= LENGTH_DIGITS_MAX and data[at] != _ZERO:
                before, after, length = data[:at], data[stop:end], int(digits)
                key = before + after
        known = kind.known.get(key)
        if known is None:
            return self._parse_and_keep(data, end, key, before, after, length)
        self._know_again(*known)
        return known[0], end, length

    def _read_behind_blank_lines(self, data: bytes) -> tuple[AnyHead | None, int, int]:
        rest = data.lstrip(b"\r\n")
        if not rest:
            return None, len(data), 0
        head, start, length = self.read(rest)
        return head, len(data) - len(rest) + start, length

    def _parse(self, data: bytes, end: int) -> tuple[AnyHead, int, int]:
        """Parse the head that ends at `end`."""
        self._start = data[:5]
        if end > self._max_bytes:
            raise self._kind.too_large(self._max_bytes)
        head, length = self._kind.parse(data[:end], self._max_fields)
        return head, end, length

    def _parse_and_keep(
        self, data: bytes, end: int, key: bytes, before: bytes, after: bytes, length: int
    ) -> tuple[AnyHead, int, int]:
        """Parse the head, and keep it if the rules allow it. They require that its length is `length`."""
        result = self._parse(data, end)
        head = result[0]
        if (
            0 < len(key) <= _KEY_MAX
            and len(head.lines) <= FIELDS_LEAST
            and result[2] == length
            and (not after or _is_only_length(data[:end], len(before) - _LENGTH_FIELD_SIZE))
        ):
            known = self._kind.known
            if len(known) >= _KNOWN_MAX:
                known.clear()
            known[key] = head, before, after
            self._know_again(head, before, after)
        return result

    def _know_again(self, head: AnyHead, before: bytes, after: bytes) -> None:
        self._head, self._before, self._after = head, before, after
        self._before_size, self._after_size = len(before), len(after)


def _is_only_length(data: bytes, at: int) -> bool:
    """Whether the usual "Content-Length: ", with its second letter at `at`, is a field and the only one."""
    # llhttp also refuses a second one.
    return data[at - 3 : at] in _LINE_STARTS and data.lower().count(b"content-length") == 1
