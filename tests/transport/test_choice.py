"""Which transports a process uses: as it is told, or as what is installed lets it."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, UNIXServerEndpoint
from twisted.internet.epollreactor import EPollReactor
from twisted.trial.unittest import SynchronousTestCase

from tests.logs import observe_log
from tests.transport.tls_peer import write_certificate
from vespa.runtime.trust import trust_roots
from vespa.transport.choice import FAST, STOCK, choose, is_fast
from vespa.transport.connect import ConnectingEndpoint
from vespa.transport.listen import TCPEndpoint, TLSEndpoint, UNIXEndpoint, listen_tcp, parse
from vespa.transport.origin import Origin
from vespa.transport.own_reactor import close_reactor
from vespa.transport.platform import make_reactor
from vespa.transport.reactor import LeanReactor
from vespa.transport.tls_connect import TLSConnectingEndpoint
from vespa.transport.tls_stock import StockTLSEndpoint, StockTLSServerEndpoint


class Choice(SynchronousTestCase):
    def setUp(self) -> None:
        self.addCleanup(choose, FAST if is_fast() else STOCK)
        self.logged: list[str] = []
        observe_log(self, self.note)

    def note(self, event: Any) -> None:
        if event.get("log_namespace") == "vespa.transport.choice":
            self.logged.append(event["log_format"].format(**event))

    def kinds(self) -> list[type]:
        """What is made of each kind: endpoints to connect and to listen with, and reactors."""
        certificate, key = write_certificate(self.mktemp())
        made = make_reactor()
        close_reactor(made)
        return [
            type(thing)
            for thing in (
                Origin.parse("http://127.0.0.1:1").endpoint(reactor, 1.0),
                Origin.parse("https://127.0.0.1:1").endpoint(reactor, 1.0, trust_roots(certificate)),
                parse(reactor, "tcp:1"),
                parse(reactor, "unix:/run/x"),
                parse(reactor, f"ssl:1:privateKey={key}:certKey={certificate}"),
                made,
            )
        ]

    ALL_FAST = [ConnectingEndpoint, TLSConnectingEndpoint, TCPEndpoint, UNIXEndpoint, TLSEndpoint, LeanReactor]
    ALL_STOCK = [
        TCP4ClientEndpoint,
        StockTLSEndpoint,
        TCP4ServerEndpoint,
        UNIXServerEndpoint,
        StockTLSServerEndpoint,
        EPollReactor,
    ]

    def test_fast(self) -> None:
        """Our own transports and reactor are used, without a log line."""
        choose(FAST)
        self.assertTrue(is_fast())
        self.assertEqual(self.kinds(), self.ALL_FAST)
        self.assertEqual(self.logged, [])

    def test_stock(self) -> None:
        """Only Twisted's own are used where that is chosen."""
        choose(STOCK)
        self.assertFalse(is_fast())
        self.assertEqual(self.kinds(), self.ALL_STOCK)
        self.assertEqual(self.logged, [])

    def test_missing_name(self) -> None:
        """If a private name is missing, Twisted's are used; one line names it and the cost."""
        choose(FAST, ["twisted.internet.tcp.Connection._aborting", "twisted.internet.tcp.Connection._renamed"])
        self.assertEqual(self.kinds(), self.ALL_STOCK)
        (line,) = self.logged
        self.assertTrue(line.startswith("twisted.internet.tcp.Connection._renamed is not in this version"), line)
        self.assertIn("twice the CPU time", line)

    def test_unknown(self) -> None:
        """Another name is refused, with those that there are."""
        before = is_fast()
        self.assertIn("fast or stock", str(self.assertRaises(ValueError, choose, "slow")))
        self.assertEqual(is_fast(), before)

    def test_listen_tcp(self) -> None:
        """A port that is opened at once is of the kind that is chosen."""
        from twisted.internet.protocol import Factory

        for name in FAST, STOCK:
            choose(name)
            factory = Factory()
            factory.noisy = False
            port: Any = listen_tcp(reactor, 0, factory, "127.0.0.1")
            self.assertEqual(type(port).__module__.startswith("vespa."), name == FAST)
            port.stopReading()
            port.connectionLost(None)
