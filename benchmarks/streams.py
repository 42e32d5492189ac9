"""Parts that the built-in LLM benchmarks share: the size of requests, the meaning of refusals, events of a stream."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from benchmarks.measure import setting, words

if TYPE_CHECKING:
    from aiohttp import ClientResponse

_FEWEST_WORDS = 8
_FEWEST_TOKENS = 16
_TAIL = 8192  # bytes: the last events, one of which may report the tokens
_TOO_LONG = (
    "context",
    "too long",
    "too large",
    "exceed",
    "longer than",
    "must be <=",
    "maximum length",
    "max_model_len",
    "maximum model length",
    "`inputs` must have",
)


class Refused(RuntimeError):
    """The backend refused a request; `too_long` if the request exceeds its context."""

    def __init__(self, message: str, status: int, too_long: bool) -> None:
        super().__init__(message)
        self.status = status
        self.too_long = too_long


def refusal(what: str, status: int, text: str) -> Refused:
    """The error for a response, or for an event of a stream, with the setting that may help."""
    text = text[:2000]
    message = f"{what} answered {status}: {text[:300]}"
    if status == 200:
        message = f"{what} failed in its stream: {text[:300]}"
    elif status in (401, 403):
        key = "the backend requires a key, or another one: set VESPA_BACKEND_AUTHORIZATION, such as 'Bearer KEY'"
        message = f"{what} answered {status}: {key} ({text[:300]})"
    lower = text.lower()
    too_long = status in (400, 413, 422) and any(sign in lower for sign in _TOO_LONG)
    too_long = too_long or (status in (200, 500) and "context" in lower and ("size" in lower or "length" in lower))
    return Refused(message, status, too_long)


async def require_success(what: str, response: ClientResponse) -> None:
    """Raises Refused for any status except 200."""
    if response.status != 200:
        raise refusal(what, response.status, " ".join((await response.text()).split()))


class Size:
    """The size of a request: words in its prompt, and tokens that it may generate. It shrinks to fit a small context.

    Sizes from the environment do not change.
    """

    def __init__(self, tokens: int) -> None:
        """`tokens` is the default of BENCHMARK_MAX_TOKENS."""
        self.words = setting("BENCHMARK_PROMPT_WORDS", 250)
        self.tokens = setting("BENCHMARK_MAX_TOKENS", tokens)
        self._words_fixed = bool(os.environ.get("BENCHMARK_PROMPT_WORDS", "").strip())
        self._tokens_fixed = bool(os.environ.get("BENCHMARK_MAX_TOKENS", "").strip())

    def prompt(self) -> str:
        """A prompt that is in no backend's cache."""
        return "Write a long story in which all of these words occur: " + words(self.words)

    def shrink(self, error: Refused) -> None:
        """Halve the size. Raises RuntimeError with the variables to set if nothing can be halved."""
        if not self._words_fixed and self.words > _FEWEST_WORDS:
            self.words = max(_FEWEST_WORDS, self.words // 2)
        elif not self._tokens_fixed and self.tokens > _FEWEST_TOKENS:
            self.tokens = max(_FEWEST_TOKENS, self.tokens // 2)
        else:
            raise RuntimeError(
                f"the model's context is too small for {self.words} words and {self.tokens} tokens: set "
                f"BENCHMARK_PROMPT_WORDS and BENCHMARK_MAX_TOKENS lower, or the backend's context higher ({error})"
            ) from error
        print(f"the model's context is small: continuing with {self.words} words and {self.tokens} tokens")


class Events:
    """Counts the events with text in a stream of server-sent events, and parses as few of them as possible.

    A benchmark that parses each of 50,000 events a second measures itself.
    """

    def __init__(self, what: str, has_text: Callable[[dict[str, Any]], bool]) -> None:
        """`what` is the name in errors; `has_text` decides whether an event carries a token."""
        self._what = what
        self._has_text = has_text
        self._rest = b""
        self._tail = b""
        self._begun = False

    @property
    def held_bytes(self) -> int:
        """The size of the kept end of the stream."""
        return len(self._tail) + len(self._rest)

    def feed(self, data: bytes) -> int:
        """The number of pieces of text that end in `data`. Raises Refused if an event reports an error."""
        whole, newline, self._rest = (self._rest + data).rpartition(b"\n")
        whole += newline
        if b'"error"' in whole or whole.startswith(b"error:") or b"\nerror:" in whole:
            self._look_for_error(whole)
        self._tail = (self._tail + whole)[-_TAIL:]
        if not self._begun:
            whole = self._from_first_text(whole)
            self._begun = bool(whole)
        return whole.count(b"\ndata:") + whole.startswith(b"data:")

    def last(self) -> list[dict[str, Any]]:
        """The last events of the stream, newest first."""
        complete = self._tail + self._rest
        if len(complete) >= _TAIL:
            complete = complete.partition(b"\n")[2]
        return list(_events(complete))[::-1]

    def without_text(self) -> int:
        """The number of last events without text, which `feed` has counted if text came before them."""
        count = 0
        if self._begun:
            for event in self.last():
                if self._has_text(event):
                    break
                count += 1
            count += self._tail.count(b"data: [DONE]")
        return count

    def _from_first_text(self, whole: bytes) -> bytes:
        """The lines from the first event with text; b"" if there is none."""
        lines = whole.splitlines(keepends=True)
        for place, line in enumerate(lines):
            if any(self._has_text(event) for event in _events(line)):
                return b"".join(lines[place:])
        return b""

    def _look_for_error(self, lines: bytes) -> None:
        for line in lines.splitlines():
            name, _, value = line.partition(b":")
            event = _parsed(value)
            error = event if name == b"error" else event.get("error")
            if error:
                message = error.get("message", error) if isinstance(error, dict) else error
                raise refusal(self._what, 200, str(message))


def _events(lines: bytes) -> Iterator[dict[str, Any]]:
    for line in lines.splitlines():
        if line.startswith(b"data:") and (event := _parsed(line[5:])):
            yield event


def _parsed(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`; empty if there is none."""
    try:
        event = json.loads(data)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}
