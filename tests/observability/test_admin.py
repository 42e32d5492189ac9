"""The admin port as a service: where it listens, and how it ends."""

from __future__ import annotations

import errno
import os
from typing import Any

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.logs import observe_log
from tests.observability.rig import EVERYWHERE, LOOPBACK, AdminRig, request
from tests.rig import Wire, status
from tests.system.certificates import Pair
from vespa.observability.admin import DRAIN_SECONDS, PORTS_TRIED, RETRY_SECONDS, AdminListener, moved
from vespa.transport.descriptors import ADMIN_CONNECTIONS


class _Reactor(MemoryReactorClock):
    """Some of its ports are taken, or may not be opened."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: set[int] = set()
        self.forbidden = False

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        if self.forbidden:
            raise CannotListenError(interface, port, OSError(errno.EACCES, "not allowed"))
        if port in self.taken:
            raise CannotListenError(interface, port, OSError(errno.EADDRINUSE, "in use"))
        return super().listenTCP(port, factory, backlog, interface)


class ListenerCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = _Reactor()
        self.said: list[tuple[LogLevel, str]] = []
        observe_log(self, lambda event: self.said.append((event["log_level"], formatEvent(event))))
        self.rig = AdminRig(clock=self.reactor)

    def listener(self, endpoint: str = LOOPBACK, **options: Any) -> AdminListener:
        listener = AdminListener(self.reactor, endpoint, self.rig.routes, **options)
        listener.startService()
        return listener

    def ports(self) -> list[tuple[int, str]]:
        return [(port, interface) for port, _, _, interface in self.reactor.tcpServers]


class StartTests(ListenerCase):
    def test_default(self) -> None:
        """It listens on loopback, and the log says where."""
        listener = self.listener(moves=True)
        self.assertEqual(self.ports(), [(9464, "127.0.0.1")])
        self.assertEqual(listener.address, "http://127.0.0.1:9464")
        self.assertEqual(self.said, [(LogLevel.info, "status page and metrics: http://127.0.0.1:9464")])

    def test_everywhere(self) -> None:
        """Its address for people is one that they can open."""
        self.assertEqual(self.listener(EVERYWHERE).address, "http://127.0.0.1:9464")
        self.assertEqual(self.listener(r"tcp6:9464").address, "http://[::1]:9464")
        self.assertEqual(self.listener(r"tcp:80:interface=\:\:1").address, "http://[::1]:80")

    def test_unix(self) -> None:
        """A unix socket has no URL."""
        self.assertEqual(self.listener("unix:/run/x.sock").address, "the unix socket /run/x.sock")

    def test_moves(self) -> None:
        """A default port that is taken moves on to the first free one, and the log says so."""
        self.reactor.taken = {9464, 9465}
        listener = self.listener(moves=True)
        self.assertEqual(self.ports(), [(9466, "127.0.0.1")])
        self.assertEqual(listener.address, "http://127.0.0.1:9466")
        ((level, text),) = self.said
        self.assertEqual(level, LogLevel.info)
        self.assertIn("http://127.0.0.1:9466", text)
        self.assertIn("tcp:9464:interface=127.0.0.1 is taken", text)
        self.assertIn("VESPA_ADMIN_LISTEN", text)

    def test_moves_no_further(self) -> None:
        """The number of ports that are tried is bounded; without a free one the process serves without."""
        self.reactor.taken = set(range(9464, 9464 + PORTS_TRIED))
        listener = self.listener(moves=True)
        self.assertEqual((self.ports(), listener.address), ([], ""))
        ((level, text),) = self.said
        self.assertEqual(level, LogLevel.error)
        self.assertIn("no status page and no metrics", text)
        self.successResultOf(listener.stopService())

    def test_chosen(self) -> None:
        """A port that was chosen does not move: an error names the setting, and the process serves without."""
        self.reactor.taken = {9464}
        listener = self.listener(setting="--admin-listen")
        self.assertEqual((self.ports(), listener.address), ([], ""))
        ((level, text),) = self.said
        self.assertEqual(level, LogLevel.error)
        self.assertIn("--admin-listen", text)
        self.assertIn("another program listens there", text)

    def test_again(self) -> None:
        """A port that could not be opened is tried again, without a word, until it is free or the process ends."""
        self.reactor.taken = {9464}
        listener = self.listener()
        self.reactor.pump([RETRY_SECONDS] * 3)
        self.assertEqual([level for level, _ in self.said], [LogLevel.error])
        self.reactor.taken = set()
        self.reactor.advance(RETRY_SECONDS)
        self.assertEqual(self.said[1:], [(LogLevel.info, "status page and metrics: http://127.0.0.1:9464")])
        self.assertEqual(listener.address, "http://127.0.0.1:9464")
        self.assertEqual(len(self.ports()), 1)
        self.reactor.pump([RETRY_SECONDS] * 3)
        self.assertEqual(len(self.ports()), 1)

    def test_again_until_the_stop(self) -> None:
        """A stop ends the tries."""
        self.reactor.taken = {9464}
        listener = self.listener()
        self.successResultOf(listener.stopService())
        self.reactor.taken = set()
        self.reactor.pump([RETRY_SECONDS] * 3)
        self.assertEqual(self.ports(), [])

    def test_other_errors(self) -> None:
        """Only a port that is taken moves on."""
        self.reactor.forbidden = True
        self.listener(moves=True)
        ((level, text),) = self.said
        self.assertEqual(level, LogLevel.error)
        self.assertIn("tcp:9464", text)

    def test_malformed(self) -> None:
        """A string that is no endpoint is an error when it is made."""
        for endpoint in ("tcp:port", "nonsense:1", "tcp"):
            with self.assertRaises((ValueError, TypeError), msg=endpoint):
                AdminListener(self.reactor, endpoint, self.rig.routes)

    def test_moved(self) -> None:
        """A port moves, and nothing else of the string."""
        self.assertEqual(moved(r"tcp:9464:interface=\:\:1", 2), r"tcp:9466:interface=\:\:1")
        self.assertEqual(moved("unix:/run/x.sock", 0), "unix:/run/x.sock")


class StopTests(ListenerCase):
    def connect(self, listener: AdminListener, path: str) -> Wire:
        wire = Wire()
        wire.attach(listener.server.buildProtocol(IPv4Address("TCP", "127.0.0.1", 40000)))
        wire.send(request(path))
        return wire

    def test_idle(self) -> None:
        """A stop closes what is idle, and ends at once."""
        listener = self.listener()
        wire = self.connect(listener, "/healthz")
        self.assertEqual(status(wire.read()), 200)
        self.successResultOf(listener.stopService())
        self.assertFalse(wire.open)
        self.assertEqual(listener.address, "")

    def test_streams(self) -> None:
        """A stop ends the streams, and does not wait for their readers."""
        listener = self.listener()
        wire = self.connect(listener, "/events")
        self.assertEqual(status(wire.read()), 200)
        self.successResultOf(listener.stopService())
        self.assertTrue(wire.read().endswith(b"0\r\n\r\n"))

    def test_unfinished(self) -> None:
        """A stop waits for a request in progress for a moment only."""
        listener = self.listener()
        wire = Wire()
        wire.attach(listener.server.buildProtocol(IPv4Address("TCP", "127.0.0.1", 40000)))
        wire.send(b"POST /log-level HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nde")
        stopped = listener.stopService()
        self.assertNoResult(stopped)
        self.reactor.advance(DRAIN_SECONDS)
        self.successResultOf(stopped)
        self.assertTrue(wire.aborted)

    def test_before_the_start(self) -> None:
        """What never listened ends as well."""
        listener = AdminListener(self.reactor, LOOPBACK, self.rig.routes)
        self.successResultOf(listener.stopService())


class CertificateTests(SynchronousTestCase):
    def test_renewed(self) -> None:
        """A certificate that is replaced while the port is open is loaded; without TLS there is nothing to load."""
        folder = self.mktemp()
        os.mkdir(folder)
        pair = Pair(folder)
        endpoint = f"ssl:0:interface=127.0.0.1:privateKey={pair.key_file}:certKey={pair.cert_file}"
        listener = AdminListener(reactor, endpoint, AdminRig().routes)
        assert listener.renewal is not None and listener.certificate is not None
        first = listener.certificate.current
        listener.renewal.call()
        self.assertIs(listener.certificate.current, first)
        pair.renew()
        listener.renewal.call()
        self.assertIsNot(listener.certificate.current, first)
        self.assertIsNone(AdminListener(reactor, LOOPBACK, AdminRig().routes).renewal)

    def test_expiry(self) -> None:
        """A certificate that expires within a week is logged once a day, as the worker's own is."""
        said: list[tuple[LogLevel, str]] = []
        observe_log(self, lambda event: said.append((event["log_level"], formatEvent(event))))
        folder = self.mktemp()
        os.mkdir(folder)
        pair = Pair(folder)  # valid for a day
        endpoint = f"ssl:0:interface=127.0.0.1:privateKey={pair.key_file}:certKey={pair.cert_file}"
        listener = AdminListener(reactor, endpoint, AdminRig().routes)
        assert listener.renewal is not None
        for _ in range(3):
            listener.renewal.call()
        ((level, text),) = said
        self.assertEqual(level, LogLevel.warn)
        self.assertIn(f"the certificate {pair.cert_file} expires on ", text)


class LimitTests(ListenerCase):
    def test_connections(self) -> None:
        """More connections than the port may have get 503, unless an idle one can be closed for them."""
        listener = self.listener()

        def connected(begin: bytes) -> Wire:
            wire = Wire()
            wire.attach(listener.server.buildProtocol(IPv4Address("TCP", "127.0.0.1", 40000)))
            if begin:
                wire.send(begin)
            return wire

        upload = b"POST /log-level HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nde"
        busy = [connected(upload) for _ in range(ADMIN_CONNECTIONS - 1)]
        idle = connected(b"")
        later = connected(request("/healthz"))
        self.assertFalse(idle.open)
        self.assertEqual(status(later.read()), 200)
        later.send(upload)
        self.assertEqual(status(connected(b"").read()), 503)
        self.assertTrue(all(wire.open for wire in busy))

    def test_protocols(self) -> None:
        """The port offers no other protocol."""
        self.assertEqual(status(self.rig.ask("/healthz", "Connection: upgrade", "Upgrade: websocket")), 200)
