"""What a message's fields say of its content: its media type and its content coding (RFC 9110 8.3 and 8.4)."""

from __future__ import annotations

from collections.abc import Iterable

_NONE = frozenset((b"", b"identity"))


def media_type(lines: Iterable[bytes]) -> bytes:
    """The media type in these field lines, in lower case and without its parameters; b"" if there is none."""
    found = b""
    for line in lines:
        if line[:13].lower() == b"content-type:":
            found = line[13:].partition(b";")[0].strip(b" \t").lower()
    return found


def content_coding(lines: Iterable[bytes]) -> bytes:
    """The content codings in these field lines, as a list; b"" if there is none, or only `identity`."""
    found = b", ".join(line[17:].strip(b" \t") for line in lines if line[:17].lower() == b"content-encoding:")
    return b"" if found.lower() in _NONE else found
