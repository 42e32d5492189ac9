"""The information in a JSON body about its request, as the APIs of inference servers write it."""

from __future__ import annotations

from typing import Final

import msgspec
from attrs import frozen


@frozen
class Payload:
    """`streams`: it asks for a stream. `tokens`: the maximum number of tokens to generate, None if not given."""

    streams: bool = False
    tokens: float | None = None


_ABSENT: Final = msgspec.Raw(b"")


class _Asked(msgspec.Struct):
    # Raw: a member of an unexpected type is ignored, and the backend may refuse it.
    max_completion_tokens: msgspec.Raw = _ABSENT
    max_output_tokens: msgspec.Raw = _ABSENT
    max_tokens: msgspec.Raw = _ABSENT
    max_new_tokens: msgspec.Raw = _ABSENT
    n_predict: msgspec.Raw = _ABSENT
    parameters: msgspec.Raw = _ABSENT
    options: msgspec.Raw = _ABSENT
    stream: msgspec.Raw = _ABSENT


class _Nested(msgspec.Struct):
    max_new_tokens: msgspec.Raw = _ABSENT
    num_predict: msgspec.Raw = _ABSENT


_NOTHING: Final = Payload()
_NOT_NESTED: Final = _Nested()
_decode: Final = msgspec.json.Decoder(_Asked).decode
_decode_nested: Final = msgspec.json.Decoder(_Nested).decode
_decode_any: Final = msgspec.json.Decoder(msgspec.Raw).decode
_MALFORMED: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

# The paths of OpenAI and Anthropic, with any prefix.
_EVENT_PATH_ENDINGS: Final = (b"/v1/chat/completions", b"/v1/completions", b"/v1/responses", b"/v1/messages")
# The same without a version, and those of llama.cpp, SGLang and TGI.
_EVENT_PATHS: Final = frozenset(
    b"/chat/completions /completions /completion /responses /messages /infill /generate /generate_stream".split()
)


def read_payload(body: bytes) -> Payload | None:
    """
    Parse a whole body; None if it is not JSON.

    The number of tokens is in the first of these members: OpenAI's chat and Responses (max_completion_tokens,
    max_output_tokens, max_tokens), llama.cpp (n_predict), TGI (parameters.max_new_tokens; SGLang and others at the
    top) and Ollama (options.num_predict).
    """
    try:
        asked = _decode(body)
    except msgspec.ValidationError:  # JSON, but not an object
        return _NOTHING if _is_json(body) else None
    except _MALFORMED:
        return None
    return Payload(bytes(asked.stream) == b"true", _tokens(asked))


def _tokens(asked: _Asked) -> float | None:
    told = (asked.max_completion_tokens, asked.max_output_tokens, asked.max_tokens, asked.n_predict)
    for raw in (*told, asked.max_new_tokens):
        if raw is not _ABSENT and (count := _count(raw)):
            return count
    if asked.parameters is not _ABSENT and (count := _count(_nested(asked.parameters).max_new_tokens)):
        return count
    return _count(_nested(asked.options).num_predict) if asked.options is not _ABSENT else None


def _nested(raw: msgspec.Raw) -> _Nested:
    try:
        return _decode_nested(raw)
    except _MALFORMED:
        return _NOT_NESTED


def has_event_path(target: bytes) -> bool:
    """
    Whether `"stream": true` at this target asks for server-sent events.

    At other targets it may ask for lines of JSON, as in Ollama's /api/chat.
    """
    path = target.partition(b"?")[0]
    return path.endswith(_EVENT_PATH_ENDINGS) or path in _EVENT_PATHS


def _count(raw: msgspec.Raw) -> float | None:
    text = bytes(raw)
    return float(text) if text.isdigit() and len(text) <= 9 else None


def _is_json(body: bytes) -> bool:
    try:
        _decode_any(body)
    except _MALFORMED:
        return False
    return True
