"""What one piece of a response says, in the dialects of the backends that Vespa is put before."""

from __future__ import annotations

from typing import Any

from attrs import frozen

_TEXTS = ("content", "reasoning_content", "reasoning", "text", "tool_calls", "refusal")
_FAILED = frozenset({"failed", "timeout", "cancelled"})


@frozen
class Said:
    """
    What was found. `pieces`: how many carry text that was generated; `tokens`: what the backend counts itself, None
    where it does not tell; `error`: "" when there is none; `last`: it says that nothing more is to come.
    """

    pieces: int = 0
    tokens: int | None = None
    error: str = ""
    last: bool = False


NOTHING = Said()


def of_event(value: Any, name: str = "") -> Said:
    """Read one event of a stream, decoded; `name` is the event's own. OpenAI, Anthropic, TGI, llama.cpp, Ollama."""
    if type(value) is not dict:
        return Said(error=_text(value)) if name == "error" else NOTHING
    if choices := value.get("choices"):
        pieces, last = _of_choices(choices)
        return Said(pieces, _usage(value), _error(value), last)
    kind = value.get("type")
    error = _error(value)
    if not error and (name == "error" or kind in ("error", "response.failed")):
        error = _text(value.get("message") or value.get("response") or value)
    inner = value.get("response")  # text of Ollama's, or where OpenAI's responses carry their usage
    tokens = _usage(inner if type(inner) is dict else value)
    return Said(int(_has_text(value, kind)), tokens, error, _is_last(value, kind))


def of_answer(value: Any) -> Said:
    """Read a whole response, decoded: what it counts, and whether it is a failure that came with status 200."""
    if type(value) is list and len(value) == 1:
        value = value[0]
    if type(value) is not dict:
        return NOTHING
    error = _error(value)
    status = value.get("status")
    if not error and type(status) is str and status in _FAILED:
        error = _text(value.get("message") or status)
    return Said(0, _usage(value), error, True)


def _of_choices(choices: Any) -> tuple[int, bool]:
    pieces, last = 0, False
    for choice in choices if type(choices) is list else ():
        if type(choice) is not dict:
            continue
        delta = choice.get("delta") or choice
        if type(delta) is dict:
            for name in _TEXTS:
                if delta.get(name):
                    pieces += 1
                    break
        if choice.get("finish_reason"):
            last = True
    return pieces, last


def _has_text(value: dict[str, Any], kind: Any) -> bool:
    delta = value.get("delta")
    if kind == "content_block_delta":
        return bool(delta)
    if type(kind) is str and kind.endswith(".delta"):
        return type(delta) is str and bool(delta)
    message = value.get("message")
    texts = (
        value.get("content"),
        value.get("response"),
        message.get("content") or message.get("thinking") if type(message) is dict else None,
    )
    if any(type(text) is str and text for text in texts):
        return True
    return type(value.get("token")) is dict


def _is_last(value: dict[str, Any], kind: Any) -> bool:
    if kind in ("message_stop", "response.completed", "response.incomplete"):
        return True
    return bool(value.get("generated_text") or value.get("done") is True or value.get("stop") is True)


def _usage(value: dict[str, Any]) -> int | None:
    """The tokens generated, by whatever name."""
    usage, details = value.get("usage"), value.get("details")
    for where, name in (
        (usage, "completion_tokens"),
        (usage, "output_tokens"),
        (details, "generated_tokens"),
        (value, "tokens_predicted"),
        (value, "eval_count"),
    ):
        if type(where) is dict:
            count = where.get(name)
            if type(count) is int and count >= 0:
                return count
    return None


def _error(value: dict[str, Any]) -> str:
    error = value.get("error")
    return _text(error) if error else ""


def _text(error: Any) -> str:
    """What an error says, in whatever shape it came."""
    if type(error) is dict:
        for name in ("message", "error", "detail", "code", "type"):
            if error.get(name):
                return _text(error[name])
    return str(error)
