"""Endpoints from strings, and a certificate that is replaced while the port is open."""

from __future__ import annotations

import os
import ssl
from typing import Any

from cryptography.hazmat.primitives import serialization
from twisted.internet import endpoints
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from tests.logs import observe_log
from tests.transport.tls_peer import Peer, client_context, reactor, until, write_certificate
from vespa.transport.certificates import Certificate, CertificateError, server_context
from vespa.transport.listen import BACKLOG, TLSEndpoint, parse


class Parse(SynchronousTestCase):
    """The endpoints that descriptions give."""

    def setUp(self) -> None:
        self.certificate, self.key = write_certificate(self.mktemp())

    def ssl(self, rest: str) -> Any:
        return parse(reactor, f"ssl:{rest}privateKey={self.key}:certKey={self.certificate}")

    def test_ssl(self) -> None:
        """`ssl:` gives our endpoint, its arguments where Twisted has them."""
        endpoint = self.ssl("port=443:interface=127.0.0.1:backlog=7:")
        verifyObject(IStreamServerEndpoint, endpoint)
        self.assertIsInstance(endpoint, TLSEndpoint)
        self.assertEqual((endpoint.port, endpoint.interface, endpoint.backlog), (443, "127.0.0.1", 7))
        self.assertIsInstance(endpoint.context_source, Certificate)

    def test_defaults(self) -> None:
        """All but the port and the key may be left out; one file may hold certificate and key."""
        both = self.mktemp()
        with open(both, "wb") as file:
            for path in self.certificate, self.key:
                with open(path, "rb") as part:
                    file.write(part.read())
        endpoint: Any = parse(reactor, f"ssl:8443:{both}")
        self.assertEqual((endpoint.port, endpoint.interface, endpoint.backlog), (8443, "", BACKLOG))

    def test_ipv6(self) -> None:
        """The interface may be an IPv6 address."""
        self.assertEqual(self.ssl(r"443:interface=\:\::").interface, "::")

    def test_bad_port(self) -> None:
        """A port that is no number is a ValueError which shows it."""
        self.assertIn("https", str(self.assertRaises(ValueError, self.ssl, "https:")))
        self.assertRaises(ValueError, self.ssl, "")

    def test_others(self) -> None:
        """Every other description is Twisted's, with our backlog unless it names its own."""
        for description, backlog in (
            ("tcp:8080", BACKLOG),
            ("tcp:8080:interface=127.0.0.1", BACKLOG),
            ("tcp:8080:backlog=5", 5),
            ("tcp6:8080", BACKLOG),
            ("unix:/run/x", BACKLOG),
        ):
            endpoint: Any = parse(reactor, description)
            self.assertEqual(endpoint.backlog, backlog, description)
        self.assertRaises(ValueError, parse, reactor, "nonsense:1")

    def test_twisteds_own_tls(self) -> None:
        """Arguments that we do not know, and a reactor that is not on descriptors, give Twisted's own TLS."""
        for other, extra in (reactor, "sslmethod=TLS_METHOD:"), (MemoryReactor(), ""):
            description = f"ssl:443:{extra}privateKey={self.key}:certKey={self.certificate}"
            self.assertIsInstance(parse(other, description), endpoints.SSL4ServerEndpoint)

    def test_missing_certificate(self) -> None:
        """A file that is not there is named at once."""
        error = self.assertRaises(CertificateError, parse, reactor, "ssl:443:privateKey=/no/such.pem")
        self.assertIn("/no/such.pem cannot be read: No such file", str(error))


class Load(SynchronousTestCase):
    """The error says what is wrong with a certificate."""

    def setUp(self) -> None:
        self.certificate, self.key = write_certificate(self.mktemp())

    def wrong(self, certificate: str, key: str) -> str:
        return str(self.assertRaises(CertificateError, server_context, certificate, key))

    def file(self, content: bytes) -> str:
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(content)
        return path

    def test_mismatch(self) -> None:
        """The key of another certificate is recognised as such."""
        _, other = write_certificate(self.mktemp())
        said = self.wrong(self.certificate, other)
        self.assertEqual(said, f"the private key {other} does not belong to {self.certificate}")

    def test_not_there(self) -> None:
        """A missing file is named, whichever it is."""
        self.assertIn("the private key gone cannot be read", self.wrong(self.certificate, "gone"))
        self.assertIn("the certificate gone cannot be read", self.wrong("gone", self.key))

    def test_not_pem(self) -> None:
        """A file that is something else is named, whichever it is; an error page stored as certificate is one."""
        page = self.file(b"<html>404</html>")
        self.assertIn(f"{page} holds no certificate", self.wrong(page, self.key))
        self.assertIn(f"{page} holds no private key", self.wrong(self.certificate, page))

    def test_passphrase(self) -> None:
        """A key with a passphrase is refused, without a prompt for the passphrase."""
        with open(self.key, "rb") as file:
            key = serialization.load_pem_private_key(file.read(), None)
        secret = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.BestAvailableEncryption(b"secret"),
        )
        self.assertIn("has a passphrase", self.wrong(self.certificate, self.file(secret)))

    def test_next_load_is_clean(self) -> None:
        """A load that failed does not make the next one fail."""
        self.wrong(self.certificate, self.file(b"nonsense"))
        server_context(self.certificate, self.key)


