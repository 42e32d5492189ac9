"""Which root workers' certificates have to lead to, and what that lets in."""

from __future__ import annotations

import datetime
import ipaddress
import os
import time
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet import reactor as _reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.fakes import FakeAgent, FakeResponse
from tests.simulator_support.authority import Authority
from vespa.client.trust import FINGERPRINT, TrustError, WorkerTrust, shipped_root
from vespa.runtime.http_client import BoundedClient
from vespa.transport.certificates import Certificate
from vespa.transport.errors import BadCertificate
from vespa.transport.listen import TLSEndpoint
from vespa.transport.origin import Origin
from vespa.transport.platform import connects_directly
from vespa.transport.tls_connect import TLSClientTransport
from vespa.vast.addresses import CONSOLE

reactor: Any = _reactor
SIMULATOR = "http://127.0.0.1:9000"
YEAR = datetime.timedelta(days=365)


class Root:
    """A root of any shape, and what it signs."""

    def __init__(self, name: str = "Root", *extensions: x509.ExtensionType, issuer: Root | None = None) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signer = issuer or self
        builder = self.builder(self.name, signer.name, self.key)
        for extension in extensions or (x509.BasicConstraints(ca=True, path_length=0),):
            builder = builder.add_extension(extension, critical=True)
        self.pem = builder.sign(signer.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    @staticmethod
    def builder(
        subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, *, ended: bool = False
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.fromtimestamp(time.time(), datetime.timezone.utc)
        end = now - YEAR if ended else now + YEAR
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 2 * YEAR)
            .not_valid_after(end)
        )

    def issue(self, address: str = "127.0.0.1", *, ended: bool = False) -> bytes:
        """A key and a certificate for an address, as one PEM text."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "worker")])
        certificate = self.builder(subject, self.name, key, ended=ended).add_extension(names, critical=False)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return private + certificate.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.agent = FakeAgent()
        self.clock = Clock()

    def trust(self, console: str = SIMULATOR, ca_file: str = "") -> WorkerTrust:
        return WorkerTrust(ca_file=ca_file, console_url=console, http=BoundedClient(self.agent, self.clock))

    def file(self, content: bytes) -> str:
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(content)
        return path

    def ask(self, trust: WorkerTrust) -> Deferred[object]:
        return Deferred.fromCoroutine(trust.roots())

    def error(self, asking: Deferred[object]) -> str:
        return str(self.failureResultOf(asking, TrustError).value)


class Shipped(Case):
    """Vast's own console stands for the root that came with this program."""

    def test_no_question(self) -> None:
        """Nothing is asked for, whether or not the console's address ends in a slash."""
        for console in CONSOLE, CONSOLE + "/":
            self.assertIsNotNone(self.successResultOf(self.ask(self.trust(console))))
        self.assertEqual(self.agent.asked, [])

    def test_is_vasts(self) -> None:
        """The file is a certificate that may sign others, and has the fingerprint that Vast's programs know."""
        root = x509.load_pem_x509_certificate(files("vespa.client").joinpath("vast_root.pem").read_bytes())
        self.assertEqual(root.fingerprint(hashes.SHA256()).hex().upper(), FINGERPRINT)
        self.assertTrue(root.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)

    def test_another(self) -> None:
        """A file that was exchanged or damaged is not taken."""
        for pem, text in ((Root().pem, "is not Vast's"), (b"", "cannot be read"), (b"\0" * 2000, "cannot be read")):
            self.assertIn(text, str(self.assertRaises(TrustError, shipped_root, pem)))


