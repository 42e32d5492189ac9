"""
Passes a response on to the client: as it came if nothing has to change, and in all other ways.

This is the downstream side of `Exchange`.
"""

from __future__ import annotations

from typing import Final

from vespa.accounting.lifecycle import BREAK, ERROR_HEAD, HEAD, NO_RESULT, STREAMING
from vespa.http.held_bytes import SMALL
from vespa.http.interfaces import Sink, nobody
from vespa.http.response_writer import STREAM
from vespa.protocol.refusal import Refusal
from vespa.protocol.response_head import CHUNKED, LENGTH, ResponseHead
from vespa.proxy.held_response import HeldResponse
from vespa.proxy.interfaces import ResponseReader
from vespa.proxy.protocol_switch import ProtocolSwitch

_NOT_SERVED: Final = frozenset((429, 502, 503, 504))


class ResponsePassing(ProtocolSwitch):
    """How an exchange passes its response on."""

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
        if self.app.stream_errors:
            self.response_head = head
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
        if complete:
            self.upstream = None
            self.bytes_out = len(data)
        if head.status == 101:
            return self._switch_protocols(head)
        if head.status in _NOT_SERVED and self._next_upstream(head):
            return nobody
        if self.app.timeouts.first_token and not complete:
            held = HeldResponse(head, length, data, start, coded=not self.content_only)
            if not held.has_token:
                self.held = held
                return self._receive_held
            self._token_came()
        return self._pass_on(head, length, data, start, complete)

    def _receive_held(self, data: bytes) -> None:
        """More of a response came whose head is held back: pass it on from its first token."""
        held, upstream = self.held, self.upstream
        if held is None or upstream is None or not held.add(data):
            return
        sink = self._release_held(held)
        if self.upstream is upstream:
            upstream.sink = sink

    def _release_held(self, held: HeldResponse) -> Sink:
        self.held = None
        self._token_came()
        return self._pass_on(held.head, held.length, held.data, held.start, False)

    def _token_came(self) -> None:
        if self._deadlines is not None:
            self._deadlines.has_token = True

    def _pass_on(self, head: ResponseHead, length: int, data: bytes, start: int, complete: bool) -> Sink:
        """Pass a response on that may have to change, or that somebody reads."""
        app, early = self.app, self.early
        try:
            lines = app.response_lines(self, head)
            if early is not None:
                early.check(head)
        except Refusal as refusal:
            self.refuse(refusal)
            return nobody
        reader = None
        if app.response_reader is not None:
            reader = app.response_reader(self, head, length if head.has_length else -1)
        if reader is not None and start < len(data):
            reader.read(data[start:])
        if not complete:
            self.reader = reader
            self._response_begins(head)
        elif reader is not None and reader.end() and head.status < 400:
            self._response_begins(head)
            self._keep_open()
        else:
            app.served(self, head.status < 400)
            self._served()
        sink = self._write_response(head, length, data, start, lines, complete)
        if complete:
            return nobody
        if reader is not None:
            return _read_and(reader, sink)
        if early is None and head.framing == LENGTH and self.upstream is not None:
            self.client.splice_from(self.upstream)
        return sink

    def _write_response(
        self, head: ResponseHead, length: int, data: bytes, start: int, lines: bytes, complete: bool
    ) -> Sink:
        client, early = self.client, self.early
        if early is not None:
            early.respond(head, data[start:])
            if complete:
                early.finish()
            return early.write
        if not self.app.rewrites_responses:
            return client.respond(head, length, data, start, complete)
        framing = STREAM if head.framing == CHUNKED and self.content_only else head.framing
        client.start(head.status, lines, framing, length if head.has_length else None, dated=head.dated)
        if complete:
            client.write(data[start:])
            client.finish()
            return nobody
        return client.begin_body(data[start:])

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
        """The sink has the rest of the response."""
        if self.held is not None:
            self._release_held(self.held)  # its body is empty
            if self.upstream is None:
                return
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            self.bytes_out, self.longest_gap = upstream.ended_bytes, upstream.longest_gap
        reader = self.reader
        if reader is not None:  # otherwise each streamed exchange would get an attribute of its own
            self.reader = None
        if reader is not None and reader.end() and self.state is STREAMING:
            self._keep_open()
        else:
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
        self.payload = b""
        self.app.ended(self)

    def _keep_open(self) -> None:
        """The whole response was passed on, and the backend goes on with its work. The client may send a request."""
        self._end_rest()
        if self.body is not None:
            self._count_request()
            self.body = None
        self.payload = b""

    def work_ended(self, failure: Refusal | None = None, *, served: bool = True) -> None:
        """
        The backend has ended the work for which a `ResponseReader` kept the account open, or it has failed.

        The response was passed on before. `served`: the work has a result. The second call changes nothing.
        """
        if self.state is not STREAMING:
            return
        if failure is None and served:
            self.app.served(self, True)
        elif failure is None:
            self.origin = self.upstream_name
            self.app.settle(self, NO_RESULT)
        else:
            self.code, self.origin = failure.code, failure.origin
            self.app.settle(self, BREAK)
        self.app.ended(self)


def _read_and(reader: ResponseReader, sink: Sink) -> Sink:
    """A sink that lets `reader` look at the bytes before it passes them on."""
    read = reader.read

    def pass_on(data: bytes) -> None:
        read(data)
        sink(data)

    return pass_on
