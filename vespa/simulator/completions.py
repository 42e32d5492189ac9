"""The responses of the small backend, in the forms of OpenAI's API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

from attrs import frozen

MODEL = "vespa-demo"
COMPLETION_TEXT = (
    "Good morning. The autoscaler chose a worker for you and signed its address. Vespa checked that signature, "
    "removed the signed assignment, and gave me your request exactly as you sent it. Each word of mine passes through "
    "it the moment it is made, and when the last one has been sent, the autoscaler is told what this cost."
)

Api = Literal["chat", "text"]
OBJECTS: dict[Api, str] = {"chat": "chat.completion", "text": "text_completion"}


def words_of(limit: int | None = None) -> list[str]:
    """The response's first words, each except the first with a space before it."""
    return [word if place == 0 else " " + word for place, word in enumerate(COMPLETION_TEXT.split())][:limit]


@frozen
class ModelCompletion:
    """One response: its API and its length in words."""

    api: Api
    number: int
    created: int
    prompt_tokens: int
    max_tokens: int

    @property
    def words(self) -> list[str]:
        """The response, word by word. Here a token is a word."""
        return words_of(self.max_tokens)

    @property
    def finish_reason(self) -> str:
        """The reason for the end of the response."""
        return "length" if self.max_tokens < len(COMPLETION_TEXT.split()) else "stop"

    @property
    def usage(self) -> dict[str, int]:
        """The numbers of tokens."""
        made = len(self.words)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": made,
            "total_tokens": self.prompt_tokens + made,
        }

    def whole(self) -> dict[str, Any]:
        """The response in one piece."""
        said = {"role": "assistant", "content": "".join(self.words)}
        choice = self._choice(said, self.finish_reason, "message")
        return {**self._frame(OBJECTS[self.api], choice), "usage": self.usage}

    def events(self, include_usage: bool) -> Iterator[bytes]:
        """The response as server-sent events, one a word."""
        name = OBJECTS[self.api] + (".chunk" if self.api == "chat" else "")
        if self.api == "chat":
            yield _event(self._frame(name, self._choice({"role": "assistant", "content": ""})))
        for word in self.words:
            yield _event(self._frame(name, self._choice({"content": word})))
        yield _event(self._frame(name, self._choice({}, self.finish_reason)))
        if include_usage:
            yield _event({**self._frame(name), "usage": self.usage})
        yield b"data: [DONE]\n\n"

    def _choice(self, said: dict[str, str], reason: str | None = None, part: str = "delta") -> dict[str, Any]:
        if self.api == "text":
            return {"index": 0, "text": said.get("content", ""), "logprobs": None, "finish_reason": reason}
        return {"index": 0, part: said, "finish_reason": reason}

    def _frame(self, name: str, *choices: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": f"{'chatcmpl' if self.api == 'chat' else 'cmpl'}-{self.number}",
            "object": name,
            "created": self.created,
            "model": MODEL,
            "choices": choices,
        }


def _event(value: object) -> bytes:
    return b"data: " + json.dumps(value, separators=(",", ":")).encode("utf-8") + b"\n\n"
