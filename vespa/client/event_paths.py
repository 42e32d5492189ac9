"""Where `"stream": true` means server-sent events. Elsewhere it may mean lines of JSON, as in Ollama's /api/chat."""

from __future__ import annotations

from typing import Final

# OpenAI's and Anthropic's, whatever stands before them.
_ENDINGS: Final = (b"/v1/chat/completions", b"/v1/completions", b"/v1/responses", b"/v1/messages")
# The same without a version, llama.cpp's, SGLang's and TGI's own.
_WHOLE: Final = frozenset(
    (
        b"/chat/completions",
        b"/completions",
        b"/completion",
        b"/responses",
        b"/messages",
        b"/infill",
        b"/generate",
        b"/generate_stream",
    )
)


def has_event_path(target: bytes) -> bool:
    """Whether a stream that is asked for at this target is one of server-sent events."""
    path = target.partition(b"?")[0]
    return path.endswith(_ENDINGS) or path in _WHOLE