class Reload(SynchronousTestCase):
    """A certificate's files change under it."""

    def setUp(self) -> None:
        self.folder = self.mktemp()
        self.certificate = Certificate(*write_certificate(self.folder))
        self.logged: list[str] = []

        def observe(event: Any) -> None:
            if event["log_namespace"].startswith("vespa.transport"):
                self.logged.append(event["log_level"].name)

        observe_log(self, observe)

    def test_unchanged(self) -> None:
        """Files that have not changed are not loaded again."""
        before = self.certificate.current
        self.assertFalse(self.certificate.reload())
        self.assertIs(self.certificate.current, before)

    def test_changed(self) -> None:
        """Files that have changed give a new context, once."""
        before = self.certificate.current
        write_certificate(self.folder, "other")
        self.assertTrue(self.certificate.reload())
        self.assertIsNot(self.certificate.current, before)
        self.assertFalse(self.certificate.reload())
        self.assertEqual(self.logged, ["info"])

    def test_half_changed(self) -> None:
        """While only one of the two files is new the old context stays; with the second the new one comes."""
        before = self.certificate.current
        elsewhere = self.mktemp()
        certificate, key = write_certificate(elsewhere, "other")
        os.replace(certificate, os.path.join(self.folder, "certificate.pem"))
        self.assertFalse(self.certificate.reload())
        self.assertFalse(self.certificate.reload())
        self.assertIs(self.certificate.current, before)
        self.assertEqual(self.logged, ["error"])
        os.replace(key, os.path.join(self.folder, "key.pem"))
        self.assertTrue(self.certificate.reload())

    def test_gone(self) -> None:
        """A file that has gone leaves the old context, and is found again when it is back."""
        path = os.path.join(self.folder, "key.pem")
        os.rename(path, path + ".old")
        self.assertFalse(self.certificate.reload())
        os.rename(path + ".old", path)
        self.assertTrue(self.certificate.reload())


class Listen(TestCase):
    """A port in use."""

    timeout = 60

    async def listen(self, description: str) -> tuple[Any, Any]:
        factory = Factory.forProtocol(Protocol)
        factory.noisy = False
        endpoint: Any = parse(reactor, description)
        port = await endpoint.listen(factory)
        self.addCleanup(port.stopListening)
        return endpoint, port

    async def name_shown(self, port: Any, trusted: str) -> str | None:
        """The name on the certificate that a new connection is shown, None if it is not the trusted one."""
        context = client_context(trusted)
        context.check_hostname = False
        peer = Peer(context)
        await endpoints.connectProtocol(endpoints.TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port), peer)
        await until(lambda: peer.ready or peer.error)
        certificate = None if peer.error else peer.tls.getpeercert()
        peer.transport_.abortConnection()
        await until(lambda: peer.ended)
        subject: Any = certificate and certificate["subject"]
        return subject and dict(pair for (pair,) in subject)["commonName"]

    async def test_reload(self) -> None:
        """New connections are shown the new certificate, the port stays open and old connections go on."""
        folder = self.mktemp()
        certificate, key = write_certificate(folder, "localhost")
        endpoint, port = await self.listen(f"ssl:0:{key}:{certificate}:interface=127.0.0.1")
        old = Peer(client_context(certificate))
        await endpoints.connectProtocol(endpoints.TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port), old)
        await until(lambda: old.ready)
        self.assertEqual(await self.name_shown(port, certificate), "localhost")
        write_certificate(folder, "renewed")
        self.assertTrue(endpoint.context_source.reload())
        self.assertEqual(await self.name_shown(port, certificate), "renewed")
        self.assertIsNone(old.ended)
        old.close_notify()
        old.transport_.loseConnection()
        await until(lambda: old.ended)

    async def test_ipv6(self) -> None:
        """An IPv6 address is listened on."""
        certificate, key = write_certificate(self.mktemp())
        _, port = await self.listen(rf"ssl:0:{key}:{certificate}:interface=\:\:1")
        self.assertEqual(port.getHost().host, "::1")

    async def test_taken(self) -> None:
        """A port that is taken fails the endpoint."""
        certificate, key = write_certificate(self.mktemp())
        _, port = await self.listen(f"ssl:0:{key}:{certificate}:interface=127.0.0.1")
        again = parse(reactor, f"ssl:{port.getHost().port}:{key}:{certificate}:interface=127.0.0.1")
        failed = again.listen(Factory.forProtocol(Protocol))
        await self.assertFailure(failed, CannotListenError)

    async def test_chain(self) -> None:
        """All certificates of the file are sent: a client that trusts only the last is satisfied by the chain."""
        certificate, key = write_certificate(self.mktemp())
        other, _ = write_certificate(self.mktemp(), "root")
        with open(certificate, "ab") as chain, open(other, "rb") as more:
            chain.write(more.read())
        _, port = await self.listen(f"ssl:0:{key}:{certificate}:interface=127.0.0.1")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        peer = Peer(context)
        await endpoints.connectProtocol(endpoints.TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port), peer)
        await until(lambda: peer.ready)
        shown: Any = peer.tls
        self.assertEqual(len(shown._sslobj.get_unverified_chain()), 2)
        peer.transport_.abortConnection()
        await until(lambda: peer.ended)
