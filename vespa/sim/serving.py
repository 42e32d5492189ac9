"""Where the simulator meets an HTTP server: the one place that says which server that is."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.resource import IResource
from twisted.web.server import Request, Site


class _QuietSite(Site):
    """A site that keeps no access log: the simulator prints what matters itself."""

    def __init__(self, resource: IResource) -> None:
        super().__init__(resource, parsePOSTFormSubmission=False)  # type: ignore[no-untyped-call]
        self.displayTracebacks = False

    def log(self, request: Any) -> None:
        """Write nothing."""


class _Connections(WrappingFactory):
    """Knows the connections that are open, so that they can be ended and awaited."""

    noisy = False

    def __init__(self, factory: IProtocolFactory) -> None:
        super().__init__(factory)  # type: ignore[no-untyped-call]
        self._when_none: list[Deferred[None]] = []

    def unregisterProtocol(self, p: ProtocolWrapper) -> None:
        """Forget a connection that is gone."""
        super().unregisterProtocol(p)  # type: ignore[no-untyped-call]
        if not self.protocols:
            waiting, self._when_none = self._when_none, []
            for deferred in waiting:
                deferred.callback(None)

    async def end_all(self) -> None:
        """Abort every connection and return when the last is gone."""
        if not self.protocols:
            return
        gone: Deferred[None] = Deferred()
        self._when_none.append(gone)
        for protocol in list(self.protocols):
            protocol.transport.abortConnection()
        await gone


class Served:
    """A resource that is being served."""

    def __init__(self, listening: IListeningPort, connections: _Connections) -> None:
        self._listening = listening
        self._connections = connections

    @property
    def port(self) -> int:
        """The TCP port, useful where it was chosen by the system."""
        host: Any = self._listening.getHost()
        return int(host.port)

    @property
    def url(self) -> str:
        """The base URL on this machine, without a final slash."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections.protocols)

    async def stop(self) -> None:
        """Stop listening, abort what is connected, and return when all of it is gone."""
        stopped = self._listening.stopListening()
        if stopped is not None:
            await stopped
        await self._connections.end_all()


async def serve(resource: IResource, endpoint: IStreamServerEndpoint) -> Served:
    """Serve a resource at an endpoint. Fails with CannotListenError where the address is taken."""
    connections = _Connections(_QuietSite(resource))
    return Served(await endpoint.listen(connections), connections)


def drop(request: Request) -> None:
    """End the request's connection at once, with nothing more said: what a crash looks like to a client."""
    transport: Any = request.transport
    transport.abortConnection()
