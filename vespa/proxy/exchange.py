"""
One request, from its head to its final state.

The exchange owns the request: its state, its body while Vespa holds it, its upstream connection, its end. It records
an event first and acts second, so the accounts are right even if the action fails. docs/data-path.md has the
states and the calls.
"""

from __future__ import annotations

from typing import Final

from vespa.accounting.lifecycle import BREAK, END, ERROR_HEAD, HANG_UP, HEAD, READING, REFUSAL_EVENT, SLOT, Event
from vespa.http.held_bytes import SMALL
from vespa.http.interfaces import Sink, UpstreamError, nobody
from vespa.http.response_writer import STREAM
from vespa.http.server_connection import ServerConnection
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead
from vespa.protocol.response_head import CHUNKED, LENGTH, ResponseHead
from vespa.proxy.app import App
from vespa.proxy.request_body import HeldBody
from vespa.proxy.request_sender import RequestSender
from vespa.proxy.upgrade import Tunnel, offered_protocols, was_offered

_NOT_SERVED: Final = frozenset((429, 502, 503, 504))


class Exchange(RequestSender):
    """A request's handler at its connection, the receiver of its response, the ledger's entry, the gate's waiter."""

    # -- the request

    def receive(self, data: bytes, complete: bool) -> None:
        """More of the request came. Unwrap, verify, admit, select, send: in this order, for every request."""
        app = self.app
        try:
            if complete and self.body is None and not self.head.chunked:
                self.bytes_in = self.client.head_size + len(data)
                content, self.payload = app.unwrap(self.head, data)
            elif self._receive_part(data, complete):
                content = self.body.parts.content  # type: ignore[union-attr]
            else:
                return
            self.content = content
            app.verify(self, content)
            if app.admit(self, content):
                self._select()
            else:
                self._account()
        except Refusal as refusal:
            self.refuse(refusal)

    def _receive_part(self, data: bytes, complete: bool) -> bool:
        """Pass a part of the body on, or hold it. Returns True if the request can now be admitted."""
        body, client = self.body, self.client
        if body is None:
            body = self.body = HeldBody(self.app.begin_body(self.head, client.body_length))
        parts = body.parts
        pieces = parts.feed(data) if data else ()
        if complete:
            body.complete = True
            self._count_request()
            pieces = [*pieces, *parts.finish()]
        upstream = self.upstream
        if upstream is not None:
            if not body.pass_on(upstream, pieces):
                client.hold_nothing()
            return False
        body.hold(pieces)
        if body.overfull:
            client.pause_reading()
        if self.state != READING:
            return False
        if not parts.ready:
            client.send_continue()  # admission needs information from the body
        return parts.ready

    def claim_upgrade(self) -> None:
        """Count it among the upgraded connections. Raises `Refusal` if the limit is reached."""
        self.app.tunnels.claim()
        self._claimed = self._has_ends = True

    def slot(self) -> None:
        """The exchange waited for a slot, and now holds it."""
        self.app.advance(self, SLOT)
        self._select()

    # -- the response

    def respond(self, head: ResponseHead, length: int, data: bytes, start: int, complete: bool) -> Sink:
        """The response's head came, with a part of its body or (`complete`) all. Returns the sink for the rest."""
        app = self.app
        self.status = status = head.status
        if status >= 400:
            self.origin = self.upstream_name
        if app.looks_at_responses or self.early is not None or head.status == 101 or self._has_ends:
            return self._respond_unusual(head, length, data, start, complete)
        if complete:
            self.upstream = None
            self.bytes_out = len(data)
            self.payload, self.content = b"", None  # before it waits in a batch of ended requests
            app.served(self, status < 400)
            app.ended(self)
            return self.client.respond(head, length, data, start, True)
        self._response_begins(head)
        sink = self.client.respond(head, length, data, start, False)
        if head.framing == LENGTH and self.upstream is not None:
            self.client.splice_from(self.upstream)
        return sink

    def _response_begins(self, head: ResponseHead) -> None:
        self.app.advance(self, HEAD if head.status < 400 else ERROR_HEAD)
        large = len(self.payload) > SMALL
        self._drop_payload()  # the request is not sent again
        if self.body is not None:
            large = large or self.body.replayable
            self.body.drop_replay()
        if large:
            self.client.account()
        if self.client.write_blocked and self.upstream is not None:
            self.upstream.pause()  # the client has not yet read an earlier response, or a 100

    def _respond_unusual(self, head: ResponseHead, length: int, data: bytes, start: int, complete: bool) -> Sink:
        app, client, status = self.app, self.client, head.status
        if complete:
            self.upstream = None
            self.bytes_out = len(data)
        if status == 101:
            return self._switch_protocols(head)
        if status in _NOT_SERVED and self._next_upstream(head):
            return nobody
        early = self.early
        try:
            lines = app.response_lines(self, head)
            if early is not None:
                early.check(head)
        except Refusal as refusal:
            self.refuse(refusal)
            return nobody
        if complete:
            app.served(self, status < 400)
            self._served()
        else:
            self._response_begins(head)
        if early is not None:
            early.respond(head, data[start:])
            if complete:
                early.finish()
            return early.write
        framing = STREAM if head.framing == CHUNKED and self.content_only else head.framing
        client.start(status, lines, framing, length if head.has_length else None, dated=head.dated)
        if complete:
            client.write(data[start:])
            client.finish()
            return nobody
        sink = client.begin_body(data[start:])
        if framing == LENGTH and self.upstream is not None:
            client.splice_from(self.upstream)
        return sink

    def interim(self, head: ResponseHead) -> None:
        """A 1xx response. Vespa sends 100 itself, and passes on the others."""
        if head.status == 100:
            return
        try:
            lines = self.app.response_lines(self, head)
        except Refusal:
            return  # the client can do without an interim response
        self.client.interim(head.status, lines)

    def response_end(self) -> None:
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            self.bytes_out, self.longest_gap = upstream.ended_bytes, upstream.longest_gap
        self.app.served(self, True)
        self._served()
        if self.early is not None:
            self.early.finish()
        else:
            self.client.finish()

    def _served(self) -> None:
        """The whole response was passed on, and its work is recorded."""
        if self._has_ends or self.selection is not None:
            self._end_rest()
        if self.body is not None:
            self._count_request()
        self.app.ended(self)

    def _switch_protocols(self, head: ResponseHead) -> Sink:
        """A 101: connect the two ends directly, if the client asked for it."""
        try:
            lines = self.app.response_lines(self, head)
        except Refusal as refusal:
            self.refuse(refusal)
            return nobody
        upstream, self.upstream = self.upstream, None
        assert upstream is not None and self.pool is not None
        protocol = head.upgrade or self.upgrade
        wrong = "" if was_offered(protocol, self.upgrade) else "without a request for it"
        if not self.client.request_complete:
            wrong = "before it had the whole request"
        if wrong:
            upstream.cancel()
            self.upstream_failed(UpstreamError("bad_reply", f"the {self.pool.name} switched protocols {wrong}"))
            return nobody
        self.app.advance(self, HEAD)
        self._end_deadlines()
        tunnel = Tunnel(self.client, upstream, self.app.tunnels, self._tunnel_closed)
        self.client.switch_protocols(lines + b"Connection: Upgrade\r\nUpgrade: " + protocol + b"\r\n", tunnel)
        if self.client.write_blocked:
            upstream.pause()
        if upstream.write_blocked:
            self.client.pause_reading()
        self.app.release(self)  # a tunnel may last long, so it gives up its slot
        return tunnel.down

    def _tunnel_closed(self, whole: bool, bytes_in: int, bytes_out: int) -> None:
        """Both sides of a tunnel have ended; `whole` unless the upstream's was cut."""
        self.bytes_in += bytes_in
        self.bytes_out = bytes_out
        if not whole:
            self.code, self.origin = "truncated_reply", self.upstream_name
        self._settle(END if whole else BREAK)

    # -- ends

    def refuse(self, refusal: Refusal) -> None:
        """Respond with an error of Vespa's own, in any state."""
        event = REFUSAL_EVENT.get(self.state)
        if event is None:
            return
        self._settle(event, refusal)
        app = self.app
        if refusal.origin not in ("vespa", "client"):
            # Neither the caller nor Vespa is the cause, so an operator has to look into it.
            app.warnings.log(refusal.code, f"requests are refused: {refusal}")
        app.log.debug("refused: {method} {path}: {why}", method=self.method, path=self.path, why=str(refusal))
        self._refuse(refusal)

    def hang_up(self, refusal: Refusal | None = None) -> None:
        """The client left, or its connection is closed with this refusal."""
        self._settle(HANG_UP, refusal)

    def _settle(self, event: Event, refusal: Refusal | None = None) -> None:
        """End in any way, maybe with this refusal: record it, then release everything."""
        app = self.app
        app.settle(self, event)
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            upstream.cancel()  # first: a response in the kernel is counted then
            self._count_response(upstream)
        elif self.pool is not None:
            self.pool.abandon(self)
        app.abandon(self)
        self._end_rest()
        self.payload = b""
        self._conclude(event, refusal)
        self.body = None
        app.ended(self)

    def _end_rest(self) -> None:
        """Release what only few requests have."""
        self.selection = None
        self._end_deadlines()
        if self._claimed:
            self._claimed = False
            self.app.tunnels.release()


def open_exchange(app: App, client: ServerConnection, head: RequestHead) -> Exchange:
    """The exchange of a request that is not plain. Raises `Refusal` if its head is enough to refuse it."""
    exchange = Exchange(app, client, head)
    if head.via:
        app.via.check(head)
    if head.upgrade:
        exchange.upgrade = offered_protocols(head.upgrade, client.server.limits.upgrades)
    return exchange
