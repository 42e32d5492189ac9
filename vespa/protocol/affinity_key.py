"""The part of a request by which it goes to the same backend as others with the same: a field, or a member of JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from attrs import frozen

from vespa.protocol.fields import INVALID, kind_of

BODY_MAX: Final = 1 << 20
"""A body with more bytes is not read."""
DEPTH_MAX: Final = 8
"""The maximum of names in a path."""
VALUE_MAX: Final = 4096
"""So many bytes of a value count, the first: long ones with the same beginning share a prefix cache."""

_as_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_as_list: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_MALFORMED: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_DIGITS: Final = 7  # of the number of an element; no body has more elements
_WHITE_MAX: Final = 64  # the white space before a list
_NOTHING: Final = frozenset((b"null", b'""'))


@frozen
class AffinityKey:
    """
    Either `field`, the name of a field of the head in lower case, or `path`, the names down to a member of a JSON body.

    A name of digits also means an element of a list, counted from 0.
    """

    field: bytes = b""
    path: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> AffinityKey:
        """Read `header:NAME` or `json:path.to.member`. Raises ValueError."""
        kind, _, name = text.partition(":")
        if kind == "header":
            if not name.isascii() or kind_of(name.encode("ascii")) == INVALID:
                raise ValueError("the name of a header is missing or not valid: header:X-User")
            return cls(field=name.lower().encode("ascii"))
        if kind == "json":
            path = tuple(name.split("."))
            if not all(path):
                raise ValueError("a name of the path is missing: json:user, json:messages.0.content")
            if len(path) > DEPTH_MAX:
                raise ValueError(f"the path has more than {DEPTH_MAX} names")
            return cls(path=path)
        raise ValueError("it is neither header:NAME nor json:path.to.member")

    def __str__(self) -> str:
        return f"header:{self.field.decode('ascii')}" if self.field else f"json:{'.'.join(self.path)}"

    def in_fields(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
        """The beginning of the field's value; None if it is absent or empty. Of several the first counts."""
        for name, value in headers:
            if name.lower() == self.field:
                return value.strip(b" \t")[:VALUE_MAX] or None
        return None

    def in_body(self, body: bytes) -> bytes | None:
        """The beginning of the member's JSON text; None if it is absent, null, an empty string, or if it is no JSON."""
        if not 0 < len(body) <= BODY_MAX:
            return None
        try:
            found = _follow(body, self.path)
        except _MALFORMED:
            return None
        return None if found is None or found in _NOTHING else found[:VALUE_MAX]


def _follow(body: bytes, path: Sequence[str]) -> bytes | None:
    raw: msgspec.Raw | bytes = body
    for name in path:
        # Raw: what the path does not lead to is checked, but no objects are made of it.
        if memoryview(raw)[:_WHITE_MAX].tobytes().lstrip()[:1] == b"[":
            elements = _as_list(raw)
            if not name.isascii() or not name.isdigit() or len(name) > _DIGITS or int(name) >= len(elements):
                return None
            raw = elements[int(name)]
        else:
            members = _as_object(raw)
            if name not in members:
                return None
            raw = members[name]
    return bytes(raw).strip()
