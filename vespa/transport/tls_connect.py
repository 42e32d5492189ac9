"""
Connects to a TLS server at an IP address, with OpenSSL directly on the socket.

A connection counts as made when the handshake is done and the certificate is verified, within the time limit for
connecting. So a protocol never meets a wrong server, and a bad certificate differs from a missing response.
Servers known by name stay with Twisted, like the resolution of names.
"""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Any, Final

from cryptography.x509 import Certificate, ExtensionNotFound, IPAddress, SubjectAlternativeName
from OpenSSL import SSL
from twisted.internet.error import ConnectError, ConnectionDone, ConnectionLost
from twisted.internet.ssl import CertificateOptions
from twisted.python.failure import Failure

from vespa.transport.connect import Connecting, ConnectingEndpoint
from vespa.transport.errors import BadCertificate, NoTLS
from vespa.transport.openssl import forget_errors, hung_up, reasons_of, why_refused
from vespa.transport.tls_readiness import OPEN, Phase
from vespa.transport.tls_transport import TLSTransport, let_alert_pass

_REFUSED: Final = "certificate verify failed"  # among OpenSSL's reasons


class TLSClientTransport(Connecting, TLSTransport):
    """The client's end of a TLS connection: the attempt to connect, the handshake, then the connection."""

    _rules: TLSConnectingEndpoint | None
    _shaking = False

    def __init__(self, family: int, reactor: Any, rules: TLSConnectingEndpoint) -> None:
        super().__init__(family, reactor)
        self._rules = rules  # until there is a session to keep

    def _connected(self) -> None:
        assert self._rules is not None
        self._limit()
        self._use(self._rules.begin(self.socket))
        self._shaking = self._reading = True  # reads from the handshake on
        self._shake_hands()

    def _shake_hands(self) -> None:
        """Continue the handshake."""
        rules = self._rules
        assert rules is not None
        try:
            self.tls.do_handshake()
            rules.verify(self.tls)
        except SSL.WantReadError:
            self._enter(Phase.HANDSHAKE)
        except SSL.WantWriteError:
            self._enter(Phase.HANDSHAKE_BLOCKED)
        except (SSL.Error, ConnectError) as error:
            forget_errors()
            let_alert_pass(self.socket)
            self._give_up(error if isinstance(error, ConnectError) else rules.explain(error, self.tls))
        else:
            self._shaking = False
            self._enter(OPEN)
            self.startReading()  # needed if the server answered within our first call
            self._open()

    def doRead(self) -> ConnectionDone | ConnectionLost | None:  # type: ignore[override]
        """Bytes came: of the handshake, or after it."""
        if self._shaking:
            self._shake_hands()
            return None
        why = super().doRead()
        rules = self._rules
        if rules is not None:
            # Under TLS 1.3 a server sends the session ticket first.
            self._rules = None
            if why is None:
                rules.keep_session(self.tls.get_session())
        return why

    def doWrite(self) -> Any:
        """The socket has room."""
        if self._shaking:
            self._shake_hands()
            return None
        return super().doWrite()

    def cancel(self, _: object = None) -> None:
        """End an attempt, including its handshake."""
        self._shaking = False
        super().cancel()

    def connectionLost(self, reason: Failure) -> None:
        """The connection has ended."""
        super().connectionLost(reason)
        self._rules = None


class TLSConnectingEndpoint(ConnectingEndpoint):
    """
    Connects to a TLS server at an IP address. Its certificate must name that address and lead to a root of `trust` (a
    Twisted trust root). No other root is trusted. `seconds` limits one attempt, including the handshake.

    `connect` fires with the protocol after the server is verified, or fails with a `ConnectError`:
    `BadCertificate`, `NoTLS`, `TimeoutError` or one of the kernel's. It keeps the last session and resumes it.
    """

    def __init__(self, reactor: Any, family: int, address: tuple[str, int], seconds: float, trust: Any) -> None:
        super().__init__(reactor, family, address, seconds)
        self._host, self._port = address
        self._context = CertificateOptions(trustRoot=trust).getContext()
        self.session: SSL.Session | None = None
        self._verified: Certificate | None = None

    def _transport(self) -> Connecting:
        return TLSClientTransport(self._family, self._reactor, self)

    def begin(self, sock: socket.socket | None) -> SSL.Connection:
        """
        A client's OpenSSL connection on a connected socket, or (None) on memory.

        It sends no server name, because an IP address is not one.
        """
        tls = SSL.Connection(self._context, sock)
        tls.set_connect_state()
        if self.session is not None:
            tls.set_session(self.session)
        return tls

    def verify(self, tls: SSL.Connection) -> None:
        """Check that the server's certificate, which leads to a root, names this address. Raises BadCertificate."""
        try:
            certificate = tls.get_peer_certificate(as_cryptography=True)
            if certificate is not None and certificate != self._verified:
                names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
                # Only IP address entries count. An address written as a DNS name has no effect.
                if ip_address(self._host) not in names.get_values_for_type(IPAddress):
                    certificate = None
        except ExtensionNotFound:
            raise BadCertificate(f"{self.place}: it names no address") from None
        except Exception as error:  # parsing a malformed certificate fails in many ways, and none may let it pass
            raise BadCertificate(f"{self.place}: it cannot be read: {error}") from None
        if certificate is None:
            raise BadCertificate(f"{self.place}: it is not for this address")
        self._verified = certificate

    def explain(self, error: SSL.Error, tls: SSL.Connection) -> ConnectError:
        """The error for a failed handshake. Drops the session, which may be the cause."""
        self.session = None
        if isinstance(error, SSL.SysCallError):
            why = "the server closed the connection" if hung_up(error) else f"the connection is lost ({error.args[-1]})"
            return NoTLS(f"{self.place}: {why}")
        reasons = reasons_of(error)
        if _REFUSED in reasons:
            return BadCertificate(f"{self.place}: {why_refused(tls) or _REFUSED}")
        return NoTLS(f"{self.place}: {', '.join(reasons)}")

    def keep_session(self, session: SSL.Session | None) -> None:
        """Keep a session for the next connection to resume."""
        self.session = session

    @property
    def place(self) -> str:
        """The address and port, for messages."""
        return f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"
