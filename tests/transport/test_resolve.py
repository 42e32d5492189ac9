"""Connecting by name: every address has its turn, the first that answers is taken."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError, DNSLookupError, TimeoutError
from twisted.internet.interfaces import IHostnameResolver, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from vespa.transport.errors import ForbiddenAddress
from vespa.transport.resolve import NEXT_SECONDS, ResolvingEndpoint

FOUR, OTHER = IPv4Address("TCP", "192.0.2.1", 80), IPv4Address("TCP", "192.0.2.2", 80)
SIX = IPv6Address("TCP", "2001:db8::1", 80)


@implementer(IHostnameResolver)
class Resolver:
    """Tells what it is told to, when it is told to."""

    def __init__(self) -> None:
        self.receivers: list[Any] = []

    def resolveHostName(
        self,
        resolutionReceiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Any = None,
        transportSemantics: str = "TCP",
    ) -> Any:
        self.receivers.append(resolutionReceiver)
        resolutionReceiver.resolutionBegan(self)
        return self

    def cancel(self) -> None:
        raise NotImplementedError

    def tell(self, *addresses: Any) -> None:
        receiver = self.receivers.pop()
        for address in addresses:
            receiver.addressResolved(address)
        receiver.resolutionComplete()


class NamedEndpointTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.resolver = Resolver()
        self.reactor.installNameResolver(self.resolver)
        self.endpoint = ResolvingEndpoint(self.reactor, "host.example", 80, 5.0)
        self.made: list[Protocol] = []

    def connect(self) -> Deferred[Any]:
        return self.endpoint.connect(Factory.forProtocol(Protocol))

    def asked(self) -> list[str]:
        """The addresses that were connected to."""
        return [each[0] for each in self.reactor.tcpClients]

    def refuse(self, number: int) -> None:
        self.reactor.tcpClients[number][2].clientConnectionFailed(None, Failure(ConnectionRefusedError()))

    def accept(self, number: int) -> Any:
        protocol = self.reactor.tcpClients[number][2].buildProtocol(None)
        protocol.makeConnection(None)
        return protocol

    def assert_idle(self) -> None:
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_interface(self) -> None:
        """It is an endpoint like any other."""
        verifyObject(IStreamClientEndpoint, self.endpoint)

    def test_one_address(self) -> None:
        """The name is looked up, its address connected to, at its port, within the time given."""
        result = self.connect()
        self.resolver.tell(SIX)
        self.assertEqual(self.reactor.tcpClients[0][:2] + (self.reactor.tcpClients[0][3],), ("2001:db8::1", 80, 5.0))
        self.accept(0)
        self.assertIsInstance(self.successResultOf(result), Protocol)
        self.assert_idle()

    def test_no_address(self) -> None:
        """The error for an unknown name contains the name."""
        result = self.connect()
        self.resolver.tell()
        self.assertIn("host.example", str(self.failureResultOf(result, DNSLookupError).value))
        self.assert_idle()

    def test_next_after_a_refusal(self) -> None:
        """An address that refuses makes room for the next at once; when the last refused, so does the whole."""
        result = self.connect()
        self.resolver.tell(SIX, FOUR)
        self.refuse(0)
        self.assertEqual(self.asked(), ["2001:db8::1", "192.0.2.1"])
        self.assertNoResult(result)
        self.refuse(1)
        self.failureResultOf(result, ConnectionRefusedError)
        self.assert_idle()

    def test_next_beside_a_slow_one(self) -> None:
        """A slow address is not waited for; which of them answers first is taken, and the others are cut."""
        result = self.connect()
        self.resolver.tell(SIX, FOUR, OTHER)
        self.reactor.advance(NEXT_SECONDS)
        self.assertEqual(self.asked(), ["2001:db8::1", "192.0.2.1"])
        self.accept(1)
        self.successResultOf(result)
        self.assert_idle()
        self.assertTrue(self.reactor.connectors[0].stoppedConnecting)
        self.reactor.advance(10)
        self.assertEqual(len(self.asked()), 2)

    def test_cancel(self) -> None:
        """A cancel cuts what is under way, also while the name is being looked up."""
        result = self.connect()
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.resolver.tell(FOUR)
        self.assertEqual(self.asked(), [])
        result = self.connect()
        self.resolver.tell(FOUR, OTHER)
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.assertTrue(self.reactor.connectors[0].stoppedConnecting)
        self.assert_idle()

    def test_looked_up_in_time(self) -> None:
        """A look-up that never ends is over after as long as an attempt may take; what comes later is not heard."""
        result = self.connect()
        self.reactor.advance(4.9)
        self.assertNoResult(result)
        self.reactor.advance(0.2)
        self.failureResultOf(result, TimeoutError)
        self.resolver.tell(FOUR)
        self.assertEqual(self.asked(), [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_addresses_that_are_not_allowed(self) -> None:
        """They are not connected to; where there is no other, the failure says so."""
        self.endpoint = ResolvingEndpoint(self.reactor, "host.example", 80, 5.0, lambda host: host != FOUR.host)
        self.connect()
        self.resolver.tell(FOUR, OTHER)
        self.assertEqual(self.asked(), [OTHER.host])
        result = self.connect()
        self.resolver.tell(FOUR)
        self.assertIn(FOUR.host, self.failureResultOf(result, ForbiddenAddress).getErrorMessage())
        self.assertEqual(self.asked(), [OTHER.host])
