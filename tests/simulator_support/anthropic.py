"""The small backend's response in the shapes of Anthropic's Messages API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from attrs import frozen

from vespa.simulator.completions import MODEL, words_of


@frozen
class AnthropicMessage:
    """One message that was asked for."""

    number: int
    input_tokens: int
    max_tokens: int

    @property
    def words(self) -> list[str]:
        """The response, word by word; a token is a word here."""
        return words_of(self.max_tokens)

    @property
    def stop_reason(self) -> str:
        """Why the response ends where it does."""
        return "max_tokens" if self.max_tokens < len(words_of()) else "end_turn"

    def whole(self) -> dict[str, Any]:
        """The message in one piece."""
        content = [{"type": "text", "text": "".join(self.words)}]
        return self._message(content, self.stop_reason, len(self.words))

    def events(self) -> Iterator[bytes]:
        """The message as server-sent events, one a word."""
        yield _event("message_start", message=self._message([], None, 0))
        yield _event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        yield _event("ping")
        for word in self.words:
            yield _event("content_block_delta", index=0, delta={"type": "text_delta", "text": word})
        yield _event("content_block_stop", index=0)
        ending = {"stop_reason": self.stop_reason, "stop_sequence": None}
        yield _event("message_delta", delta=ending, usage={"output_tokens": len(self.words)})
        yield _event("message_stop")

    def _message(self, content: list[dict[str, str]], stop_reason: str | None, made: int) -> dict[str, Any]:
        return {
            "id": f"msg_{self.number}",
            "type": "message",
            "role": "assistant",
            "model": MODEL,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": None,
            "usage": {"input_tokens": self.input_tokens, "output_tokens": made},
        }


def _event(kind: str, **fields: object) -> bytes:
    data = json.dumps({"type": kind, **fields}, separators=(",", ":"))
    return f"event: {kind}\ndata: {data}\n\n".encode()
