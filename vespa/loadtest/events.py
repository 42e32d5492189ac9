"""Interprets a decoded piece of a response, in the dialects of OpenAI, Anthropic, TGI, llama.cpp and Ollama."""

from __future__ import annotations

from typing import Any

_TEXTS = ("content", "reasoning_content", "reasoning", "text", "tool_calls", "refusal")
_FAILED = frozenset({"failed", "timeout", "cancelled"})


def pieces_of(event: dict[str, Any]) -> int:
    """The number of pieces of generated text in an event of a stream."""
    if choices := event.get("choices"):
        pieces = 0
        for choice in choices if type(choices) is list else ():
            delta = choice.get("delta") or choice if type(choice) is dict else None
            if type(delta) is dict:
                for name in _TEXTS:
                    if delta.get(name):
                        pieces += 1
                        break
        return pieces
    kind, delta, message = event.get("type"), event.get("delta"), event.get("message")
    if kind == "content_block_delta":
        return int(bool(delta))
    if type(kind) is str and kind.endswith(".delta"):
        return int(type(delta) is str and delta != "")
    said = (message.get("content") or message.get("thinking")) if type(message) is dict else None
    texts = (event.get("content"), event.get("response"), said)
    return int(type(event.get("token")) is dict or any(type(text) is str and text for text in texts))


def is_last(event: dict[str, Any]) -> bool:
    """Whether an event is the last of its stream."""
    if choices := event.get("choices"):
        for choice in choices if type(choices) is list else ():
            if type(choice) is dict and choice.get("finish_reason"):
                return True
        return False
    if event.get("type") in ("message_stop", "response.completed", "response.incomplete"):
        return True
    return bool(event.get("generated_text") or event.get("done") is True or event.get("stop") is True)


def tokens_of(value: dict[str, Any]) -> tuple[int | None, int | None]:
    """
    The numbers of generated tokens and of the prompt's tokens that the backend reports in an event or a whole response.

    None for a number that it does not report there.
    """
    inner = value.get("response")
    if type(inner) is dict:  # an event of OpenAI's Responses API has its usage there
        value = inner
    usage, message = value.get("usage"), value.get("message")
    if type(usage) is dict:
        return _count(usage, "completion_tokens", "output_tokens"), _count(usage, "prompt_tokens", "input_tokens")
    if type(message) is dict and type(usage := message.get("usage")) is dict:
        return None, _count(usage, "input_tokens")  # Anthropic's first event; its last one has the generated tokens
    details = value.get("details")
    if type(details) is dict:
        return _count(details, "generated_tokens"), None
    return _count(value, "tokens_predicted", "eval_count"), _count(value, "tokens_evaluated", "prompt_eval_count")


def _count(where: dict[str, Any], *names: str) -> int | None:
    for name in names:
        count = where.get(name)
        if type(count) is int and count >= 0:
            return count
    return None


def error_of_event(event: dict[str, Any], name: str) -> str:
    """The error in an event of a stream with this event name; "" for none."""
    if error := event.get("error"):
        return text_of(error)
    if name == "error" or event.get("type") in ("error", "response.failed"):
        return text_of(event.get("message") or event.get("response") or event)
    return ""


def error_of_response(response: dict[str, Any]) -> str:
    """The error in a whole response, which may have status 200; "" for none."""
    if error := response.get("error"):
        return text_of(error)
    status = response.get("status")
    return text_of(response.get("message") or status) if type(status) is str and status in _FAILED else ""


def text_of(error: Any) -> str:
    """The text of an error in any form."""
    if type(error) is dict:
        for name in ("message", "error", "detail", "code", "type"):
            if error.get(name):
                return text_of(error[name])
    return str(error)
