"""
Sends a request to an upstream: acquires the connection, sends the request, and sends it again if that is safe.

This is the upstream side of `Exchange`.
"""

from __future__ import annotations

from typing import Final

from vespa.accounting.lifecycle import BREAK, CONNECTING, Event
from vespa.http.client_connection import ClientConnection
from vespa.http.connection_pool import ConnectionPool
from vespa.http.held_bytes import SMALL
from vespa.http.interfaces import UpstreamError
from vespa.protocol.refusal import Refusal
from vespa.protocol.response_head import ResponseHead
from vespa.proxy.proxied_request import ProxiedRequest
from vespa.proxy.server_timing import timing_line
from vespa.proxy.stream_error import framed, last_event
from vespa.proxy.upstream_deadlines import UpstreamDeadlines

_IDEMPOTENT: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"))


class RequestSender(ProxiedRequest):
    """How an exchange sends its request."""

    def _select(self) -> None:
        pool = self.app.select(self)
        if pool is not None:
            self.upstream_selected(pool)
        elif self.state == CONNECTING:
            self._account()

    # -- towards the upstream

    def upstream_selected(self, pool: ConnectionPool) -> None:
        """The upstream is known."""
        self.pool = pool
        upstream = pool.acquire(self)
        if upstream is not None:
            self.send_to(upstream)
        elif self.upstream is None and self.state == CONNECTING:
            self._account()

    def connected(self, connection: ClientConnection) -> None:
        if not connection.reused:
            self.connect_seconds = self.pool.connect_seconds  # type: ignore[union-attr]
        if self.selection is not None:
            self.app.abandon(self)
        self.send_to(connection)

    def send_to(self, upstream: ClientConnection) -> None:
        """Send the part of the request that is there."""
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
        """Count the kept bytes. The request is sent and cannot be refused, but the kept bytes may be dropped."""
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
            if self._deadlines is not None:
                self._deadlines.has_token = True  # what follows a 101 is no response, and may be silent for long
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
        if not upstream.write_blocked:  # sending may have filled it; then `resume_request` follows
            client.resume_reading()
        if not body.replayable:
            client.hold_nothing()
            if body.parts.verbatim and body.parts.length is not None:
                client.splice_body(upstream.transport)

    @property
    def may_retry(self) -> bool:
        """Whether the same bytes could be sent again if the upstream has not read them (for other methods)."""
        return self._replayable and self.head.method not in _IDEMPOTENT

    @property
    def content_only(self) -> bool:
        """Whether the client does not know the chunked coding, or an early response frames the content."""
        return self.head.minor == 0 or self.early is not None

    def upstream_failed(self, error: UpstreamError) -> None:
        """There is no connection, no response, or only a part of it. An idle connection may have been closed."""
        upstream, pool = self.upstream, self.pool
        assert pool is not None
        self.upstream = None
        # A proxy must not repeat what is not idempotent (RFC 9110 9.2.2) unless it knows that it was not applied.
        if upstream is not None and error.silent and upstream.reused and self._replayable:
            if error.unread or self.head.method in _IDEMPOTENT:
                if pool.full and self._next_upstream(error):
                    return  # instead of waiting at the full pool
                self._rewind()
                pool.acquire(self, fresh=True)
                return
        # An upstream that began to respond has done the work, even if its response is malformed.
        if (error.silent or error.slow) and self._next_upstream(error, sent=upstream is not None):
            return
        if upstream is not None:
            self._count_response(upstream)
        status = 504 if error.code.endswith("_timeout") else 502
        message = str(error)
        if error.slow and not self._replayable:
            message += ". No other was asked: the request's body is too large to be kept for a second attempt"
        refusal = Refusal(status, error.code, message, origin=pool.name)
        last = self._last_event(refusal, upstream)
        self._settle(BREAK, refusal)
        self.app.warnings.log(error.code, f"requests fail: {refusal}")
        self._respond_with(refusal, last)

    def _last_event(self, refusal: Refusal, upstream: ClientConnection | None) -> bytes:
        """The framed event that ends an event stream which breaks with this refusal; b"" if none is to be sent."""
        if self.early is not None:
            return framed(self.early.last_event(refusal), self.head.minor)
        if self.response_head is None or upstream is None:
            return b""
        return last_event(self.response_head, refusal, minor=self.head.minor, whole_chunks=upstream.between_chunks)

    def _next_upstream(self, failure: UpstreamError | ResponseHead, sent: bool = True) -> bool:
        """Go to another upstream, if there is one and no part of a response was passed on."""
        if self.state != CONNECTING or (sent and not self._replayable):
            return False
        if not self.app.next_upstream(self, failure):
            return False
        if sent:
            self._rewind()
        return True

    def _respond_with(self, refusal: Refusal, last: bytes) -> None:
        """Send this error, as the `last` event of the response if there is one. The request has been settled."""
        if self.early is not None:
            self.early.refuse(refusal)
        elif last:
            self.client.truncate(last)
        else:
            self.client.extra_lines += timing_line(self, self.ended_at) + self.app.own_lines(self)
            self.client.refuse(refusal)

    def _rewind(self) -> None:
        self.held = None
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
        if self.upstream is not None:
            self.upstream.pause()

    def resume(self) -> None:
        if self.upstream is not None:
            self.upstream.resume()

    def pause_request(self) -> None:
        self.client.pause_reading()
        self._account()

    def resume_request(self) -> None:
        self.client.resume_reading()
        self.client.account()

    def _account(self) -> None:
        """Count the held bytes, and refuse this request if they exceed a limit."""
        refusal = self.client.account()
        if refusal is not None:
            self.refuse(refusal)

    # -- implemented by `Exchange`

    def refuse(self, refusal: Refusal) -> None:
        """Respond with an error of Vespa's own, in any state."""
        raise NotImplementedError

    def _settle(self, event: Event, refusal: Refusal | None = None) -> None:
        raise NotImplementedError

    def _end_rest(self) -> None:
        raise NotImplementedError
