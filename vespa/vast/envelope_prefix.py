"""
Reads the members of an envelope before its payload, as they arrive.

They are checked as strictly as in a whole body, and limited. Keys are compared after decoding. A limit is a position in
the body: everything before it is checked first, so the result does not depend on how the body was split.
"""

from __future__ import annotations

import re
from enum import IntEnum

import msgspec

from vespa.protocol.refusal import Refusal
from vespa.vast.auth import Auth, invalid_envelope
from vespa.vast.envelope import decode_auth, decode_session_id
from vespa.vast.json_scanner import Malformed, Scanner

_space = re.compile(rb"[ \t\n\r]*").match
_decode_text = msgspec.json.Decoder(str).decode
_check_value = msgspec.json.Decoder(msgspec.Raw).decode

# Deep nesting exhausts the stack.
_NOT_JSON = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class _Next(IntEnum):
    """The next element that must come, apart from white space."""

    OBJECT = 0
    KEY = 1
    COLON = 2
    VALUE = 3
    COMMA = 4
    PAYLOAD = 5
    NOTHING = 6


_MARKS = {
    (_Next.OBJECT, b"{"): _Next.KEY,
    (_Next.COLON, b":"): _Next.VALUE,
    (_Next.COMMA, b","): _Next.KEY,
}
"""The punctuation between keys and values, and the element after each."""


class EnvelopePrefix:
    """
    Reads an envelope up to its payload, and after `resume` from the end of the payload to the end of the envelope.

    `max_length` limits each of the two parts, and `max_auth` the value of auth_data, in bytes. `max_keys` limits the
    number of keys.
    """

    def __init__(self, max_cost: float, max_length: int, max_auth: int, max_keys: int) -> None:
        self.auth: Auth | None = None  # the signed data, once it is complete
        self.session_id: str | None = None  # the session that the request names, or None
        self.kept = bytearray()  # all fed bytes, up to `max_length`
        self._max_cost = max_cost
        self._max_length = max_length
        self._max_auth = max_auth
        self._max_keys = max_keys
        self._next = _Next.OBJECT
        self._keys: set[str] = set()
        self._key = ""
        self._scanner: Scanner | None = None
        self._token_start = 0

    @property
    def closed(self) -> bool:
        """Whether the end of the envelope has come."""
        return self._next == _Next.NOTHING

    def resume(self) -> None:
        """Continue after the payload."""
        self._next = _Next.COMMA
        self.kept = bytearray()

    def feed(self, data: bytes) -> int:
        """
        Read the next chunk. Returns the offset in it at which the payload begins, or -1 if it has not begun.

        Raises Refusal: 422 if no envelope begins like this, 413 if a limit is exceeded.
        """
        base = len(self.kept)
        stop = min(len(data), self._max_length - base)
        self.kept += memoryview(data)[:stop]
        position = 0
        while position < stop:
            if self._scanner is not None:
                position = self._read_token(self._scanner, data, position, stop, base)
                continue
            position = skip_space(data, position, stop)
            if position == stop:
                break
            if self._begins(data[position : position + 1]):
                if self._next == _Next.PAYLOAD:
                    return position
                self._scanner = Scanner()
                self._token_start = base + position
            else:
                position += 1
        if stop < len(data):
            place = "after" if "payload" in self._keys else "before"
            raise too_large(f"the part of the body {place} the payload", self._max_length)
        return -1

    def _begins(self, mark: bytes) -> bool:
        """Take a punctuation mark and return False, or return True if a key, a value or the payload begins."""
        if self._next == _Next.VALUE:
            if self._key == "payload":
                self._next = _Next.PAYLOAD
            return True
        if mark == b'"' and self._next == _Next.KEY:
            return True
        if mark == b"}" and self._next in (_Next.KEY, _Next.COMMA):
            # Also after a comma, which is not valid JSON: without a payload the envelope is invalid in any case.
            missing = [name for name in ("auth_data", "payload") if name not in self._keys]
            if not missing and self._next == _Next.COMMA:
                self._next = _Next.NOTHING
                return False
            raise invalid_envelope("body", dict.fromkeys(missing, "is missing"))
        following = _MARKS.get((self._next, mark))
        if following is None:
            raise invalid("the body is not a JSON object")
        self._next = following
        return False

    def _read_token(self, scanner: Scanner, data: bytes, position: int, stop: int, base: int) -> int:
        """Continue with a key or a value. Returns the offset after the last byte read."""
        limit = stop
        if self._next == _Next.VALUE and self._key == "auth_data":
            limit = min(stop, position + self._max_auth - scanner.length)
        end = scan(scanner, data, position, limit)
        if end < 0:
            if limit < stop:
                wrong = {"auth_data": f"must be at most {self._max_auth} bytes"}
                raise invalid("the body is not a valid envelope", wrong)
            return stop
        self._scanner = None
        token = bytes(self.kept[self._token_start : base + end])
        if self._next == _Next.VALUE:
            self._take_value(token)
            self._next = _Next.COMMA
        else:
            self._take_key(token)
            self._next = _Next.COLON
        return end

    def _take_key(self, token: bytes) -> None:
        try:
            key = _decode_text(token)
        except _NOT_JSON:
            raise invalid("a member's name is not valid JSON") from None
        if key in self._keys:
            raise invalid("the body is not a valid envelope", {key: "appears more than once"})
        if len(self._keys) == self._max_keys:
            raise invalid("the body is not a valid envelope", {"body": f"has more than {self._max_keys} members"})
        self._keys.add(key)
        self._key = key

    def _take_value(self, token: bytes) -> None:
        if self._key == "auth_data":
            self.auth = decode_auth(token, self._max_cost)
        elif self._key == "session_id":
            self.session_id = decode_session_id(token)
        else:
            try:
                token.decode()  # the decoder does not check the strings that it skips
                _check_value(token)
            except _NOT_JSON:
                raise invalid("the body is not valid JSON", {self._key: "is not valid JSON"}) from None


def skip_space(data: bytes, position: int, stop: int) -> int:
    """The offset of the first byte from `position` on that is not white space, or `stop`."""
    found = _space(data, position, stop)
    return found.end() if found else position


def scan(scanner: Scanner, data: bytes, position: int, stop: int) -> int:
    """Like Scanner.feed, but raises Refusal 422 instead of Malformed."""
    try:
        return scanner.feed(data, position, stop)
    except Malformed:
        raise invalid("the body is not valid JSON") from None


def invalid(message: str, fields: dict[str, str] | None = None) -> Refusal:
    """The refusal of an invalid envelope; `fields` maps the name of each wrong member to its error."""
    return Refusal(422, "invalid_envelope", message, fields=fields)


def too_large(what: str, limit: int) -> Refusal:
    """The refusal of a part of the body (`what`) that is longer than `limit` bytes."""
    return Refusal(413, "body_too_large", f"{what} may have at most {limit} bytes")
