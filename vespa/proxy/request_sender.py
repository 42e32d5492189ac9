"""
The way of a request to an upstream: the connection is acquired, the request sent, and sent again where that is safe.

`Exchange` is the whole; this is the half of it that faces the upstream.
"""

from __future__ import annotations

from typing import Any, Final

from vespa.accounting.lifecycle import BREAK, CONNECTING, READING, Event, State
from vespa.http.client_connection import ClientConnection
from vespa.http.connection_pool import ConnectionPool
from vespa.http.held_bytes import SMALL
from vespa.http.interfaces import ResponseReceiver, UpstreamError
from vespa.http.server_connection import ServerConnection
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead
from vespa.protocol.response_head import ResponseHead
from vespa.proxy.app import App
from vespa.proxy.interfaces import EarlyResponse
from vespa.proxy.request_body import HeldBody
from vespa.proxy.upstream_deadlines import UpstreamDeadlines

_IDEMPOTENT: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"))


class RequestSender(ResponseReceiver):
    """What an exchange holds, and how it sends its request."""

    # Of most requests these are never set: what is on the class costs nothing.
    body: HeldBody | None = None
    """A body that did not come in one read."""
    early: EarlyResponse | None = None
    """The response, where it has begun before there is one of an upstream's."""
    body_prefix = body_suffix = b""
    """What goes to the upstream around the body."""
    upgrade = b""
    """The protocols that the client offers and that may be offered on."""
    selection: Any = None
    """What the upstream selector knows about this exchange."""
    completed_at = 0.0
    _deadlines: UpstreamDeadlines | None = None
    _has_payload = True  # it is not given up
    _has_ends = False  # there is more to end than most requests have
    _claimed = False  # it counts among the upgraded connections

    def __init__(self, app: App, client: ServerConnection, head: RequestHead) -> None:
        """`client` is the connection that the request came on."""
        self.app = app
        self.client = client
        self.head = head
        self.state: State = READING
        self.content: Any = None
        self.payload = b""
        """The body, if it came in one read: kept until a response begins, as it may have to be sent again."""
        self.pool: ConnectionPool | None = None
        self.upstream: ClientConnection | None = None
        """The connection that the request was sent on."""
        self.request_idx: int | None = None
        self.work = 0
        self.received_at = self.started_at = 0.0

    def _select(self) -> None:
        pool = self.app.select(self)
        if pool is not None:
            self.upstream_selected(pool)
        elif self.state == CONNECTING:
            self._account()

    # -- towards the upstream

    def upstream_selected(self, pool: ConnectionPool) -> None:
        """Where the request goes is known."""
        self.pool = pool
        upstream = pool.acquire(self)
        if upstream is not None:
            self.send_to(upstream)
        elif self.upstream is None and self.state == CONNECTING:
            self._account()

    def connected(self, connection: ClientConnection) -> None:
        """The pool has a connection."""
        if self.selection is not None:
            self.app.abandon(self)
        self.send_to(connection)

    def send_to(self, upstream: ClientConnection) -> None:
        """Send what there is of the request."""
        self.upstream = upstream
        app, head = self.app, self.head
        fields = app.request_head(self)
        if self.body is not None or self.upgrade or self.body_prefix or app.watches:
            self._send_unusual(upstream, fields)
            return
        payload = self.payload
        if payload or head.has_length:
            data = b"%bContent-Length: %d\r\n\r\n%b" % (fields, len(payload), payload)
        else:
            data = fields + b"\r\n"
        upstream.send(self, data, head.head_only, True)
        if len(payload) > app.uncounted_bytes:
            self._sent_large()

    def _sent_large(self) -> None:
        """What is kept is counted; it is sent, so there is nothing to refuse, but what is kept may be given up."""
        if len(self.payload) > self.app.replay_limit:
            self._drop_payload()
        self.client.account()

    def _send_unusual(self, upstream: ClientConnection, fields: bytes) -> None:
        app, client, body = self.app, self.client, self.body
        if app.watches:
            self._end_deadlines()
            self._deadlines = UpstreamDeadlines(app.timeouts, app.timer, upstream)
            self._has_ends = True
        if self.upgrade:
            fields += b"Connection: Upgrade\r\nUpgrade: " + self.upgrade + b"\r\n"
        if body is None:
            payload = self.payload
            size = len(payload) + len(self.body_prefix) + len(self.body_suffix)
            if size or self.head.has_length:
                fields += b"Content-Length: %d\r\n" % size
            data = b"".join((fields, b"\r\n", self.body_prefix, payload, self.body_suffix))
            upstream.send(self, data, self.head.head_only, True)
            if size > app.uncounted_bytes:
                self._sent_large()
            return
        data, done = body.begin(fields, self.body_prefix, self.body_suffix, app.replay_limit)
        upstream.send(self, data, self.head.head_only, done)
        if len(data) > SMALL:
            client.account()
        if done or self.upstream is not upstream:
            return
        client.send_continue()
        if not upstream.write_blocked:  # as it may be by what was just sent: then it says when there is room
            client.resume_reading()
        if not body.replayable:
            client.hold_nothing()
            if body.parts.verbatim and body.parts.length is not None:
                client.splice_body(upstream.transport)

    @property
    def may_retry(self) -> bool:
        """The same bytes could be sent again, if the upstream has not read them: a method that is not idempotent."""
        return self._replayable and self.head.method not in _IDEMPOTENT

    @property
    def _replayable(self) -> bool:
        """All of the body so far is at hand, and no response was passed on."""
        if self.state != CONNECTING:
            return False
        return self._has_payload if self.body is None else self.body.replayable

    def _drop_payload(self) -> None:
        self.payload = b""
        self._has_payload = False

    @property
    def content_only(self) -> bool:
        """The client does not know the chunked coding, or the response is framed by an early one."""
        return self.head.minor == 0 or self.early is not None

    def upstream_failed(self, error: UpstreamError) -> None:
        """There is no connection, no response, or not all of it. Maybe an idle connection had been closed."""
        upstream, pool = self.upstream, self.pool
        assert pool is not None
        self.upstream = None
        # A proxy must not repeat what is not idempotent (RFC 9110 9.2.2) unless it knows that it was not applied.
        if upstream is not None and error.silent and upstream.reused and self._replayable:
            if error.unread or self.head.method in _IDEMPOTENT:
                if pool.full and self._next_upstream(error):
                    return  # rather than to wait there for a connection of another's
                self._rewind()
                pool.acquire(self, fresh=True)
                return
        # One that began to respond has done the work, whatever is wrong with what it says of it.
        if error.silent and self._next_upstream(error, sent=upstream is not None):
            return
        self._settle(BREAK)
        self.app.log.warn("failed: {method} {path}: {error}", method=self.method, path=self.path, error=str(error))
        status = 504 if error.code.endswith("_timeout") else 502
        self._refuse(Refusal(status, error.code, str(error), origin=pool.name))

    def _next_upstream(self, failure: UpstreamError | ResponseHead, sent: bool = True) -> bool:
        """Go to another upstream, if there is one and nothing of a response was passed on."""
        if self.state != CONNECTING or (sent and not self._replayable):
            return False
        if not self.app.next_upstream(self, failure):
            return False
        if sent:
            self._rewind()
        return True

    def _rewind(self) -> None:
        self._end_deadlines()
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            upstream.cancel()
        if self.body is not None:
            self.body.rewind()
            if self.body.overfull:
                self.client.pause_reading()

    def _end_deadlines(self) -> None:
        deadlines, self._deadlines = self._deadlines, None
        if deadlines is not None:
            deadlines.end()

    # -- flow control: each side's fullness stops the other side's reading

    def pause(self) -> None:
        """The client reads too slowly."""
        if self.upstream is not None:
            self.upstream.pause()

    def resume(self) -> None:
        """The client caught up."""
        if self.upstream is not None:
            self.upstream.resume()

    def pause_request(self) -> None:
        """The upstream reads too slowly."""
        self.client.pause_reading()
        self._account()

    def resume_request(self) -> None:
        """The upstream caught up."""
        self.client.resume_reading()
        self.client.account()

    def _account(self) -> None:
        """More is held, or less: this request is refused if that is too much."""
        refusal = self.client.account()
        if refusal is not None:
            self.refuse(refusal)

    # -- for the log

    @property
    def method(self) -> str:
        """The request's method."""
        return self.head.method.decode("ascii")

    @property
    def path(self) -> str:
        """Its path; never its query, which may hold a signature."""
        return self.head.target.partition(b"?")[0].decode("ascii", "replace")

    # -- what `Exchange` does

    def refuse(self, refusal: Refusal) -> None:
        """Respond with an error of ours, whatever was under way."""
        raise NotImplementedError

    def _refuse(self, refusal: Refusal) -> None:
        raise NotImplementedError

    def _settle(self, event: Event) -> None:
        raise NotImplementedError
