"""
Connects to a host by its name.

Twisted's `HostnameEndpoint` does the same, but imports the global reactor. A program that runs Vespa on another
reactor, in a thread beside its own event loop, would then have a global reactor installed.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Final

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import DNSLookupError, TimeoutError
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHostResolution,
    IProtocolFactory,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from vespa.transport.connect import ConnectingEndpoint
from vespa.transport.errors import ForbiddenAddress
from vespa.transport.platform import connects_directly

NEXT_SECONDS: Final = 0.3  # how long one address may take before the next one is tried in parallel (RFC 8305)


def address_endpoint(reactor: Any, host: str, port: int, seconds: float, *, direct: bool) -> IStreamClientEndpoint:
    """An endpoint for an IP address. `direct`: ours, not Twisted's."""
    is_v6 = ":" in host
    if direct:
        return ConnectingEndpoint(reactor, socket.AF_INET6 if is_v6 else socket.AF_INET, (host, port), seconds)
    kind = TCP6ClientEndpoint if is_v6 else TCP4ClientEndpoint
    endpoint: IStreamClientEndpoint = kind(reactor, host, port, timeout=seconds)
    return endpoint


@implementer(IStreamClientEndpoint)
@frozen
class ResolvingEndpoint:
    """
    Connects to a host and port. `seconds` limits the look-up, and each attempt. The first address that connects is
    used. `allows` decides for each IP address of the name whether it may be used.

    `connect` fires with the protocol. It fails with `TimeoutError` if the look-up takes too long, `DNSLookupError`
    for an unknown name, `ForbiddenAddress` if no address is allowed, otherwise with the error of the last attempt.
    It may be cancelled.
    """

    reactor: Any
    host: str
    port: int
    seconds: float
    allows: Callable[[str], bool] | None = None

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        attempts = _Attempts(self, protocolFactory)
        attempts.begin()
        return attempts.result


@implementer(IResolutionReceiver)
class _Attempts:
    """The attempts of one `connect`, in the resolver's order."""

    def __init__(self, server: ResolvingEndpoint, factory: IProtocolFactory) -> None:
        self.result: Deferred[Any] = Deferred(lambda _: self._end())
        self._server = server
        self._reactor = server.reactor
        self._factory = factory
        self._forbidden = ""
        self._left: list[IAddress] = []
        self._under_way: list[Deferred[Any]] = []
        self._timer: IDelayedCall | None = None
        self._failure: Failure | None = None
        self._over = False

    def begin(self) -> None:
        """Look the name up, with a time limit: some names end a resolver's thread, which then never reports."""
        self._timer = self._reactor.callLater(self._server.seconds, self._not_resolved)
        self._reactor.nameResolver.resolveHostName(self, self._server.host, self._server.port)

    def _not_resolved(self) -> None:
        self._timer = None
        self._end()
        text = f"the look-up of {self._server.host} took over {self._server.seconds:g} s"
        self.result.errback(Failure(TimeoutError(string=text)))

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """A look-up cannot be cancelled. After `_end` its result is ignored."""

    def addressResolved(self, address: IAddress) -> None:
        host = getattr(address, "host", "")
        if self._server.allows is None or self._server.allows(host):
            self._left.append(address)
        else:
            self._forbidden = host

    def resolutionComplete(self) -> None:
        if self._over:
            return
        if self._timer is not None:
            self._timer.cancel()
        if self._forbidden and not self._left:
            text = f"{self._server.host} resolves to {self._forbidden}, which is not a public Internet address"
            self._failure = Failure(ForbiddenAddress(text))
        elif not self._left:
            self._failure = Failure(DNSLookupError(f"{self._server.host} has no known address"))
        self._next()

    def _next(self) -> None:
        self._timer = None
        if self._left:
            address: Any = self._left.pop(0)
            if self._left:
                self._timer = self._reactor.callLater(NEXT_SECONDS, self._next)
            endpoint = address_endpoint(
                self._reactor, address.host, address.port, self._server.seconds, direct=connects_directly(self._reactor)
            )
            attempt = endpoint.connect(self._factory)
            self._under_way.append(attempt)
            attempt.addCallbacks(self._connected, self._failed, callbackArgs=(attempt,), errbackArgs=(attempt,))
        elif not self._under_way:
            assert self._failure is not None
            self._end()
            self.result.errback(self._failure)

    def _connected(self, protocol: Any, attempt: Deferred[Any]) -> None:
        self._under_way.remove(attempt)
        self._end()
        self.result.callback(protocol)

    def _failed(self, failure: Failure, attempt: Deferred[Any]) -> None:
        self._under_way.remove(attempt)
        if self._over:
            return
        self._failure = failure
        if self._timer is not None:
            self._timer.cancel()
        self._next()

    def _end(self) -> None:
        """Start no further attempts, and cancel those in progress."""
        self._over = True
        self._left.clear()
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        for attempt in list(self._under_way):
            attempt.cancel()
