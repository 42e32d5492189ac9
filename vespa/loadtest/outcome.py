"""What became of one request."""

from __future__ import annotations

from typing import Literal

from attrs import define

Kind = Literal["connection", "timeout", "status", "answer", "stream", "truncated", "protocol", "unfinished"]

MEANINGS: dict[Kind, str] = {
    "connection": "no connection, or it was lost before a response began",
    "timeout": "not over in time",
    "status": "an HTTP status that is no success",
    "answer": "status 200, and a response that says it failed",
    "stream": "an error event in a stream",
    "truncated": "a response that broke off",
    "protocol": "a response that is not HTTP",
    "unfinished": "given up because the test was interrupted",
}


@define
class Outcome:
    """
    One request's times, in seconds on the tester's clock, and how it ended.

    Latency counts from `due`, when it should have been sent, not from `sent`: a server that makes the tester late does
    not look fast by it.
    """

    due: float
    sent: float
    ended: float = 0.0
    first_byte: float | None = None
    first_token: float | None = None
    status: int = 0
    """0: no response began."""
    kind: Kind | None = None
    """None: it succeeded."""
    code: str = ""
    """The word for it that Vespa gave in X-Vespa-Error, or our own agent."""
    message: str = ""
    bytes: int = 0
    pieces: int = 0
    """Pieces of a stream that carried text."""
    tokens: int | None = None
    """What the backend counted itself; None where it did not tell."""

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return self.kind is None
