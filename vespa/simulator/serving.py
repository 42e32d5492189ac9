"""Serves the simulator's resources: the only module that knows the HTTP server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.web.resource import IResource

from vespa.http.resource import serve_resource
from vespa.http.server import Application, Server


class Served:
    """A resource that is being served."""

    def __init__(self, listening: IListeningPort, server: Server) -> None:
        self._listening = listening
        self._server = server

    @property
    def port(self) -> int:
        """The TCP port."""
        host: Any = self._listening.getHost()
        return int(host.port)

    @property
    def url(self) -> str:
        """The base URL on this machine, without a final slash."""
        return f"http://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        """Stop listening, abort the connections, and return when all are closed."""
        stopped = self._listening.stopListening()
        if stopped is not None:
            await stopped
        ended = self._server.drain()
        self._server.abort()
        await ended


Upgrades = Mapping[bytes, Application]
"""Applications that replace the resource at a path, for other protocols than HTTP."""


async def serve(resource: IResource, endpoint: IStreamServerEndpoint, upgrades: Upgrades | None = None) -> Served:
    """Serve a resource at an endpoint. Fails with CannotListenError if the address is taken."""
    from twisted.internet import reactor

    clock: Any = reactor
    server = serve_resource(resource, clock)
    if upgrades:
        server.application = _with(upgrades, server.application)
    return Served(await endpoint.listen(server), server)


def _with(upgrades: Upgrades, others: Application) -> Application:
    return lambda client, head: upgrades.get(head.target.partition(b"?")[0], others)(client, head)
