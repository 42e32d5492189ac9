"""The story of one request, from its head to its settlement.

Bytes flow straight through: what the client sends goes by the passage to the backend's connection, what the backend
answers goes
to the client's. Whatever happens is booked first and acted on second, so that the account is right whatever comes of
the act.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from vespa.core.headers import reply_lines
from vespa.core.lifecycle import Event
from vespa.core.refusal import Refusal
from vespa.http.connection import ClientConnection, UpstreamError
from vespa.http.head import ReplyHead
from vespa.http.request import CHUNKED, LENGTH, NONE, STREAM, ServerRequest
from vespa.http.sweep import Sweeper
from vespa.proxy.boundaries import Route
from vespa.proxy.tunnel import Tunnel

_HELD_MAX: Final = 65536
_REPLAY_MAX: Final = 65536
_IDEMPOTENT: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"))
# A pooled connection that the backend had closed fails at once; later than this, the backend may have been at work.
_STALE_SECONDS: Final = 1.0
_GATEWAY_TIMEOUTS: Final = frozenset(("backend_timeout", "first_byte_timeout", "idle_timeout", "total_timeout"))


@frozen(kw_only=True)
class Timeouts:
    """How long a backend may take, in seconds; 0 is for ever, which is right where streams may be silent for long."""

    first_byte: float = 0.0
    idle: float = 0.0
    total: float = 0.0

    @property
    def any(self) -> bool:
        return bool(self.first_byte or self.idle or self.total)


class Proxy:
    """What all exchanges share."""

    log = Logger()

    def __init__(
        self, route: Route, clock: IReactorTime, *, timeouts: Timeouts | None = None, log_served: bool = False
    ) -> None:
        self.route = route
        self.clock = clock
        self.timeouts = timeouts or Timeouts()
        self.sweeper = Sweeper(clock)
        # One event a request costs as much as a third of the request: successes are logged on demand.
        self.log_served = log_served


class Exchange:
    """
    One request on its way through. It is the `Receiver` of the client's side and the `ReplyReceiver` of the
    backend's.
    """

    __slots__ = (
        "_proxy",
        "_request",
        "_passage",
        "_upstream",
        "_connecting",
        "_held",
        "_held_size",
        "_body_done",
        "_admitted",
        "_chunking",
        "_replay",
        "_sent_at",
        "_reads",
        "_read_at",
        "_over",
        "_status",
        "_no",
    )

    def __init__(self, proxy: Proxy, request: ServerRequest) -> None:
        """Raises `Refusal` when the head alone is enough to say no."""
        self._proxy = proxy
        self._request = request
        self._upstream: ClientConnection | None = None
        self._connecting: Deferred[None] | None = None
        self._held: list[bytes | memoryview] = []
        self._held_size = 0
        self._body_done = False
        self._admitted = False
        self._chunking = False
        self._replay: bytes | None = None
        self._sent_at = 0.0
        self._reads = 0
        self._read_at = 0.0
        self._over = False
        self._status = 0
        self._no = Event.REFUSE  # what a refusal is called at this stage
        self._passage = proxy.route.open(request)
        if not self._passage.ready and request.head.expects_continue:
            request.permit()

    # -- the client's side

    def body(self, data: bytes) -> None:
        try:
            pieces = self._passage.feed(data)
            if pieces:
                self._pass_on(pieces)
            if not self._admitted and self._passage.ready:
                self._admit()
        except Refusal as refusal:
            self.refuse(refusal)

    def end(self) -> None:
        try:
            pieces = self._passage.finish()
            self._body_done = True
            if pieces:
                self._pass_on(pieces)
            if not self._admitted:
                self._admit()
            elif self._upstream is not None:
                self._finish_body(self._upstream)
        except Refusal as refusal:
            self.refuse(refusal)

    def gone(self) -> None:
        if self._over:
            return
        if self._passage.book(Event.GONE):
            self._proxy.log.info("gone: {method} {path}", method=self._method, path=self._path)
        self._settled()

    def pause(self) -> None:
        if self._upstream is not None:
            self._upstream.pause()

    def resume(self) -> None:
        if self._upstream is not None:
            self._upstream.resume()

    # -- admission

    def _admit(self) -> None:
        self._admitted = True
        if self._passage.admit(self):
            self.slot()
        else:
            self._no = Event.EXPIRE

    def slot(self) -> None:
        """It is this request's turn."""
        if self._over:
            return
        self._no = Event.BREAK
        connection = self._passage.pool.take()
        if connection is not None:
            self._send(connection)
        else:
            self._connect()

    def refuse(self, refusal: Exception) -> None:
        """Answer with an error of ours, whatever was under way."""
        assert isinstance(refusal, Refusal)
        if self._over:
            return
        self._passage.book(self._no)
        self._settled()
        self._proxy.log.debug(
            "refused: {method} {path}: {refusal}", method=self._method, path=self._path, refusal=str(refusal)
        )
        self._request.refuse(refusal)

    def _connect(self) -> None:
        connecting = self._passage.pool.connect()
        self._connecting = connecting.addCallbacks(self._connected, self._not_connected)

    def _connected(self, connection: ClientConnection) -> None:
        self._connecting = None
        if self._over:
            self._passage.pool.put(connection)
        else:
            self._send(connection)

    def _not_connected(self, failure: Failure) -> None:
        self._connecting = None
        if self._over or failure.check(CancelledError):
            return
        error = failure.value
        self.broke(
            error
            if isinstance(error, UpstreamError)
            else UpstreamError("backend_unreachable", failure.getErrorMessage())
        )

    # -- the request's way to the backend

    def _send(self, connection: ClientConnection) -> None:
        """Send the head, and of the body what is here."""
        self._upstream = connection
        request, passage = self._request, self._passage
        parts: list[bytes | memoryview] = [*passage.head()]
        length = passage.length
        if request.head.upgrade:
            parts += (b"Connection: Upgrade\r\nUpgrade: ", request.head.upgrade, b"\r\n")
        if length is not None:
            parts.append(b"Content-Length: %d\r\n\r\n" % length)
        elif passage.has_body:
            self._chunking = True
            parts.append(b"Transfer-Encoding: chunked\r\n\r\n")
        else:
            parts.append(b"\r\n")
        held, done = self._held, self._body_done or self._held_size == length
        parts += self._framed(held) if self._chunking else held
        if done and self._chunking:
            parts.append(b"0\r\n\r\n")
        data = b"".join(parts)
        if done and len(data) <= _REPLAY_MAX:
            self._replay = data
        self._held = []
        self._held_size = 0
        timeouts = self._proxy.timeouts
        self._sent_at = self._proxy.clock.seconds()
        if timeouts.any:
            self._read_at = self._sent_at
            self._proxy.sweeper.add(self)
        head = request.head
        connection.send(data, self, head_only=head.method == b"HEAD", done=done, decoded=head.minor == 0)
        if not done and self._upstream is connection:
            if head.expects_continue:
                request.permit()
            request.resume_body()

    def _framed(self, pieces: Iterable[bytes | memoryview]) -> list[bytes | memoryview]:
        out: list[bytes | memoryview] = []
        for piece in pieces:
            if len(piece):
                out += (b"%x\r\n" % len(piece), piece, b"\r\n")
        return out

    def _pass_on(self, pieces: Iterable[bytes | memoryview]) -> None:
        """Send body bytes to the backend, or hold them until there is a connection."""
        upstream = self._upstream
        if upstream is not None:
            if self._chunking:
                upstream.write(b"".join(self._framed(pieces)))
            else:
                for piece in pieces:
                    upstream.write(piece)
            return
        for piece in pieces:
            # A view would keep the whole read alive while this waits.
            self._held.append(bytes(piece))
            self._held_size += len(piece)
        if self._held_size > _HELD_MAX and not self._body_done:
            self._request.pause_body()

    def _finish_body(self, upstream: ClientConnection) -> None:
        if self._chunking:
            upstream.write(b"0\r\n\r\n")
        upstream.finish()

    # -- the backend's side

    def interim(self, head: ReplyHead) -> None:
        # 100 was ours to send; anything else may be of use to the client.
        if head.status != 100:
            self._request.interim(head.status, reply_lines(head.headers, head.connection))

    def reply(self, head: ReplyHead) -> Callable[[bytes], None]:
        request = self._request
        status = self._status = head.status
        lines = reply_lines(head.headers, head.connection)
        upstream = self._upstream
        if status == 101:
            if not request.head.upgrade or upstream is None:
                if upstream is not None:
                    upstream.cancel()
                self.broke(UpstreamError("bad_reply", "the backend switched protocols unasked"))
                return _ignore
            self._passage.book(Event.HEAD)
            lines += (b"Connection: Upgrade\r\nUpgrade: ", head.upgrade or request.head.upgrade, b"\r\n")
            self._upstream = None  # the tunnel's from here on
            tunnel = Tunnel(request, upstream, self._tunnel_over)
            request.tunnel(lines, tunnel)
            return tunnel.down
        self._passage.book(Event.HEAD)
        self._replay = None
        if request.head.method == b"HEAD" or status == 204 or status == 304:
            request.start(status, lines, NONE, None if status == 204 else head.length)
        elif head.chunked:
            request.start(status, lines, CHUNKED if request.head.minor else STREAM)
        elif head.length is not None:
            request.start(status, lines, LENGTH, head.length)
        else:
            request.start(status, lines, STREAM)
        return self._first

    def _first(self, data: bytes) -> None:
        """The first bytes of the body, with the head; those after them go straight to the client's transport."""
        request = self._request
        if not data:
            request.flush()
            return
        request.write(data)
        sink = request.sink()
        if self._upstream is not None:
            self._upstream.deliver_to(sink or request.write)

    def reply_end(self) -> None:
        request = self._request
        self._upstream = None
        if self._passage.book(Event.END) and self._proxy.log_served:
            self._proxy.log.info(
                "served: {method} {path} {status}", method=self._method, path=self._path, status=self._status
            )
        self._settled()
        request.finish()

    def broke(self, error: UpstreamError) -> None:
        upstream, self._upstream = self._upstream, None
        if self._over:
            return
        if self._may_retry(error, upstream):
            self._connect_again()
            return
        self._passage.book(Event.BREAK)
        self._settled()
        log = self._proxy.log
        log.warn("failed: {method} {path}: {error}", method=self._method, path=self._path, error=str(error))
        status = 504 if error.code in _GATEWAY_TIMEOUTS else 502
        self._request.refuse(Refusal(status, error.code, str(error), origin="backend"))

    def _may_retry(self, error: UpstreamError, upstream: ClientConnection | None) -> bool:
        """Whether a connection that had been idle was closed under the request, which nobody can have worked on."""
        if upstream is None or not (error.silent and upstream.reused and self._replay is not None):
            return False
        if self._request.head.method in _IDEMPOTENT:
            return True
        return self._proxy.clock.seconds() - self._sent_at <= _STALE_SECONDS

    def _connect_again(self) -> None:
        """Send the same bytes once more, over a connection that was never idle."""
        data, self._replay = self._replay, None
        assert data is not None

        def connected(connection: ClientConnection) -> None:
            self._connecting = None
            if self._over:
                self._passage.pool.put(connection)
                return
            connection.reused = False
            self._upstream = connection
            head = self._request.head
            connection.send(data, self, head_only=head.method == b"HEAD", decoded=head.minor == 0)

        self._connecting = self._passage.pool.connect().addCallbacks(connected, self._not_connected)

    def pause_request(self) -> None:
        self._request.pause_body()

    def resume_request(self) -> None:
        self._request.resume_body()

    # -- ends

    def _tunnel_over(self, whole: bool) -> None:
        """Both sides of a tunnel are done; `whole` unless the backend's was cut."""
        self._passage.book(Event.END if whole else Event.BREAK)
        self._settled()

    def _settled(self) -> None:
        """Nothing more happens to this request: let go of what it holds."""
        self._over = True
        self._held = []
        self._replay = None
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.cancel()
        if self._proxy.timeouts.any:
            self._proxy.sweeper.discard(self)

    def tick(self, now: float) -> None:
        """Give a backend up that is too slow."""
        upstream, timeouts = self._upstream, self._proxy.timeouts
        if upstream is None:
            return
        if upstream.received != self._reads:
            self._reads = upstream.received
            self._read_at = now
        elapsed = now - self._sent_at
        if timeouts.total and elapsed >= timeouts.total:
            upstream.fail(UpstreamError("total_timeout", f"the backend took more than {timeouts.total:g} s"))
        elif timeouts.first_byte and not self._reads and elapsed >= timeouts.first_byte:
            upstream.fail(
                UpstreamError("first_byte_timeout", f"the backend said nothing for {timeouts.first_byte:g} s")
            )
        elif timeouts.idle and self._reads and now - self._read_at >= timeouts.idle:
            upstream.fail(UpstreamError("idle_timeout", f"the backend fell silent for {timeouts.idle:g} s"))

    @property
    def _method(self) -> str:
        return self._request.head.method.decode("ascii")

    @property
    def _path(self) -> str:
        # Never the query: it may hold a signature.
        return self._request.head.target.partition(b"?")[0].decode("ascii", "replace")


def _ignore(data: bytes) -> None:
    """For a reply that nobody wants."""
