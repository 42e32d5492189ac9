"""How a benchmark's requests reach the backend: TCP, TLS with a CA of the user's own, or a unix socket."""

from __future__ import annotations

from typing import Any

from treq.client import HTTPClient
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.web.client import URI, Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IPolicyForHTTPS, IResponse
from zope.interface import implementer

from vespa.benchmarking.session_encoding import UNIX_ORIGIN
from vespa.runtime.trust import trust_roots
from vespa.transport.tls_resolve import ServerIdentity

_CONNECT_TIMEOUT = 30.0  # seconds, aiohttp's
# Seconds that a connection is kept for the next request. A server with few threads gives one to each idle connection:
# with a timeout of 2, llama.cpp was seen to take 8 s for ten requests of 0.1. With none, a round of many requests meets
# the backlog of 5 that simple servers have, and waits a second for its SYN to be sent again.
_IDLE_TIMEOUT = 0.1


@implementer(IBodyProducer)
class WholeBody:
    """A body that is in memory already, written at once."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: Any) -> Deferred[None]:
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        pass

    def resumeProducing(self) -> None:
        pass

    def stopProducing(self) -> None:
        pass


@implementer(IAgentEndpointFactory)
class _OneSocket:
    """Every connection goes to one unix socket."""

    def __init__(self, reactor: Any, path: str) -> None:
        self._endpoint = UNIXClientEndpoint(reactor, path, timeout=_CONNECT_TIMEOUT)

    def endpointForURI(self, uri: URI) -> UNIXClientEndpoint:
        return self._endpoint


@implementer(IPolicyForHTTPS)
class _NamedServers:
    """An https server has to show a certificate of its own name or address, as everywhere in Vespa."""

    def __init__(self, trust: Any) -> None:
        self._trust = trust

    def creatorForNetloc(self, hostname: bytes, port: int) -> ServerIdentity:
        return ServerIdentity(hostname.decode("ascii"), self._trust)


@implementer(IAgent)
class _UnixFirst:
    """The backend's origin goes to its socket, every other to TCP."""

    def __init__(self, unix: IAgent, tcp: IAgent) -> None:
        self._unix, self._tcp = unix, tcp

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        parsed = URI.fromBytes(uri)
        here = parsed.scheme + b"://" + parsed.netloc == UNIX_ORIGIN.encode("ascii")
        chosen = self._unix if here else self._tcp
        return chosen.request(method, uri, headers, bodyProducer)


@implementer(IAgent)
class _Authorized:
    """Requests to the backend's origin carry its key, unless they bring one of their own; others never do."""

    def __init__(self, agent: IAgent, origin: bytes, authorization: str) -> None:
        self._agent, self._origin, self._authorization = agent, origin, authorization.encode("ascii")

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        headers = headers or Headers()
        if _origin(uri) == self._origin and not headers.hasHeader(b"Authorization"):
            headers = headers.copy()
            headers.setRawHeaders(b"Authorization", [self._authorization])
        return self._agent.request(method, uri, headers, bodyProducer)


def _origin(uri: bytes) -> bytes:
    """Scheme, host and port of a URI, the default port too."""
    parsed = URI.fromBytes(uri)
    return b"%b://%b:%d" % (parsed.scheme, parsed.host.lower(), parsed.port)


def client_of(agent: IAgent) -> HTTPClient:
    """A treq client over `agent`, with a cookie jar of its own."""
    return HTTPClient(agent, data_to_body_producer=WholeBody)


def backend_client(reactor: Any, backend_url: str = "", ca_file: str = "", authorization: str = "") -> HTTPClient:
    """A client without a bound on connections, since a benchmark's own concurrency is what is measured.

    `ca_file` holds the PEM certificates to trust in place of the system's; `authorization` is sent with requests to
    `backend_url`, and nowhere else. OSError where it cannot be read, ValueError
    where it holds none.
    """
    policy = _NamedServers(trust_roots(ca_file))
    agent: IAgent = Agent(reactor, policy, _CONNECT_TIMEOUT, pool=_pool(reactor))
    origin = backend_url
    if backend_url.startswith("unix:"):
        socket = _OneSocket(reactor, backend_url.removeprefix("unix:"))
        agent = _UnixFirst(Agent.usingEndpointFactory(reactor, socket, pool=_pool(reactor)), agent)
        origin = UNIX_ORIGIN
    if authorization:
        agent = _Authorized(agent, _origin(origin.encode("ascii")), authorization)
    return client_of(agent)


def _pool(reactor: Any) -> HTTPConnectionPool:
    pool = HTTPConnectionPool(reactor, persistent=True)
    pool.maxPersistentPerHost = 10_000  # kept idle; Twisted's Agent never bounds those in use
    pool.cachedConnectionTimeout = _IDLE_TIMEOUT  # type: ignore[assignment]  # callLater takes any number
    return pool
