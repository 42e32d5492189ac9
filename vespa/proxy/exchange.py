"""
One request, from its head to its final state.

The exchange owns the request: its state, its body while Vespa holds it, its upstream connection, its end. It records
an event first and acts second, so the accounts are right even if the action fails. docs/data-path.md has the
states and the calls.
"""

from __future__ import annotations

from vespa.accounting.lifecycle import HANG_UP, READING, REFUSAL_EVENT, SLOT, Event
from vespa.http.server_connection import ServerConnection
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead
from vespa.proxy.app import App
from vespa.proxy.request_body import HeldBody
from vespa.proxy.response_passing import ResponsePassing
from vespa.proxy.upgrade import offered_protocols


class Exchange(ResponsePassing):
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

    # -- ends

    def refuse(self, refusal: Refusal) -> None:
        """Respond with an error of Vespa's own, in any state."""
        event = REFUSAL_EVENT.get(self.state)
        if event is None:
            return
        last = self._last_event(refusal, self.upstream)
        self._settle(event, refusal)
        app = self.app
        if refusal.origin not in ("vespa", "client"):
            # Neither the caller nor Vespa is the cause, so an operator has to look into it.
            app.warnings.log(refusal.code, f"requests are refused: {refusal}")
        app.log.debug("refused: {method} {path}: {why}", method=self.method, path=self.path, why=str(refusal))
        self._respond_with(refusal, last)

    def cancel(self, refusal: Refusal) -> None:
        """Stop a request that has not ended, as if its client had left, and respond with this error."""
        last = self._last_event(refusal, self.upstream)
        self._settle(HANG_UP, refusal)
        self._respond_with(refusal, last)

    def hang_up(self, refusal: Refusal | None = None) -> bytes:
        """The client left, or its connection is closed with this refusal: what it then ends an event stream with."""
        last = b"" if refusal is None else self._last_event(refusal, self.upstream)
        self._settle(HANG_UP, refusal)
        return last

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
        reader = self.reader
        if reader is not None:
            self.reader = None
            reader.lost()
        app.abandon(self)
        self._end_rest()
        self.payload = b""
        self._conclude(event, refusal)
        self.body = None
        app.ended(self)

    def _end_rest(self) -> None:
        """Release what only few requests have."""
        self.selection = self.held = None
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
