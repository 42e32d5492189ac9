"""The vocabulary of the request tables: what is sent on one connection, and what must come of it."""

from __future__ import annotations

from attrs import field, frozen

from .peers import Step
from .reader import Field

OPEN, CLOSED, EITHER = "open", "closed", "either"


@frozen
class Forwarded:
    """
    The request reaches the backend, and the backend's response comes back.

    `has` are field lines (lower-case name) that the backend must see, `lacks` names that it must not. What is None is
    not looked at; that everything else passed untouched is checked for every case against the model.
    """

    target: bytes | None = None
    method: bytes = b"GET"
    body: bytes | None = None
    has: tuple[Field, ...] = ()
    lacks: tuple[bytes, ...] = ()
    continued: bool | None = None


@frozen
class Refused:
    """Answered by the proxy with one of these statuses; of a `begun` one the backend may have seen a beginning."""

    statuses: tuple[int, ...]
    begun: bool = False
    method: bytes = b"GET"


@frozen
class Local:
    """Answered by the proxy itself, and well."""

    statuses: tuple[int, ...] = (200,)
    body: bytes | None = None
    method: bytes = b"GET"


@frozen
class Unfinished:
    """The request never ends: refused or dropped, and the backend never takes what came for a whole request."""

    method: bytes = b"POST"


@frozen
class Either:
    """RFC 9112 lets a server do one or the other."""

    one: Forwarded | Refused | Local
    other: Forwarded | Refused | Local


Answer = Forwarded | Refused | Local | Unfinished | Either


@frozen
class Case:
    """
    `sent` on one connection gets `answers` in order, and leaves the connection `after` open or closed.

    `section` is where the rule stands: of RFC 9110 or 9112, or "Vespa" where the project is stricter.
    """

    name: str
    sent: tuple[Step, ...]
    answers: tuple[Answer, ...]
    after: str
    section: str
    version: int = 1
    limits: dict[str, int] = field(factory=dict)

    @property
    def whole(self) -> bytes | None:
        """Everything that is sent, where it is sent without waiting for anything."""
        return b"".join(self.sent) if all(isinstance(step, bytes) for step in self.sent) else None  # type: ignore[arg-type]


def case(
    name: str,
    sent: bytes | tuple[Step, ...],
    *answers: Answer,
    section: str,
    after: str = OPEN,
    version: int = 1,
    **limits: int,
) -> Case:
    """A case; one piece of bytes need not be a tuple."""
    return Case(name, (sent,) if isinstance(sent, bytes) else sent, answers, after, section, version, limits)


def refused(name: str, sent: bytes | tuple[Step, ...], *statuses: int, section: str, begun: bool = False) -> Case:
    """A case of one request that is refused with 400 or one of `statuses`, and whose connection is closed."""
    method = b"HEAD" if isinstance(sent, bytes) and sent.startswith(b"HEAD ") else b"GET"
    return case(name, sent, Refused(statuses or (400,), begun, method), after=CLOSED, section=section)


def lines(*fields: bytes, start: bytes = b"GET /x HTTP/1.1", host: bytes | None = b"Host: example.com") -> bytes:
    """A head of these lines, with a Host unless told otherwise."""
    return b"".join(line + b"\r\n" for line in (start, *(() if host is None else (host,)), *fields)) + b"\r\n"
