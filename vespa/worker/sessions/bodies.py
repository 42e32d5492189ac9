"""How the bodies of requests for a session are read, which the worker answers itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vespa.protocol.request_head import RequestHead
from vespa.proxy.interfaces import BodyTransform, Piece, RequestBody
from vespa.vast.auth import Auth
from vespa.vast.query_envelope import unwrap_query
from vespa.worker.sessions.messages import (
    BODY_MAX,
    CREATE,
    NamedSession,
    WantedSession,
    read_create,
    read_named,
    too_large,
)

Call = WantedSession | NamedSession


def path_of(head: RequestHead) -> bytes:
    """A request's path, without its query."""
    return head.target.partition(b"?")[0]


class SessionBodies:
    """Reads the bodies of requests for a session. The backend gets none of them."""

    def __init__(self, max_cost: Callable[[], float], longest_lifetime: float) -> None:
        """`max_cost` returns the highest cost that a request may name, in units of work."""
        self._max_cost = max_cost
        self._longest = longest_lifetime

    def unwrap(self, head: RequestHead, body: bytes) -> tuple[Call, bytes]:
        """Raises Refusal 422 "invalid_envelope" and 413 "body_too_large"."""
        if len(body) > BODY_MAX:
            raise too_large()
        if path_of(head) != CREATE:
            return read_named(body), b""
        signed: Auth | None = None
        if b"?" in head.target:
            signed, _ = unwrap_query(head.target.partition(b"?")[2], self._max_cost())
        return read_create(body, signed, self._max_cost(), self._longest), b""

    def begin_body(self, head: RequestHead, length: int | None) -> RequestBody:
        """Begin a body that comes in several reads. Raises `Refusal` like `unwrap`."""
        if length is not None and length > BODY_MAX:
            raise too_large()
        return _Collected(self, head)


class _Collected:
    """A body that is read when it is complete."""

    ready = verbatim = False
    length: int | None = 0

    def __init__(self, bodies: SessionBodies, head: RequestHead) -> None:
        self.content: Call | None = None
        self._bodies = bodies
        self._head = head
        self._data = bytearray()

    def feed(self, data: bytes) -> Sequence[Piece]:
        self._data += data
        if len(self._data) > BODY_MAX:
            raise too_large()
        return ()

    def finish(self) -> Sequence[Piece]:
        self.content, _ = self._bodies.unwrap(self._head, bytes(self._data))
        self.ready = True
        return ()


_check: type[BodyTransform] = SessionBodies
