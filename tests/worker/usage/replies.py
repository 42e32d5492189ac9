"""Replies of servers as they were seen, with the tokens that they report."""

from __future__ import annotations

import json
from typing import Any

from vespa.worker.usage.counts import Counts


def events(*values: Any, end: bytes = b"") -> bytes:
    """Server-sent events: `data` alone, or (event, data)."""
    parts = []
    for value in values:
        name, data = value if isinstance(value, tuple) else ("", value)
        parts.append((f"event: {name}\n" if name else "") + f"data: {json.dumps(data, separators=(',', ':'))}\n\n")
    return "".join(parts).encode() + end


def lines(*values: Any) -> bytes:
    """One JSON text a line."""
    return "".join(json.dumps(value, separators=(",", ":")) + "\n" for value in values).encode()


DONE = b"data: [DONE]\n\n"
TEXTS = ("The", " worker", ' says "usage":{"completion_tokens":9}', " [DONE]", ' data: {"done":true}', "\n")
"""Pieces of text, some of which look like what the reader looks for."""


def usage(generated: int, prompt: int = 11) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": generated, "total_tokens": generated + prompt}


def chunk(text: str | None, **more: Any) -> dict[str, Any]:
    """A chunk of OpenAI's; without text it is the last one."""
    choices = [] if text is None else [{"index": 0, "delta": {"content": text}, "finish_reason": None}]
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "m", "choices": choices, **more}


OPENAI = events(*map(chunk, TEXTS), chunk(None, usage=usage(6)), end=DONE)
VLLM_NULL = events(*(chunk(text, usage=None) for text in TEXTS), chunk(None, usage=usage(6)), end=DONE)
VLLM_CONTINUOUS = events(
    *(chunk(text, usage=usage(count)) for count, text in enumerate(TEXTS, 1)), chunk(None, usage=usage(6)), end=DONE
)
PYTHON = b"".join(
    b"data: " + json.dumps(each).encode() + b"\r\n\r\n" for each in (chunk("Hi"), chunk(None, usage=usage(6)))
)
"""As Python writes JSON by default, with the other line ends that events may have."""
RESPONSES = events(
    ("response.created", {"type": "response.created", "response": {"id": "r", "output": [], "usage": None}}),
    *(("response.output_text.delta", {"type": "response.output_text.delta", "delta": text}) for text in TEXTS),
    (
        "response.completed",
        {
            "type": "response.completed",
            "response": {
                "output": [{"content": [{"text": "".join(TEXTS)}]}],
                "tools": [{"parameters": {"usage": {"output_tokens": 999}}}],
                "usage": {"input_tokens": 11, "output_tokens": 6, "total_tokens": 17},
            },
        },
    ),
)
ANTHROPIC = events(
    ("message_start", {"type": "message_start", "message": {"usage": {"input_tokens": 11, "output_tokens": 1}}}),
    *(
        ("content_block_delta", {"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}})
        for text in TEXTS
    ),
    (
        "message_delta",
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 6}},
    ),
    ("message_stop", {"type": "message_stop"}),
)
OLLAMA = lines(
    *({"model": "m", "response": text, "done": False} for text in TEXTS),
    {
        "model": "m",
        "response": "",
        "done": True,
        "context": list(range(900)),
        "prompt_eval_count": 11,
        "eval_count": 6,
        "eval_duration": 7_000_000,
    },
)
LLAMA_CPP = events(
    *(
        {"content": text, "stop": False, "tokens_predicted": count, "tokens_evaluated": 11}
        for count, text in enumerate(TEXTS, 1)
    ),
    {"content": "", "stop": True, "tokens_predicted": 6, "tokens_evaluated": 11, "timings": {"predicted_n": 6}},
)
LLAMA_CPP_CHAT = events(
    *map(chunk, TEXTS),
    chunk("", timings={"prompt_n": 4, "cache_n": 7, "predicted_n": 6, "predicted_ms": 9.5}),
    end=DONE,
)
TGI = events(
    *({"token": {"text": text}, "generated_text": None, "details": None} for text in TEXTS),
    {
        "token": {"text": "."},
        "generated_text": "".join(TEXTS),
        "details": {"finish_reason": "length", "generated_tokens": 6, "seed": None, "input_length": 11},
    },
)

STREAMS = {
    "openai": OPENAI,
    "vllm, null": VLLM_NULL,
    "vllm, continuous": VLLM_CONTINUOUS,
    "python": PYTHON,
    "responses": RESPONSES,
    "anthropic": ANTHROPIC,
    "llama.cpp": LLAMA_CPP,
    "llama.cpp, chat": LLAMA_CPP_CHAT,
    "tgi": TGI,
}
"""Streams of events. Each reports 6 generated tokens and 11 of the prompt, except that `PYTHON` has fewer events."""

WHOLE: dict[str, tuple[Any, Counts]] = {
    "chat": ({"object": "chat.completion", "choices": [{}], "usage": usage(6)}, Counts(6, 11)),
    "responses": ({"object": "response", "usage": {"input_tokens": 11, "output_tokens": 6}}, Counts(6, 11)),
    "embeddings": ({"data": [], "usage": {"prompt_tokens": 11, "total_tokens": 11}}, Counts(0, 11)),
    "anthropic": (
        {
            "type": "message",
            "usage": {
                "input_tokens": 4,
                "cache_creation_input_tokens": 5,
                "cache_read_input_tokens": 2,
                "output_tokens": 6,
            },
        },
        Counts(6, 11),
    ),
    "ollama": ({"response": "Hi", "done": True, "eval_count": 6, "prompt_eval_count": 11}, Counts(6, 11, True)),
    "ollama chat": ({"message": {"content": "Hi"}, "done": True, "eval_count": 6}, Counts(6, 0, True)),
    "llama.cpp": ({"content": "Hi", "stop": True, "tokens_predicted": 6, "tokens_evaluated": 11}, Counts(6, 11, True)),
    "llama.cpp, several": ([{"tokens_predicted": 2, "tokens_evaluated": 5}, {"tokens_predicted": 4}], Counts(6, 5)),
    "tgi": ([{"generated_text": "Hi", "details": {"generated_tokens": 6}}], Counts(6, 0)),
}
"""Replies that are no streams."""
