"""What a JSON body says about the request that it is."""

from __future__ import annotations

from typing import Final

import msgspec
from attrs import frozen


@frozen
class Payload:
    """`streams`: it asks for a stream. `tokens`: the most that it wants made, None where it does not say."""

    streams: bool = False
    tokens: float | None = None


class _Asked(msgspec.Struct):
    # Raw: a member of another type than expected says nothing, and is the backend's to complain of.
    max_tokens: msgspec.Raw = msgspec.Raw(b"")
    max_completion_tokens: msgspec.Raw = msgspec.Raw(b"")
    stream: msgspec.Raw = msgspec.Raw(b"")


_NOTHING: Final = Payload()
_decode: Final = msgspec.json.Decoder(_Asked).decode
_decode_any: Final = msgspec.json.Decoder(msgspec.Raw).decode
_MALFORMED: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def read_payload(body: bytes) -> Payload | None:
    """Look into a whole body; None if it is not JSON. OpenAI's names are read, which others have taken over."""
    try:
        asked = _decode(body)
    except msgspec.ValidationError:  # JSON, but no object
        return _NOTHING if _is_json(body) else None
    except _MALFORMED:
        return None
    return Payload(bytes(asked.stream) == b"true", _count(asked.max_completion_tokens) or _count(asked.max_tokens))


def _count(raw: msgspec.Raw) -> float | None:
    text = bytes(raw)
    return float(text) if text.isdigit() and len(text) <= 9 else None


def _is_json(body: bytes) -> bool:
    try:
        _decode_any(body)
    except _MALFORMED:
        return False
    return True
