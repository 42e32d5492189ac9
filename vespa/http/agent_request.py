"""One request of an agent, and the response that its user gets: what an `IAgent` promises, over our connections."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet import interfaces
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IProtocol
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseFailed
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer, IClientRequest, IResponse
from zope.interface import implementer

from vespa.http.client_connection import ClientConnection, UpstreamError
from vespa.http.connection_pool import Pool
from vespa.protocol.heads import ResponseHead


@implementer(IClientRequest)
class AskedRequest:
    """What was asked; kept with its response."""

    def __init__(self, method: bytes, uri: bytes, headers: Headers) -> None:
        self.method = method
        self.absoluteURI = uri
        self.headers = headers


@implementer(interfaces.ITransport, interfaces.IPushProducer)
class _Valve:
    """What a response's protocol has as its transport."""

    def __init__(self, exchange: AgentExchange) -> None:
        self._exchange = exchange

    def pauseProducing(self) -> None:
        self._exchange.pause()

    def resumeProducing(self) -> None:
        self._exchange.resume()

    def stopProducing(self) -> None:
        self._exchange.cancel()

    loseConnection = stopProducing
    abortConnection = stopProducing

    def write(self, data: bytes) -> None:
        raise NotImplementedError("a response is read, not written")

    def writeSequence(self, data: object) -> None:
        raise NotImplementedError("a response is read, not written")

    def getPeer(self) -> interfaces.IAddress:
        return self._exchange.transport.getPeer()

    def getHost(self) -> interfaces.IAddress:
        return self._exchange.transport.getHost()


@implementer(IResponse)
class Response:
    """A server's reply, its body still to be delivered."""

    def __init__(self, head: ResponseHead, exchange: AgentExchange, request: AskedRequest) -> None:
        self.version = (b"HTTP", 1, 1)
        self.code = head.status
        self.phrase = b""
        self.headers = Headers()
        for name, value in head.headers:
            self.headers.addRawHeader(name, value)
        self.length: int | str = UNKNOWN_LENGTH if head.length is None else head.length
        self.request = request
        self.previousResponse: IResponse | None = None
        self._exchange = exchange

    def deliverBody(self, protocol: IProtocol) -> None:
        """
        Give the body to `protocol`; its end is `connectionLost` with ResponseDone, PotentialDataLoss or
        ResponseFailed.
        """
        self._exchange.deliver(protocol)

    def setPreviousResponse(self, response: IResponse) -> None:
        self.previousResponse = response


class _Chunks:
    """A consumer that frames what it gets in chunks."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    def write(self, data: bytes) -> None:
        if data:
            self._connection.write(b"%x\r\n%b\r\n" % (len(data), data))


class AgentExchange:
    """One request of an agent, from its connection to the body's end."""

    def __init__(self, pool: Pool, request: AskedRequest, head: bytes, body: IBodyProducer | None, reuse: bool) -> None:
        self._pool = pool
        self._request = request
        self._head = head
        self._body = body
        self._reuse = reuse
        self._connection: ClientConnection | None = None
        self._connecting: Deferred[None] | None = None
        self._protocol: IProtocol | None = None
        self._early: list[bytes] = []
        self._ended: Failure | None = None
        self._until_close = False
        self._body_started = False
        self.result: Deferred[IResponse] = Deferred(lambda _: self.cancel())

    @property
    def transport(self) -> interfaces.ITransport:
        assert self._connection is not None and self._connection.transport is not None
        transport: interfaces.ITransport = self._connection.transport
        return transport

    def begin(self) -> None:
        connection = self._pool.take() if self._reuse else None
        if connection is not None:
            self._send(connection)
        else:
            self._connect()

    def _connect(self) -> None:
        self._connecting = self._pool.connect().addCallbacks(self._send, self._failed)

    def _failed(self, failure: Failure) -> None:
        self._connecting = None
        if not self.result.called:
            self.result.errback(failure)

    def _send(self, connection: ClientConnection) -> None:
        self._connecting = None
        self._connection = connection
        body = self._body
        connection.send(self._head, self, head_only=self._request.method == b"HEAD", done=body is None, decoded=True)
        if body is None:
            return
        self._body_started = True
        consumer: object = connection if body.length != UNKNOWN_LENGTH else _Chunks(connection)
        producing: Deferred[None] = body.startProducing(_consumer(consumer))

        def produced(_: object) -> None:
            if self._connection is connection:
                if body.length == UNKNOWN_LENGTH:
                    connection.write(b"0\r\n\r\n")
                connection.finish()

        def broke(failure: Failure) -> None:
            if self._connection is connection:
                self._connection = None
                connection.cancel()
                self._finish(failure)

        producing.addCallbacks(produced, broke)

    # -- what the connection tells

    def interim(self, head: ResponseHead) -> None:
        """Interim replies mean nothing to an agent's user."""

    def response(self, head: ResponseHead) -> Callable[[bytes], None]:
        self._until_close = head.length is None and not head.chunked
        if head.status == 101:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.cancel()
            self._finish(Failure(UpstreamError("bad_reply", "the server switched protocols unasked")))
            return self._ignore
        self.result.callback(Response(head, self, self._request))
        return self._data

    def _ignore(self, data: bytes) -> None:
        """For what comes when nobody listens any more."""

    def _data(self, data: bytes) -> None:
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
        connection, self._connection = self._connection, None
        # A connection that the server closed while it lay in the pool: nothing was read, so once more on a fresh one.
        if error.silent and connection is not None and connection.reused and not self._body_started:
            self._connect()
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

    # -- what the response's user asks

    def deliver(self, protocol: IProtocol) -> None:
        protocol.makeConnection(_Valve(self))
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
        """The user wants no more of it."""
        if self._connecting is not None:
            self._connecting.cancel()
        connection, self._connection = self._connection, None
        if connection is not None:
            if self._body_started and self._body is not None:
                self._body.stopProducing()
            connection.cancel()
            if self.result.called:
                self._finish(Failure(UpstreamError("cancelled", "the response was given up")))


def _consumer(consumer: object) -> IConsumer:
    # IBodyProducer only ever calls `write`.
    return consumer  # type: ignore[return-value]
