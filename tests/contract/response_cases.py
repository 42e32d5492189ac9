"""The vocabulary of the response tables: what the backend does with one request, and what the client must then see."""

from __future__ import annotations

from attrs import frozen

from .cases import EITHER, lines
from .peers import Step
from .reader import Field

GET = lines()
HEAD = lines(start=b"HEAD /x HTTP/1.1")
OLD = lines(start=b"GET /x HTTP/1.0")


@frozen
class Passed:
    """
    The response arrives whole, with this status and body, and the connection then goes on or ends as `after` says.

    `has` are field lines (lower-case name) that the client must see, `lacks` names that it must not; `interim` the
    statuses before the final one. `reused`: whether the next request may, must or must not take the same connection
    to the backend. That all other fields arrive untouched is checked wherever the response can be read strictly.
    """

    body: bytes = b""
    status: int = 200
    has: tuple[Field, ...] = ()
    lacks: tuple[bytes, ...] = ()
    interim: tuple[int, ...] = ()
    after: str = "open"
    reused: bool | None = None


@frozen
class BadGateway:
    """
    The client is told in our words that it was the backend; `interim` None: after any number of interim responses.
    """

    interim: tuple[int, ...] | None = ()
    after: str = EITHER


@frozen
class Cut:
    """The head and these first bytes of the body arrive, and then it shows that the rest is missing."""

    body: bytes
    status: int = 200


Outcome = Passed | BadGateway | Cut


@frozen
class ResponseCase:
    """The `steps` of the backend, begun `at` the request's "head" or "end" or on "connect", and what may come of it."""

    name: str
    steps: tuple[Step, ...]
    outcomes: tuple[Outcome, ...]
    section: str
    request: tuple[Step, ...] = (GET,)
    at: str = "end"

    @property
    def method(self) -> bytes:
        first = self.request[0]
        assert isinstance(first, bytes)
        return first.split(b" ")[0]

    @property
    def version(self) -> int:
        first = self.request[0]
        assert isinstance(first, bytes)
        return 0 if b" HTTP/1.0\r\n" in first else 1

    @property
    def sent(self) -> bytes:
        return b"".join(step for step in self.steps if isinstance(step, bytes))


def responses(
    name: str,
    steps: bytes | tuple[Step, ...],
    *outcomes: Outcome,
    section: str,
    request: bytes | tuple[Step, ...] = GET,
    at: str = "end",
) -> ResponseCase:
    """A case; a single piece of bytes need not be a tuple."""
    pieces = (steps,) if isinstance(steps, bytes) else steps
    asked = (request,) if isinstance(request, bytes) else request
    return ResponseCase(name, pieces, outcomes, section, asked, at)


def head(*fields: bytes, start: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """A response's head of these lines."""
    return b"".join(line + b"\r\n" for line in (start, *fields)) + b"\r\n"
