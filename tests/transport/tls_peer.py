"""The other side of a TLS connection, by Python's own `ssl` over a plain Twisted connection, and certificates."""

from __future__ import annotations

import datetime
import os
import ssl
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet import reactor as _reactor
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

reactor: Any = _reactor


async def until(happened: Callable[..., object]) -> None:
    """Let the reactor turn until something has happened; trial's time limit is the limit."""
    while not happened():
        await deferLater(reactor, 0)


def write_certificate(
    directory: str, name: str = "localhost", extra_names: int = 0, address: str = "127.0.0.1"
) -> tuple[str, str]:
    """
    A self-signed certificate for a name and an address, and its key, as the paths of two files; extra names make it
    larger.
    """
    os.makedirs(directory, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name or address or "nobody")])
    day = datetime.timedelta(days=1)
    now = datetime.datetime(2026, 1, 1)
    names: list[x509.GeneralName] = [x509.DNSName(name)] if name else []
    names += [x509.DNSName(f"{n:05}.{'n' * 50}.example") for n in range(extra_names)]
    names += [x509.IPAddress(ip_address(address))] if address else []
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + 36500 * day)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
    certificate = builder.sign(key, hashes.SHA256())
    paths = os.path.join(directory, "certificate.pem"), os.path.join(directory, "key.pem")
    with open(paths[0], "wb") as file:
        file.write(certificate.public_bytes(serialization.Encoding.PEM))
    with open(paths[1], "wb") as file:
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    return paths


def client_context(certificate: str, *, alpn: tuple[str, ...] = (), tls12: bool = False) -> ssl.SSLContext:
    """Trusts one certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificate)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if tls12:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def peer_server_context(certificate: str, key: str, *, tls12: bool = False) -> ssl.SSLContext:
    """Shows a certificate, and knows its clients again."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if tls12:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


class Peer(Protocol):
    """
    The other end, which keeps what it receives: a client, or a server if its context is one.

    `ended` is None while the connection lasts, then "close_notify" for an end that the server announced, else "cut".
    """

    def __init__(
        self, context: ssl.SSLContext, *, session: ssl.SSLSession | None = None, trickle: bool = False
    ) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = context.protocol == ssl.PROTOCOL_TLS_SERVER
        name = None if server else "localhost"
        self.tls = context.wrap_bio(self._in, self._out, server, name, session)
        self.ready = False
        self.received = bytearray()
        self.notified = False
        self.ended: str | None = None
        self.reason: Failure | None = None
        self.error: ssl.SSLError | None = None
        self._trickle = trickle
        self._queue = bytearray()
        self._waiting: list[bytes] = []

    def connectionMade(self) -> None:
        self._turn()

    def dataReceived(self, data: bytes) -> None:
        self._in.write(data)
        self._turn()

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:  # noqa: B008
        self.reason = reason
        self._in.write_eof()
        self._turn()
        self.ended = "close_notify" if self.notified else "cut"

    def send(self, data: bytes) -> None:
        """Encrypt and send, after the handshake if need be."""
        self._waiting.append(data)
        self._turn()

    def close_notify(self) -> None:
        """Say that no more will come, and go on reading."""
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        self._flush()

    @property
    def transport_(self) -> Any:
        """The transport, whatever its type."""
        return self.transport

    def _turn(self) -> None:
        try:
            if not self.ready:
                self.tls.do_handshake()
                self.ready = True
            for data in self._waiting:
                self.tls.write(data)
            self._waiting.clear()
            while not self.notified:
                data = self.tls.read(65536)
                self.received += data
                self.notified = not data
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.notified = True
        except ssl.SSLError as error:
            self.error = error
        self._flush()

    def _flush(self) -> None:
        data = self._out.read()
        if not data or self.ended:
            return
        if not self._trickle:
            self.transport_.write(data)
            return
        self._queue += data
        if len(self._queue) == len(data):
            self._next()

    def _next(self) -> None:
        if self._queue and not self.reason:
            self.transport_.write(bytes(self._queue[:1]))
            del self._queue[:1]
            reactor.callLater(0, self._next)


@implementer(IHalfCloseableProtocol)
class HalfClosingPeer(Peer):
    """A client that goes on when the server's half of the socket has ended."""

    def readConnectionLost(self) -> None:
        """The server has no more to say."""

    def writeConnectionLost(self) -> None:
        """Never asked for."""