class File(Case):
    """A file of the user's stands in for everything else."""

    def test_taken(self) -> None:
        """Nothing is asked for, whichever the console."""
        path = self.file(Root().pem)
        for console in CONSOLE, SIMULATOR:
            self.assertIsNotNone(self.successResultOf(self.ask(self.trust(console, path))))
        self.assertEqual(self.agent.asked, [])

    def test_no_good(self) -> None:
        """A file that is not there, or holds no certificate, is an error at once."""
        self.assertRaises(OSError, self.trust, ca_file="/nowhere/root.pem")
        path = self.file(b"<html>")
        self.assertIn(path, str(self.assertRaises(ValueError, self.trust, ca_file=path)))
        path = self.file(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        self.assertIn(path, str(self.assertRaises(ValueError, self.trust, ca_file=path)))


class Fetched(Case):
    """Another console, which is a simulator's, hands its root out."""

    def test_once(self) -> None:
        """All who ask while it is fetched, and all who ask later, get the same from one question."""
        trust = self.trust(SIMULATOR + "/")
        asking = [self.ask(trust) for _ in range(3)]
        self.assertEqual(self.agent.urls, [SIMULATOR + "/static/jvastai_root.cer"])
        self.assertEqual(self.agent.asked[0].method, "GET")
        self.agent.asked[0].answer(200, Authority(time.time()).root)
        roots = [self.successResultOf(each) for each in asking]
        self.assertEqual(set(roots), {self.successResultOf(self.ask(trust))})
        self.assertEqual(len(self.agent.asked), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_errors(self) -> None:
        """What is no root is said to be none, with the address that was asked; the next who asks makes a new try."""
        trust = self.trust()
        for content, text in (
            (FakeResponse(404, b"nothing"), "status 404"),
            (FakeResponse(302), "status 302"),
            (FakeResponse(200, b"<html>not found</html>"), "holds no certificate"),
            (FakeResponse(200, b"x" * 70000), "too long"),
            (FakeResponse(200, Root().pem, end=ConnectionRefusedError()), "incomplete"),
            (ConnectionRefusedError(), "refused"),
        ):
            asking = self.ask(trust)
            if isinstance(content, Exception):
                self.agent.asked[-1].fail(content)
            else:
                self.agent.asked[-1].result.callback(content)
            error = self.error(asking)
            self.assertIn(text, error)
            self.assertIn(SIMULATOR + "/static/jvastai_root.cer", error)
        asking = self.ask(trust)
        self.agent.asked[-1].answer(200, Root().pem)
        self.assertIsNotNone(self.successResultOf(asking))

    def test_silent(self) -> None:
        """A console that does not answer is given up after ten seconds."""
        asking = self.ask(self.trust())
        self.clock.advance(9.9)
        self.assertNoResult(asking)
        self.clock.advance(0.2)
        self.assertIn("no response in 10 s", self.error(asking))
        self.assertTrue(self.agent.asked[0].cancelled)

    def test_leaving(self) -> None:
        """Who leaves takes nothing from the others; when all have left, nothing goes on."""
        trust = self.trust()
        first, second = self.ask(trust), self.ask(trust)
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertFalse(self.agent.asked[0].cancelled)
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.assertTrue(self.agent.asked[0].cancelled)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        third = self.ask(trust)
        self.agent.asked[1].answer(200, Root().pem)
        self.assertIsNotNone(self.successResultOf(third))


class Echo(Protocol):
    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


class Caller(Protocol):
    """Says one word, and waits for it to come back."""

    def __init__(self) -> None:
        self.heard: Deferred[bytes] = Deferred()
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"hello")

    def dataReceived(self, data: bytes) -> None:
        self.heard.callback(data)

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.callback(None)


def quiet(kind: type[Protocol]) -> Factory:
    factory: Any = Factory.forProtocol(kind)
    factory.noisy = False
    return factory


class Letting(TestCase):
    """Who is let in by a root, over real sockets, as workers are called."""

    timeout = 20

    async def call(
        self, root: bytes, shown: bytes, *, certificates: Sequence[bytes] = (), console: str = SIMULATOR
    ) -> Any:
        """Call a worker that shows a certificate and others, and trust the root that the console hands out."""
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(shown + b"".join(certificates))
        os.chmod(path, 0o600)
        endpoint = TLSEndpoint(reactor, 0, "127.0.0.1", 50, Certificate(path, path))
        port: Any = await endpoint.listen(quiet(Echo))
        self.addCleanup(port.stopListening)
        agent = FakeAgent(lambda asked: asked.result.callback(FakeResponse(200, root)))
        trust = WorkerTrust(ca_file="", console_url=console, http=BoundedClient(agent, Clock()))
        origin = Origin.parse(f"https://127.0.0.1:{port.getHost().port}")
        caller: Any = await origin.endpoint(reactor, 5.0, await trust.roots()).connect(quiet(Caller))
        self.assertIsInstance(
            caller.transport, TLSClientTransport if connects_directly(reactor) else TLSMemoryBIOProtocol
        )
        word = await caller.heard
        caller.transport.loseConnection()
        await caller.lost
        return word

    async def refused(self, root: bytes, shown: bytes, why: str, **more: Any) -> None:
        error: Any = await self.assertFailure(Deferred.fromCoroutine(self.call(root, shown, **more)), BadCertificate)
        self.assertIn(why, str(error))

    async def test_simulated(self) -> None:
        """A worker under the simulator's root, which has a path length and no leave to sign, is let in."""
        authority = Authority(time.time())
        self.assertEqual(await self.call(authority.root, b"".join(authority.issue("127.0.0.1"))), b"hello")

    async def test_shapes_of_roots(self) -> None:
        """A root may have a path length, a key usage, both or neither."""
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        for extensions in (
            [x509.BasicConstraints(ca=True, path_length=0)],
            [x509.BasicConstraints(ca=True, path_length=None)],
            [x509.BasicConstraints(ca=True, path_length=0), usage],
        ):
            root = Root("Root", *extensions)
            self.assertEqual(await self.call(root.pem, root.issue()), b"hello")

    async def test_another_root(self) -> None:
        """A certificate that another root has signed is refused, also if that has the same name."""
        await self.refused(Root().pem, Root("Other").issue(), "unable to get local issuer certificate")
        await self.refused(Root().pem, Root().issue(), "certificate signature failure")

    async def test_another_address(self) -> None:
        """A certificate for another address is refused, though its root is trusted."""
        root = Root()
        for address in "127.0.0.2", "::1", "0.0.0.0":
            await self.refused(root.pem, root.issue(address), "it is not for this address")

    async def test_expired(self) -> None:
        """A certificate that has run out is refused."""
        root = Root()
        await self.refused(root.pem, root.issue(ended=True), "certificate has expired")

    async def test_system_roots(self) -> None:
        """Vast's root lets in nobody whom it has not signed, whatever the system trusts."""
        await self.refused(b"", Root("Other").issue(), "unable to get local issuer certificate", console=CONSOLE)

    async def test_no_authority(self) -> None:
        """A worker's own certificate signs no others, and a path length is kept to."""
        root = Root()
        for shape, why in (
            (x509.BasicConstraints(ca=False, path_length=None), "invalid CA certificate"),
            (x509.BasicConstraints(ca=True, path_length=None), "path length constraint exceeded"),
        ):
            between = Root("Between", shape, issuer=root)
            await self.refused(root.pem, between.issue(), why, certificates=[between.pem])

    async def test_name_constraints(self) -> None:
        """A root that may speak for some addresses only speaks for no others."""
        for network, why in (("10.0.0.0/8", "permitted subtree violation"), ("127.0.0.0/8", "")):
            permitted = [x509.IPAddress(ipaddress.ip_network(network))]
            basic = x509.BasicConstraints(ca=True, path_length=0)
            root = Root("Root", basic, x509.NameConstraints(permitted, None))
            if why:
                await self.refused(root.pem, root.issue(), why)
            else:
                self.assertEqual(await self.call(root.pem, root.issue()), b"hello")
