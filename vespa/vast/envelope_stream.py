"""
Reads an envelope while it arrives: `{"auth_data": …, "session_id": …, "payload": …}`.

`auth_data` comes before the payload, so the worker can verify it early. The payload's own bytes go on to the
backend piece by piece, in constant memory. These rules make this safe:

- Nothing is returned before `auth_data` has been read, and nothing after the payload is ever returned.
- The payload is not validated: the reader only finds its end. Everything else is checked strictly. So the envelope is
  valid JSON exactly if the payload is, and the backend receives the payload as it was sent.
- Keys are compared after decoding, and none may come twice. So nothing can replace verified data. The members after the
  payload are checked as strictly, before the backend's request is complete. The official client sends nothing there.
- The result and the payload depend on the bytes only, never on how they were split.
- The backend's request is complete only after the whole envelope has been checked. In chunked framing the caller keeps
  the last chunk until `finish` has returned. With a Content-Length, this class keeps the last byte.

If the payload comes before `auth_data`, the worker cannot pass it on before its end. Such a body is kept, up to a
limit, for the parser of whole bodies, which allows any order.
"""

from __future__ import annotations

from enum import IntEnum

from vespa.vast.auth import Auth
from vespa.vast.envelope_prefix import EnvelopePrefix, invalid, scan, too_large
from vespa.vast.json_scanner import Scanner
from vespa.vast.whole_envelope import unwrap_body


class _Place(IntEnum):
    """The part of the envelope to which the next byte belongs."""

    HEAD = 0
    PAYLOAD = 1
    CLOSE = 2
    END = 3
    WHOLE = 4


class EnvelopeStream:
    """
    Unwraps one envelope as it arrives.

    The caller passes every chunk of the body to `feed`, and then calls `finish`. The returned bytes, in that order, are
    for the backend. `auth` is set when `auth_data` is complete: in `feed`, or in `finish` if `streaming` was never
    true. The caller verifies it before it passes on the bytes that the same call returned. After a Refusal the object
    cannot be used. If the call that raised it has set `auth`, the error is after `auth_data` in the body.

    Limits are in bytes: `max_head` for everything before the payload and again for everything after it, `max_auth` for
    `auth_data`, `max_unverified` for a body whose payload comes before `auth_data`. `max_keys` limits the number of
    keys. `content_length` is the body's length, if the backend needs to know the payload's length in advance.
    """

    def __init__(
        self,
        max_cost: float,
        max_head: int = 65536,
        max_auth: int = 16384,
        max_keys: int = 64,
        max_unverified: int = 1 << 20,
        *,
        content_length: int | None = None,
    ) -> None:
        self.auth: Auth | None = None  # the signed data, once it is complete; not verified
        self.session_id: str | None = None
        """The session that the request names, or None. Final after `finish`, because it may follow the payload."""
        self.session_before: str | None = None
        """The session that is named before the payload, or None. Final once `streaming` is true."""
        self.payload_complete = False
        """Whether the end of the payload has come. The envelope may still be incomplete."""
        self._max_cost = max_cost
        self._max_unverified = max_unverified
        self._content_length = content_length
        self._place = _Place.HEAD
        self._members = EnvelopePrefix(max_cost, max_head, max_auth, max_keys)
        self._scanner = Scanner()
        self._whole = bytearray()
        self._before = 0
        self._after = 0
        self._held = b""

    @property
    def streaming(self) -> bool:
        """Whether the payload began after `auth_data`, so that pieces may pass once `auth` is verified."""
        return self._place in (_Place.PAYLOAD, _Place.CLOSE, _Place.END)

    def payload_length(self, content_length: int) -> int:
        """
        The number of bytes that the backend gets of an envelope of `content_length` bytes. Only while `streaming`.

        At that point only one byte after the payload is certain, the `}`. For each further byte, the payload gets one
        byte of white space, which has no meaning in JSON.
        """
        return content_length - self._before - 1

    @property
    def padding(self) -> int:
        """The number of bytes of white space that `finish` adds to a payload whose length was announced."""
        if self._content_length is None or not self.payload_complete:
            return 0
        return self.payload_length(self._content_length) - self._scanner.length

    def feed(self, data: bytes) -> list[bytes | memoryview]:
        """
        Take the next chunk. Returns the pieces of it that belong to the payload and may pass once `auth` is verified.

        A chunk that lies wholly in the payload is returned itself, a part of a chunk as a view. Raises Refusal: 422 for
        an invalid envelope, 413 if a limit is exceeded.
        """
        pieces: list[bytes | memoryview] = []
        position = 0
        if self._place == _Place.HEAD:
            position = self._read_head(data)
        if self._place == _Place.PAYLOAD and position < len(data):
            position = self._read_payload(data, position, pieces)
        if self._place in (_Place.CLOSE, _Place.END):
            self._read_tail(data, position)
        elif self._place == _Place.WHOLE:
            self._keep(data, position)
        return pieces

    def finish(self) -> bytes | None:
        """
        Check that the body ended with the envelope. Returns the bytes that the backend still has to get.

        These are the whole payload if nothing was `streaming`; the last byte, or white space up to the announced
        length, if `content_length` was given; otherwise None. Raises Refusal 422.
        """
        if self._place == _Place.WHOLE:
            envelope = unwrap_body(bytes(self._whole), self._max_cost)
            self.auth = envelope.auth
            self.session_id = envelope.session_id
            self.payload_complete = True
            return envelope.payload
        if self._place != _Place.END:
            raise invalid("the body ended before the envelope did")
        if self._content_length is None:
            return None
        if self._before + self._scanner.length + self._after != self._content_length:
            raise invalid("the body does not have the length that Content-Length announced")
        return self._held or b" " * self.padding

    def _read_head(self, data: bytes) -> int:
        """Read the part before the payload. Returns how much of `data` that was, or was already kept."""
        members = self._members
        kept = len(members.kept)
        try:
            position = members.feed(data)
        finally:
            self.auth = members.auth
            self.session_id = self.session_before = members.session_id
        if position < 0:
            return len(data)
        if members.auth is None:
            self._place = _Place.WHOLE
            self._whole = members.kept
            return len(members.kept) - kept
        self._place = _Place.PAYLOAD
        self._before = kept + position
        members.resume()
        return position

    def _read_payload(self, data: bytes, start: int, pieces: list[bytes | memoryview]) -> int:
        """Add the payload's part of `data` to `pieces`. Returns the offset after it."""
        end = scan(self._scanner, data, start, len(data))
        if end < 0:
            end = len(data)
        else:
            self._place = _Place.CLOSE
            self.payload_complete = True
        stop = end
        if self._content_length is not None:
            room = self.payload_length(self._content_length) - self._scanner.length
            if room < 0:
                raise invalid("Content-Length leaves no room for the end of the envelope")
            if not room and start < stop:
                stop -= 1
                self._held = data[stop:end]
        if start == 0 and stop == len(data):
            pieces.append(data)
        elif start < stop:
            pieces.append(memoryview(data)[start:stop])
        return end

    def _read_tail(self, data: bytes, position: int) -> None:
        """Check the part after the payload: other members, and the end of the envelope."""
        self._after += len(data) - position
        members = self._members
        members.feed(data[position:] if position else data)
        self.session_id = members.session_id
        if members.closed:
            self._place = _Place.END

    def _keep(self, data: bytes, position: int) -> None:
        if len(self._whole) + len(data) - position > self._max_unverified:
            raise too_large("a body whose payload comes before auth_data", self._max_unverified)
        self._whole += memoryview(data)[position:]
