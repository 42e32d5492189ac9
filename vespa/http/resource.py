"""Twisted resources, and so Klein, over our own server.

They serve Vespa's own routes and the simulator, but no proxied requests. The request is Twisted's own `server.Request`,
so everything written for it works. Our server sends what it writes.
"""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from typing import Any, Final

from twisted.internet import interfaces
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IPushProducer, IReactorTime
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource
from twisted.web.server import Request, Site
from zope.interface import implementer

from vespa.http.limits import Limits
from vespa.http.response_writer import STREAM
from vespa.http.server import Server
from vespa.http.server_connection import ServerConnection
from vespa.protocol import fields
from vespa.protocol.fields import KINDS
from vespa.protocol.refusal import Refusal
from vespa.protocol.request_head import RequestHead
from vespa.protocol.response_head import LENGTH, NO_BODY

BODY_MAX: Final = 64 << 20
"""The largest body for a resource, in bytes. The resource gets it in memory."""

_NAME_MAX: Final = 128
_OURS: Final = (fields.CONNECTION, fields.CONTENT_LENGTH, fields.TRANSFER_ENCODING, fields.HOP)


@implementer(interfaces.ITransport)
class _Channel:
    """The channel of a Twisted request. It does nothing after the request has ended."""

    factory = None

    def __init__(self, client: ServerConnection, site: Site) -> None:
        self.client: ServerConnection | None = client
        self.site = site
        self._clock = client.server.clock
        self._producer: IPushProducer | None = None
        self._transport: Any = client.transport
        self.transport = self

    def getPeer(self) -> IAddress:
        return self._transport.getPeer()  # type: ignore[no-any-return]

    def getHost(self) -> IAddress:
        return self._transport.getHost()  # type: ignore[no-any-return]

    def isSecure(self) -> bool:
        return interfaces.ISSLTransport.providedBy(self._transport)

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        client = self.client
        if client is None:
            return
        lines, length, dated = [], None, False
        for name, value in [(name, value) for name, values in headers.getAllRawHeaders() for value in values]:
            dated = dated or name.lower() == b"date"
            if name.lower() == b"content-length":
                length = int(value)
            if KINDS.get(name, fields.kind_of(name)) not in _OURS and name.lower() != b"server":
                lines.append(b"%b: %b\r\n" % (name, value))
        status = int(code)
        framing = NO_BODY if status in (204, 304) else STREAM if length is None else LENGTH
        client.start(status, b"".join(lines), framing, None if status == 204 else length, dated=dated)

    def write(self, data: bytes) -> None:
        if self.client is not None:
            self.client.write(data)

    def writeSequence(self, parts: Iterable[bytes]) -> None:
        self.write(b"".join(parts))

    def requestDone(self, request: Request) -> None:
        client, self.client = self.client, None
        if client is not None:
            client.finish()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if not streaming:
            raise NotImplementedError("only push producers are supported")
        self._producer = producer

    def unregisterProducer(self) -> None:
        self._producer = None

    def pause(self) -> None:
        if self._producer is not None:
            self._producer.pauseProducing()

    def resume(self) -> None:
        if self._producer is not None:
            self._producer.resumeProducing()

    def loseConnection(self) -> None:
        client, self.client = self.client, None
        if client is not None:
            client.truncate()

    def abortConnection(self) -> None:
        if self.client is not None:
            # Later, like Twisted's own, so that the caller is not called back within its own call.
            self._clock.callLater(0, self._abort)

    def _abort(self) -> None:
        if self.client is not None:
            self.client.cut()


class _PlainRequest(Request):
    """Twisted's request, except that our channel frames the body."""

    def write(self, data: bytes) -> None:
        if self.startedWriting or self.finished:
            # Twisted's method would add its own chunk framing.
            if self.channel is not None and data and self.method != b"HEAD":
                self.channel.write(data)
            return
        version, self.clientproto = self.clientproto, b"HTTP/1.0"  # no chunk framing from Twisted
        try:
            Request.write(self, data)
        finally:
            self.clientproto = version


class ResourceHandler:
    """Collects a request's body, then renders a resource."""

    def __init__(
        self,
        client: ServerConnection,
        head: RequestHead,
        site: Site,
        body_max: int = BODY_MAX,
        *,
        verified: bool = False,
    ) -> None:
        """`verified`: the body needs no minimum rate."""
        self.verified = verified
        self._head = head
        self._body = BytesIO()
        self._body_max = body_max
        self._channel = _Channel(client, site)
        self._rendered: Request | None = None

    def receive(self, data: bytes, complete: bool) -> None:
        client = self._channel.client
        assert client is not None
        if self._body.tell() + len(data) > self._body_max:
            self._channel.client = None
            client.refuse(Refusal(413, "body_too_large", f"the body is larger than {self._body_max} bytes"))
            return
        self._body.write(data)
        if complete:
            self._render()
        else:
            client.send_continue()

    def _render(self) -> None:
        head = self._head
        request: Any = _PlainRequest(self._channel, parsePOSTFormSubmission=False)  # type: ignore[no-untyped-call]
        self._rendered = request
        for name, value in head.headers:
            if len(name) <= _NAME_MAX:  # Twisted remembers every name
                request.requestHeaders.addRawHeader(name, value)
        size = self._body.tell()
        self._body.seek(0)
        request.gotLength(size)
        request.content = self._body
        request.requestReceived(head.method, head.target, b"HTTP/1.1" if head.minor else b"HTTP/1.0")

    def hang_up(self, refusal: Refusal | None = None) -> None:
        self._channel.client = None
        if self._rendered is not None and not self._rendered.finished:
            self._rendered.connectionLost(Failure(ConnectionDone()))

    def pause(self) -> None:
        self._channel.pause()

    def resume(self) -> None:
        self._channel.resume()

    def held_bytes(self, received: int) -> int:
        return received

    def drop_replay(self) -> None:
        """Does nothing: the whole body is needed."""


def serve_resource(resource: IResource, clock: IReactorTime, limits: Limits | None = None) -> Server:
    """A server that answers every request with `resource`."""
    site = Site(resource)  # for the few methods that Request calls: getResourceFor, sessions, the log

    return Server(lambda client, head: ResourceHandler(client, head, site, verified=True), clock, limits)
