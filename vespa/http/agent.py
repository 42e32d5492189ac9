"""An `IAgent` over our own connections. treq uses it, and with treq all of Vespa's own requests."""

from __future__ import annotations

from typing import Final

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from vespa.http.agent_request import AgentRequest, AskedRequest
from vespa.http.connection_pool import ConnectionPool
from vespa.http.limits import PoolLimits
from vespa.protocol import fields
from vespa.protocol.fields import KINDS, kind_of
from vespa.transport.origin import Origin

_POOLS_MAX: Final = 64
_FRAMING: Final = (fields.HOST, fields.CONTENT_LENGTH, fields.TRANSFER_ENCODING, fields.CONNECTION)


@implementer(IAgent)
@define(eq=False, slots=False)
class Agent:
    """
    Sends requests over pooled HTTP/1.1 connections: http, https, and unix sockets through `unix_socket`.

    `connect_timeout` is in seconds; `trust` is a Twisted trust root for https (None: the system's). With `persistent`
    false each request has a connection of its own. `name` is the name of the server in errors.
    """

    _reactor: IReactorTime
    _connect_timeout: float = 10.0
    _limits: PoolLimits = PoolLimits()
    _persistent: bool = True
    _trust: object | None = None
    _unix_socket: str = ""
    _name: str = "server"
    _pools: dict[tuple[str, str, int], ConnectionPool] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        if not self._persistent:
            self._limits = evolve(self._limits, idle_seconds=0.0)  # whatever the server allows

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        """
        Send a request to an absolute http or https URI.

        Fires with an IResponse when the response's head has come; fails with UpstreamError, or with ValueError for
        another URI. Cancelling cuts the connection.
        """
        try:
            scheme_host, target = _split(uri)
            origin = Origin.parse(scheme_host)
        except ValueError:
            return fail(ValueError("not an http URL"))
        headers = headers or Headers()
        lines = [method, b" ", target, b" HTTP/1.1\r\nHost: ", origin.host_field, b"\r\n"]
        for name, values in headers.getAllRawHeaders():
            kind = KINDS.get(name)
            if (kind if kind is not None else kind_of(name)) in _FRAMING:
                continue
            for value in values:
                lines += (name, b": ", value, b"\r\n")
        if bodyProducer is not None:
            length = bodyProducer.length
            lines.append(
                b"Transfer-Encoding: chunked\r\n" if length == UNKNOWN_LENGTH else b"Content-Length: %d\r\n" % length
            )
        elif method in (b"POST", b"PUT", b"PATCH"):
            lines.append(b"Content-Length: 0\r\n")
        lines.append(b"\r\n" if self._persistent else b"Connection: close\r\n\r\n")
        asked = AgentRequest(
            self._pool(origin), AskedRequest(method, uri, headers), b"".join(lines), bodyProducer, self._persistent
        )
        asked.begin()
        return asked.result

    def _pool(self, origin: Origin) -> ConnectionPool:
        key = (origin.scheme, origin.host, origin.port)
        pool = self._pools.get(key)
        if pool is None:
            if len(self._pools) >= _POOLS_MAX:
                for old in [k for k, p in self._pools.items() if not p.size]:
                    del self._pools[old]
            if self._unix_socket:
                origin = Origin("http", origin.host, origin.port, b"", self._unix_socket)
            endpoint = origin.endpoint(self._reactor, self._connect_timeout, self._trust)
            pool = self._pools[key] = ConnectionPool(endpoint, self._reactor, self._limits, name=self._name)
        return pool

    def close(self) -> None:
        """Close idle connections. Requests in flight go on."""
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()


def _split(uri: bytes) -> tuple[str, bytes]:
    """The URI's scheme and authority, and its target without fragment."""
    text = uri.partition(b"#")[0]
    scheme, colon, rest = text.partition(b"://")
    if not colon:
        raise ValueError("no scheme")
    ends = [i for i in (rest.find(b"/"), rest.find(b"?")) if i >= 0]
    cut = min(ends) if ends else len(rest)
    target = rest[cut:]
    if b" " in target or b"\r" in target or b"\n" in target:
        raise ValueError("control characters")
    return (scheme + b"://" + rest[:cut]).decode("ascii"), target if target[:1] == b"/" else b"/" + target
