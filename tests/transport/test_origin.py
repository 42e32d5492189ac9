"""Which way leads to an origin, and on whose reactor."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from tests.transport import tls_laws as laws
from tests.transport.tls_peer import reactor, write_certificate
from vespa.http.agent import Agent
from vespa.http.interfaces import UpstreamError
from vespa.runtime.trust import trust_roots
from vespa.transport.certificates import Certificate
from vespa.transport.connect import ConnectingEndpoint
from vespa.transport.listen import TLSEndpoint
from vespa.transport.origin import Origin
from vespa.transport.tls_connect import TLSConnectingEndpoint

ROOT = Path(__file__).parent.parent.parent

# A reactor of its own in a thread, and https to a name (Twisted's TLS) and to an address (ours).
SCRIPT = """
import socket, sys, threading
from vespa.http.agent import Agent
from vespa.transport.reactor import LeanReactor
from vespa.runtime.trust import trust_roots

port, certificate = sys.argv[1:]
reactor = LeanReactor()
agent = Agent(reactor, trust=trust_roots(certificate))

async def call():
    for host in "localhost", "127.0.0.1":
        response = await agent.request(b"GET", f"https://{host}:{port}/".encode())
        print(host, response.code)

def begin():
    from twisted.internet.defer import Deferred
    Deferred.fromCoroutine(call()).addErrback(lambda failure: failure.printTraceback(sys.stdout)).addBoth(
        lambda _: reactor.stop()
    )

reactor.callWhenRunning(begin)
thread = threading.Thread(target=reactor.run, args=(False,))
thread.start()
thread.join()
print("twisted.internet.reactor" in sys.modules)
"""


class Responses(laws.Ours):
    """An HTTP server of few words."""

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        if self.received.endswith(b"\r\n\r\n"):
            self.received.clear()
            self.write(b"HTTP/1.1 204 No Content\r\n\r\n")


class Ways(TestCase):
    timeout = 30

    def test_lean_where_it_can_be(self) -> None:
        """Sockets and addresses are connected to by ourselves, TLS to an address too when it is said whom to trust."""
        trust = trust_roots(write_certificate(self.mktemp())[0])
        for url, given, kind in (
            ("unix:/run/x", None, ConnectingEndpoint),
            ("http://127.0.0.1:80", None, ConnectingEndpoint),
            ("http://[::1]:80", trust, ConnectingEndpoint),
            ("https://127.0.0.1:80", trust, TLSConnectingEndpoint),
            ("https://[::1]:80", trust, TLSConnectingEndpoint),
        ):
            self.assertIs(type(Origin.parse(url).endpoint(reactor, 1.0, given)), kind)
        for url, given in (("https://localhost", trust), ("https://localhost", None), ("https://127.0.0.1", None)):
            self.assertNotIsInstance(Origin.parse(url).endpoint(reactor, 1.0, given), ConnectingEndpoint)

    def test_other_reactors(self) -> None:
        """With a reactor that has no descriptors, such as a test's, the way is Twisted's."""
        clock: Any = Clock()
        self.assertIsInstance(Origin.parse("http://127.0.0.1").endpoint(clock, 1.0), TCP4ClientEndpoint)
        trust = trust_roots(write_certificate(self.mktemp())[0])
        endpoint = Origin.parse("https://127.0.0.1").endpoint(clock, 1.0, trust)
        self.assertNotIsInstance(endpoint, TLSConnectingEndpoint)

    async def serve(self, certificate: str, key: str) -> int:
        """An https server; its port."""
        factory = Factory.forProtocol(Responses)
        factory.noisy = False
        port: Any = await TLSEndpoint(reactor, 0, "127.0.0.1", 50, Certificate(certificate, key)).listen(factory)
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    async def test_names(self) -> None:
        """Of servers known by name, too, those alone are let in whose certificate says that name; no root makes up."""
        trusted = write_certificate(self.mktemp(), "localhost", address="")
        for name, address, root, good in (
            ("localhost", "", "", True),
            ("other.example", "", "", False),
            ("", "127.0.0.1", "", False),
            ("", "", "", False),
            ("*", "", "", False),
            ("localhost", "", trusted[0], False),
        ):
            certificate, key = write_certificate(self.mktemp(), name, address=address)
            port = await self.serve(certificate, key)
            agent = Agent(reactor, trust=trust_roots(root or certificate), persistent=False)
            asking: Any = agent.request(b"GET", b"https://localhost:%d/" % port)
            if good:
                self.assertEqual((await asking).code, 204)
            else:
                await self.assertFailure(asking, UpstreamError)
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_no_global_reactor(self) -> None:
        """https on a reactor of one's own, to a name or an address, leaves the global reactor alone."""
        certificate, key = write_certificate(self.mktemp())
        port = await self.serve(certificate, key)
        argv = ["-c", SCRIPT, str(port), str(Path(certificate).absolute())]
        out, err, code = await getProcessOutputAndValue(sys.executable, argv, path=str(ROOT))
        self.assertEqual((out.decode(), err.decode(), code), ("localhost 204\n127.0.0.1 204\nFalse\n", "", 0))
