"""One request of an agent and its response, which fulfil the contract of `IAgent` over our connections."""

from __future__ import annotations

from typing import Any

from attrs import define
from twisted.internet import interfaces
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseFailed
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer, IClientRequest, IResponse
from zope.interface import implementer

from vespa.http.client_connection import ClientConnection
from vespa.http.connection_pool import ConnectionPool
from vespa.http.interfaces import Sink, UpstreamError, nobody
from vespa.protocol.response_head import UNTIL_CLOSE, ResponseHead


@implementer(IClientRequest)
@define(eq=False)
class AskedRequest:
    """The request, which its response refers to."""

    method: bytes
    absoluteURI: bytes
    headers: Headers


@implementer(interfaces.IPushProducer)
@define(eq=False)
class _Valve:
    """What a protocol that receives a response's body has as its transport, as with Twisted's own agent."""

    _asked: AgentRequest

    def pauseProducing(self) -> None:
        self._asked.pause()

    def resumeProducing(self) -> None:
        self._asked.resume()

    def stopProducing(self) -> None:
        self._asked.cancel()

    loseConnection = abortConnection = stopProducing


@implementer(IResponse)
class Response:
    """A server's response. Its body is delivered later."""

    def __init__(self, head: ResponseHead, length: int, asked: AgentRequest, request: AskedRequest) -> None:
        self.version = (b"HTTP", 1, 1)
        self.code = head.status
        self.phrase = b""
        self.headers = Headers()
        for name, value in head.headers:
            self.headers.addRawHeader(name, value)
        self.length: int | str = length if head.has_length else UNKNOWN_LENGTH
        self.request = request
        self.previousResponse: IResponse | None = None
        self._asked = asked

    def deliverBody(self, protocol: IProtocol) -> None:
        """
        Deliver the body to `protocol`. Then call `connectionLost` with ResponseDone, PotentialDataLoss or
        ResponseFailed.
        """
        self._asked.deliver(protocol)

    def setPreviousResponse(self, response: IResponse) -> None:
        self.previousResponse = response


@define(eq=False)
class _Chunks:
    """A consumer that frames its data in chunks."""

    _connection: ClientConnection

    def write(self, data: bytes) -> None:
        if data:
            self._connection.write(b"%x\r\n%b\r\n" % (len(data), data))


class AgentRequest:
    """One request of an agent, from its connection to the end of the response's body."""

    content_only = True
    may_retry = False

    def __init__(
        self, pool: ConnectionPool, request: AskedRequest, head: bytes, body: IBodyProducer | None, reuse: bool
    ) -> None:
        """`head` is the request's head as bytes. `reuse`: an idle connection may be used."""
        self._pool = pool
        self._request = request
        self._head = head
        self._body = body
        self._reuse = reuse
        self._connection: ClientConnection | None = None
        self._protocol: IProtocol | None = None
        self._early: list[bytes] = []
        self._ended: Failure | None = None
        self._until_close = False
        self._body_started = False
        self.result: Deferred[IResponse] = Deferred(lambda _: self.cancel())

    def begin(self) -> None:
        """Send the request."""
        self._acquire(fresh=not self._reuse)

    def _acquire(self, *, fresh: bool) -> None:
        connection = self._pool.acquire(self, fresh=fresh)
        if connection is not None:
            self.connected(connection)

    def connected(self, connection: ClientConnection) -> None:
        """Send the head, and start the producer of the body."""
        self._connection = connection
        body = self._body
        connection.send(self, self._head, self._request.method == b"HEAD", body is None)
        if body is None:
            return
        self._body_started = True
        # IBodyProducer only ever calls `write`.
        consumer: Any = connection if body.length != UNKNOWN_LENGTH else _Chunks(connection)
        producing: Deferred[None] = body.startProducing(consumer)

        def produced(_: object) -> None:
            if self._connection is connection:
                if body.length == UNKNOWN_LENGTH:
                    connection.write(b"0\r\n\r\n")
                connection.finish()

        def not_produced(failure: Failure) -> None:
            if self._connection is connection:
                self._connection = None
                connection.cancel()
                self._finish(failure)

        producing.addCallbacks(produced, not_produced)

    # -- called by the connection

    def interim(self, head: ResponseHead) -> None:
        """Ignored: an agent has no use for interim responses."""

    def respond(self, head: ResponseHead, length: int, data: bytes, start: int, complete: bool) -> Sink:
        """Fire the Deferred with the response. Its body waits until it is delivered."""
        self._until_close = head.framing == UNTIL_CLOSE
        connection = self._connection
        if complete:
            self._connection = None
        if head.status == 101:
            self._connection = None
            if connection is not None:
                connection.cancel()
            self._finish(Failure(UpstreamError("bad_reply", "the server switched protocols unasked")))
            return nobody
        self.result.callback(Response(head, length, self, self._request))
        self._take(data[start:])
        if complete:
            self.response_end()
        return self._take

    def _take(self, data: bytes) -> None:
        if not data:
            return
        if self._protocol is not None:
            self._protocol.dataReceived(data)
        else:
            self._early.append(data)
            self.pause()

    def response_end(self) -> None:
        self._connection = None
        self._finish(Failure(PotentialDataLoss() if self._until_close else ResponseDone()))

    def upstream_failed(self, error: UpstreamError) -> None:
        """Retry once if the connection was closed while it was idle; otherwise fail."""
        connection, self._connection = self._connection, None
        if error.silent and connection is not None and connection.reused and not self._body_started:
            self._acquire(fresh=True)  # the producer of the body has not started
            return
        self._finish(Failure(error))

    def pause_request(self) -> None:
        if self._body is not None:
            self._body.pauseProducing()

    def resume_request(self) -> None:
        if self._body is not None:
            self._body.resumeProducing()

    def _finish(self, reason: Failure) -> None:
        if not self.result.called:
            self.result.errback(reason)
        elif self._ended is None:
            self._ended = reason if reason.check(ResponseDone, PotentialDataLoss) else Failure(ResponseFailed([reason]))
            if self._protocol is not None:
                self._protocol.connectionLost(self._ended)

    # -- called by the user of the response

    def deliver(self, protocol: IProtocol) -> None:
        transport: Any = _Valve(self)
        protocol.makeConnection(transport)
        while self._early:
            protocol.dataReceived(self._early.pop(0))
        self._protocol = protocol
        if self._ended is not None:
            protocol.connectionLost(self._ended)
        else:
            self.resume()

    def pause(self) -> None:
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        if self._connection is not None:
            self._connection.resume()

    def cancel(self) -> None:
        """The user does not want the response."""
        self._pool.abandon(self)
        connection, self._connection = self._connection, None
        if connection is not None:
            if self._body_started and self._body is not None:
                self._body.stopProducing()
            connection.cancel()
            if self.result.called:
                self._finish(Failure(UpstreamError("cancelled", "the caller cancelled the request")))
