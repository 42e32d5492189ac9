"""The outcome of one request."""

from __future__ import annotations

from typing import Literal

from attrs import define

Kind = Literal["connection", "timeout", "status", "answer", "stream", "truncated", "protocol", "unfinished"]

MEANINGS: dict[Kind, str] = {
    "connection": "no connection, or it was lost before a response began",
    "timeout": "not finished in time",
    "status": "an HTTP status that is not a success",
    "answer": "status 200, and a response that reports a failure",
    "stream": "an error event in a stream",
    "truncated": "an incomplete response",
    "protocol": "a response that is not HTTP",
    "unfinished": "cancelled because the test was interrupted",
}


@define
class Outcome:
    """
    One request's times, in seconds on the tester's clock, and how it ended.

    Latency counts from `due`, when it should have been sent, not from `sent`. So a server that delays the tester does
    not look fast.
    """

    due: float
    sent: float
    ended: float = 0.0
    first_byte: float | None = None
    first_token: float | None = None
    last_token: float | None = None
    status: int = 0  # 0 if no response began
    kind: Kind | None = None  # none after a success
    code: str = ""  # the error code from X-Vespa-Error, or from our own agent
    message: str = ""
    bytes: int = 0
    pieces: int = 0  # the number of pieces of a stream with text
    tokens: int | None = None  # the number of generated tokens that the backend reports; None if it does not
    input_tokens: int | None = None  # that of the prompt

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return self.kind is None

    @property
    def latency(self) -> float:
        """The time from when it was due to its end."""
        return self.ended - self.due

    @property
    def time_to_first_token(self) -> float | None:
        """The time from when it was due to the first piece of text; None if there was none."""
        return None if self.first_token is None else self.first_token - self.due

    @property
    def time_per_output_token(self) -> float | None:
        """
        The mean time between tokens: from the first piece of text to the last, by the number of tokens after the first.

        None if there are fewer than two tokens. Usage and other events after the last text do not count, as with `vllm
        bench serve` and aiperf.
        """
        tokens = self.pieces if self.tokens is None else self.tokens
        if self.first_token is None or self.last_token is None or tokens < 2:
            return None
        return (self.last_token - self.first_token) / (tokens - 1)
