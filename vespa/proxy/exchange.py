"""
The story of one request, from its head to its settlement.

Bytes flow straight through: what the client sends goes by the passage to the upstream's connection, what the upstream
answers goes to the client's. Whatever happens is booked first and acted on second, so that the account is right
whatever comes of the act.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from vespa.accounting.lifecycle import BREAK, END, ERROR_HEAD, EXPIRE, HANG_UP, HEAD, REFUSE
from vespa.http.client_connection import ClientConnection, UpstreamError
from vespa.http.coarse_timer import CoarseTimer
from vespa.http.server_request import CHUNKED, LENGTH, NONE, STREAM, ServerRequest
from vespa.protocol.fields import tokens
from vespa.protocol.heads import ResponseHead
from vespa.protocol.refusal import Refusal
from vespa.protocol.via import Via
from vespa.proxy.interfaces import Route
from vespa.proxy.outbound import Outbound
from vespa.proxy.upgrade import Tunnel, Tunnels
from vespa.proxy.upstream_deadlines import Timeouts, UpstreamDeadlines
from vespa.runtime.ratelimited_log import RateLimitedLog

_NOT_SERVED: Final = frozenset((429, 502, 503, 504))


class Proxy:
    """What all exchanges share."""

    log = Logger()

    def __init__(
        self,
        route: Route,
        clock: IReactorTime,
        *,
        timeouts: Timeouts | None = None,
        log_served: bool = False,
        timer: CoarseTimer | None = None,
        tunnels: Tunnels | None = None,
    ) -> None:
        """`timer` looks after timeouts, `tunnels` after upgraded connections; without one there is a new one."""
        self.route = route
        self.clock = clock
        self.timeouts = timeouts or Timeouts()
        self.timer = timer or CoarseTimer(clock)
        self.tunnels = tunnels or Tunnels(self.timer)
        self.limited_log = RateLimitedLog(self.log, clock)
        # One event a request costs as much as a third of the request: successes are logged on demand.
        self.log_served = log_served
        self.via = Via()


class Exchange:
    """One request on its way through: the `Receiver` of the client's side, the `ResponseReceiver` of the upstream's."""

    # Defaults stand on the class: most requests never change them, and setting them costs.
    _connecting: Deferred[None] | None = None
    _deadlines: UpstreamDeadlines | None = None
    _admitted = False
    _over = False
    _claimed = False  # it counts among the tunnels
    _no = REFUSE  # what a refusal is called at this stage

    def __init__(self, proxy: Proxy, request: ServerRequest) -> None:
        """Raises `Refusal` when the head alone is enough to say no."""
        self._proxy = proxy
        self._request = request
        if request.head.via:
            proxy.via.check(request.head)
        self._outbound = Outbound(request, proxy.via.lines)
        self._passage = proxy.route.open(request)
        if request.head.expects_continue:
            self._expect()

    # -- the client's side

    def _expect(self) -> None:
        """The client waits for a word before it sends the body."""
        if not self._passage.ready:
            self._request.send_continue()  # what the body says is needed first
            return
        try:
            self._admit()
        except Refusal as refusal:
            self.refuse(refusal)
        except Exception:
            # Nobody holds this exchange yet who could tell it that it is over.
            self.hang_up()
            raise

    def body(self, data: bytes) -> None:
        try:
            pieces = self._passage.feed(data)
            if pieces:
                self._outbound.add(pieces)
            if not self._admitted and self._passage.ready:
                self._admit()
        except Refusal as refusal:
            self.refuse(refusal)

    def end(self) -> None:
        try:
            pieces = self._passage.finish()
            if pieces:
                self._outbound.add(pieces)
            self._outbound.complete()
            if not self._admitted:
                self._admit()
        except Refusal as refusal:
            self.refuse(refusal)

    def hang_up(self) -> None:
        if self._over:
            return
        if self._passage.record(HANG_UP) and self._passage.ready:  # strangers are not to fill the log
            self._proxy.log.info("gone: {method} {path}", method=self._method, path=self._path)
        self._settled()

    def pause(self) -> None:
        if self._outbound.connection is not None:
            self._outbound.connection.pause()

    def resume(self) -> None:
        if self._outbound.connection is not None:
            self._outbound.connection.resume()

    # -- admission

    def _admit(self) -> None:
        self._admitted = True
        if self._request.upgrade:
            self._proxy.tunnels.claim()
            self._claimed = True
        if self._passage.admit(self):
            self.slot()
        else:
            self._no = EXPIRE
            self._account()

    def slot(self) -> None:
        """It is this request's turn."""
        if self._over:
            return
        self._no = BREAK
        connection = self._passage.pool.take()
        if connection is not None:
            self._send(connection)
        else:
            self._connect(self._send)
            if self._connecting is not None:
                self._account()

    @property
    def verified(self) -> bool:
        """Whether it is known who sent the request."""
        return self._passage.verified

    def held(self, received: int) -> int:
        """What came of the body, until it is understood; then what is not sent yet, or may be sent once more."""
        return self._outbound.held if self._passage.ready else received

    def release_memory(self) -> None:
        """Do without another attempt."""
        self._outbound.release_memory()

    def _account(self) -> None:
        """More is held, or less: this request is refused if that is too much."""
        refusal = self._request.account()
        if refusal is not None:
            self.refuse(refusal)

    def refuse(self, refusal: Refusal) -> None:
        """Answer with an error of ours, whatever was under way."""
        if self._over:
            return
        self._passage.record(self._no)
        self._settled()
        proxy = self._proxy
        if refusal.origin != "vespa":
            # Not the caller's doing, nor ours: somebody has to look into it.
            proxy.limited_log.log(refusal.code, f"refused: {self._method} {self._path}: {refusal}")
        proxy.log.debug("refused: {method} {path}: {why}", method=self._method, path=self._path, why=str(refusal))
        self._request.refuse(refusal)

    # -- towards the upstream

    def _connect(self, use: Callable[[ClientConnection], None]) -> None:
        def connected(connection: ClientConnection) -> None:
            self._connecting = None
            if self._over:
                self._passage.pool.put(connection)
            else:
                use(connection)

        def failed(failure: Failure) -> None:
            self._connecting = None
            error = failure.value
            if self._over or failure.check(CancelledError):
                return
            if not isinstance(error, UpstreamError):
                error = UpstreamError(f"{self._passage.pool.name}_unreachable", failure.getErrorMessage())
            self.upstream_failed(error)

        connecting = self._passage.pool.connect()
        self._connecting = connecting.addCallbacks(connected, failed)
        if connecting.called:
            self._connecting = None

    def _send(self, connection: ClientConnection) -> None:
        self._watch(connection)
        self._outbound.send(connection, self._passage, self)
        if self._outbound.bulky:
            self._request.account()  # it is sent: there is nothing to refuse, but what is kept of it may be given up

    def _watch(self, connection: ClientConnection) -> None:
        """Bound what the upstream may take, where that is asked for."""
        if self._deadlines is not None:
            self._deadlines.end()
        if self._proxy.timeouts.any:
            self._deadlines = UpstreamDeadlines(self._proxy.timeouts, self._proxy.timer, connection)

    def _repeat(self, connection: ClientConnection) -> None:
        self._watch(connection)
        self._outbound.repeat(connection, self)

    def _move(self, failure: UpstreamError | ResponseHead) -> bool:
        """Go to another upstream, if the route knows one and nothing of a reply was passed on."""
        outbound = self._outbound
        if not outbound.movable or not self._passage.next_upstream(failure):
            return False
        if not self._over:
            self._no = EXPIRE
            if self._deadlines is not None:
                self._deadlines.end()
            connection = outbound.rewind()
            if connection is not None:
                connection.cancel()
        return True

    def pause_request(self) -> None:
        self._request.pause_body()
        self._account()

    def resume_request(self) -> None:
        self._request.resume_body()
        self._request.account()

    # -- the upstream's side

    def interim(self, head: ResponseHead) -> None:
        # 100 was ours to send; anything else may be of use to the client.
        if head.status != 100:
            try:
                block = self._passage.response_fields(head)
            except Refusal:
                return  # a hint, which the final response does without
            self._request.interim(head.status, block)

    def response(self, head: ResponseHead) -> Callable[[bytes], None]:
        request, status = self._request, head.status
        if status == 101:
            return self._switch(head)
        if status in _NOT_SERVED and self._move(head):
            return _ignore
        try:
            block = self._passage.response_fields(head)
        except Refusal as refusal:
            self.refuse(refusal)
            return _ignore
        self._passage.record(HEAD if status < 400 else ERROR_HEAD)
        self._outbound.response_started()
        if self._outbound.bulky:
            self._request.account()
        if status == 204 or status == 304 or request.head.method == b"HEAD":
            request.start(status, block, NONE, None if status == 204 else head.length, dated=head.dated)
        elif head.chunked:
            request.start(status, block, STREAM if request.unframed else CHUNKED, dated=head.dated)
        elif head.length is not None:
            request.start(status, block, LENGTH, head.length, dated=head.dated)
        else:
            request.start(status, block, STREAM, dated=head.dated)
        return self._first

    def _first(self, data: bytes) -> None:
        """The first bytes of the body, with the head; those after them go straight to the client's transport."""
        request = self._request
        if not data:
            request.flush()
            return
        request.write(data)
        connection = self._outbound.connection
        if connection is not None and not connection.delivered:
            connection.deliver_to(request.sink() or request.write)
            request.splice_from(connection)

    def _switch(self, head: ResponseHead) -> Callable[[bytes], None]:
        """A 101: the two ends go on by themselves, if the client asked for it."""
        request = self._request
        try:
            block = self._passage.response_fields(head)
        except Refusal as refusal:
            self.refuse(refusal)
            return _ignore
        connection = self._outbound.let_go()
        assert connection is not None
        protocol = head.upgrade or request.upgrade
        if not _was_offered(protocol, request.upgrade):
            connection.cancel()
            self.upstream_failed(UpstreamError("bad_reply", f"the {connection.pool.name} switched protocols unasked"))
            return _ignore
        self._passage.record(HEAD)
        tunnel = Tunnel(request, connection, self._proxy.tunnels, self._tunnel_over)
        request.tunnel(block + b"Connection: Upgrade\r\nUpgrade: " + protocol + b"\r\n", tunnel)
        self._passage.switched()
        return tunnel.down

    def response_end(self) -> None:
        self._outbound.connection = None
        proxy = self._proxy
        if self._passage.record(END) and proxy.log_served:
            proxy.log.info("served: {method} {path}", method=self._method, path=self._path)
        self._settled()
        self._request.finish()

    def upstream_failed(self, error: UpstreamError) -> None:
        if self._over:
            return
        if self._outbound.may_repeat(error):
            if self._passage.pool.full and self._move(error):
                return  # rather than to wait there for a connection of another's
            self._outbound.connection = None
            self._connect(self._repeat)
            return
        # One that began to answer has done the work, whatever is wrong with what it says of it.
        if error.silent and self._move(error):
            return
        self._outbound.connection = None
        self._passage.record(BREAK)
        self._settled()
        log = self._proxy.log
        log.warn("failed: {method} {path}: {error}", method=self._method, path=self._path, error=str(error))
        status = 504 if error.code.endswith("_timeout") else 502
        self._request.refuse(Refusal(status, error.code, str(error), origin=self._passage.pool.name))

    # -- ends

    def _tunnel_over(self, whole: bool) -> None:
        """Both sides of a tunnel are done; `whole` unless the upstream's was cut."""
        self._passage.record(END if whole else BREAK)
        self._settled()

    def _settled(self) -> None:
        """Nothing more happens to this request: let go of what it holds."""
        self._over = True
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        connection = self._outbound.let_go()
        if connection is not None:
            connection.cancel()
        if self._deadlines is not None:
            self._deadlines.end()
        if self._claimed:
            self._claimed = False
            self._proxy.tunnels.release()

    @property
    def _method(self) -> str:
        return self._request.head.method.decode("ascii")

    @property
    def _path(self) -> str:
        # Never the query: it may hold a signature.
        return self._request.head.target.partition(b"?")[0].decode("ascii", "replace")


def _was_offered(protocol: bytes, offered: bytes) -> bool:
    """Whether a server may switch to what it names (RFC 9110 7.8)."""
    asked = set(tokens(offered))
    return bool(asked) and asked.issuperset(tokens(protocol))


def _ignore(data: bytes) -> None:
    """For a reply that nobody wants."""
