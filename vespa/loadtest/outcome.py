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
    status: int = 0  # 0 if no response began
    kind: Kind | None = None  # none after a success
    code: str = ""  # the error code from X-Vespa-Error, or from our own agent
    message: str = ""
    bytes: int = 0
    pieces: int = 0  # the number of pieces of a stream with text
    tokens: int | None = None  # the number that the backend reports; None if it does not

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return self.kind is None
