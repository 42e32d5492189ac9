"""The tokens that a reply of a language model reports, in the forms of the servers that people run."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

TOKENS_MAX: Final = 1_000_000_000
"""A larger number is no count of tokens. It is also the highest cost that a request may have."""

_ABSENT: Final = msgspec.Raw(b"")
_FINAL_TYPES: Final = frozenset(("response.completed", "response.incomplete", "response.failed", "message_delta"))
_BEGINNING: Final = "message_start"
_ERRORS: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Counts(NamedTuple):
    """
    Tokens of one reply. 0: not reported.

    `prompt` includes tokens that the server had cached. `final`: the reply says of itself that these are the last.
    """

    generated: int
    prompt: int
    final: bool = False

    def of(self, unit: str) -> int:
        """The tokens that are work, where `unit` is "completion" or "total"; 0: not reported."""
        return self.generated if unit == "completion" else self.generated + self.prompt


class _Holder(msgspec.Struct):
    """An object with a `usage`."""

    usage: msgspec.Raw = _ABSENT


class _Usage(msgspec.Struct):
    """
    OpenAI: `completion_tokens`, `prompt_tokens`.

    Anthropic, and OpenAI's responses: `output_tokens`, `input_tokens`.
    """

    completion_tokens: Any = None
    output_tokens: Any = None
    prompt_tokens: Any = None
    input_tokens: Any = None
    # Anthropic's `input_tokens` leaves these out.
    cache_creation_input_tokens: Any = None
    cache_read_input_tokens: Any = None


class _Timings(msgspec.Struct):
    """llama.cpp's, in its own replies and in those of its OpenAI routes."""

    predicted_n: Any = None
    prompt_n: Any = None
    cache_n: Any = None


class _Details(msgspec.Struct):
    """Text Generation Inference's."""

    generated_tokens: Any = None
    input_length: Any = None


class _Reply(msgspec.Struct):
    """The members of a reply that matter here. msgspec skips the others without making objects of them."""

    type: Any = None
    usage: msgspec.Raw = _ABSENT
    choices: msgspec.Raw = _ABSENT
    response: msgspec.Raw = _ABSENT
    message: msgspec.Raw = _ABSENT
    # Ollama
    done: Any = None
    eval_count: Any = None
    prompt_eval_count: Any = None
    # llama.cpp
    stop: Any = None
    tokens_predicted: Any = None
    tokens_evaluated: Any = None
    timings: msgspec.Raw = _ABSENT
    # Text Generation Inference
    details: msgspec.Raw = _ABSENT


_reply: Final = msgspec.json.Decoder(_Reply)
_replies: Final = msgspec.json.Decoder(list[_Reply])
_holder: Final = msgspec.json.Decoder(_Holder)
_usage: Final = msgspec.json.Decoder(_Usage)
_timings: Final = msgspec.json.Decoder(_Timings)
_details: Final = msgspec.json.Decoder(_Details)


def read_counts(text: bytes) -> Counts | None:
    """
    The tokens that a JSON text reports: a whole reply, or one event of a stream. None if it reports none.

    An array of replies (llama.cpp and Text Generation Inference, for several prompts) is their sum. Where a name is
    twice in an object, the last counts. Never raises.
    """
    try:
        if text.lstrip()[:1] == b"[":
            found = [counts for reply in _replies.decode(text) if (counts := _counts(reply)) is not None]
            generated, prompt = sum(each.generated for each in found), sum(each.prompt for each in found)
            return Counts(generated, prompt) if found and generated + prompt <= TOKENS_MAX else None
        return _counts(_reply.decode(text))
    except _ERRORS:
        return None


def _counts(reply: _Reply) -> Counts | None:
    final = reply.type in _FINAL_TYPES if isinstance(reply.type, str) else False
    usage = _usage_of(reply)
    if usage is not None:
        # The event with the usage of a whole stream has an empty list of choices.
        return _made(*usage, final or (len(reply.choices) == 2 and _begins(reply.choices, b"[")))
    if reply.eval_count is not None:
        return _made(reply.eval_count, reply.prompt_eval_count, reply.done is True)
    if reply.tokens_predicted is not None:
        return _made(reply.tokens_predicted, reply.tokens_evaluated, reply.stop is True)
    if _is_object(reply.timings):
        timings = _timings.decode(reply.timings)
        prompt = _number(timings.prompt_n) + _number(timings.cache_n)
        return _made(timings.predicted_n, prompt, False)
    if _is_object(reply.details):
        details = _details.decode(reply.details)
        return _made(details.generated_tokens, details.input_length, True)
    return None


def _usage_of(reply: _Reply) -> tuple[object, object] | None:
    """Generated and prompt tokens from a `usage`, of the reply itself or of the object in it."""
    text = reply.usage
    for inner in (reply.response, reply.message):
        if not _is_object(text) and _is_object(inner):
            text = _holder.decode(inner).usage
    if not _is_object(text):
        return None
    usage = _usage.decode(text)
    generated = usage.output_tokens if usage.completion_tokens is None else usage.completion_tokens
    prompt = usage.prompt_tokens
    if prompt is None:
        cached = _number(usage.cache_creation_input_tokens) + _number(usage.cache_read_input_tokens)
        prompt = _number(usage.input_tokens) + cached
    # What Anthropic's first event reports as generated is a placeholder.
    return (0 if reply.type == _BEGINNING else generated), prompt


def _is_object(text: msgspec.Raw) -> bool:
    return _begins(text, b"{")


def _begins(text: msgspec.Raw, character: bytes) -> bool:
    return memoryview(text)[:1].tobytes() == character  # it has no white space before it


def _made(generated: object, prompt: object, final: bool) -> Counts | None:
    counts = Counts(_number(generated), _number(prompt), final)
    return counts if 0 < counts.generated + counts.prompt <= TOKENS_MAX else None


def _number(value: object) -> int:
    """A count of tokens, 0 for anything that is none: negative, too large, not whole, True."""
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= TOKENS_MAX else 0
