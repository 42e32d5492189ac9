"""An agent that verifies no certificate, for ports of this machine whose certificates are for another address."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import SSL4ClientEndpoint, TCP4ClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import CertificateOptions
from twisted.web.client import URI, Agent
from twisted.web.iweb import IAgent, IAgentEndpointFactory
from zope.interface import implementer


@implementer(IAgentEndpointFactory)
class _Endpoints:
    def __init__(self, reactor: Any, connect_seconds: float) -> None:
        self._reactor = reactor
        self._seconds = connect_seconds

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        host = uri.host.decode("ascii").strip("[]")
        if uri.scheme == b"https":
            return SSL4ClientEndpoint(self._reactor, host, uri.port, CertificateOptions(), timeout=self._seconds)
        return TCP4ClientEndpoint(self._reactor, host, uri.port, timeout=self._seconds)


def unverified_agent(reactor: Any, connect_seconds: float) -> IAgent:
    """The agent. To be used with addresses of this machine alone: anybody between here and there could answer."""
    agent: IAgent = Agent.usingEndpointFactory(reactor, _Endpoints(reactor, connect_seconds))
    return agent
