"""
Connecting to a TLS server at an IP address, by OpenSSL directly on the socket.

Here a connection is made when the handshake is done and the certificate is verified, all within the time to connect:
its protocol never meets a server that is not the one that was meant, and a bad certificate is told from a response that
does not come. Servers known by name stay Twisted's, as resolving names is.
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
        self._shaking = self._reading = True  # what is watched from the handshake on
        self._shake_hands()

    def _shake_hands(self) -> None:
        """Go on with the handshake."""
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
            self.startReading()  # also where the server answered within our first call, and nothing was watched
            self._open()

    def doRead(self) -> ConnectionDone | ConnectionLost | None:  # type: ignore[override]
        """Something came: of the handshake, or what was sent after it."""
        if self._shaking:
            self._shake_hands()
            return None
        why = super().doRead()
        rules = self._rules
        if rules is not None:
            # Under TLS 1.3 what one can come back with is what a server sends first.
            self._rules = None
            if why is None:
                rules.keep_session(self.tls.get_session())
        return why

    def doWrite(self) -> Any:
        """There is room."""
        if self._shaking:
            self._shake_hands()
            return None
        return super().doWrite()

    def cancel(self, _: object = None) -> None:
        """End an attempt, the handshake included."""
        self._shaking = False
        super().cancel()

    def connectionLost(self, reason: Failure) -> None:
        """The end."""
        super().connectionLost(reason)
        self._rules = None


class TLSConnectingEndpoint(ConnectingEndpoint):
    """
    The way to a TLS server at an IP address, whose certificate has to name that address and to lead to a root of
    `trust` (a Twisted trust root); nothing else is trusted. `seconds` bounds one attempt, the handshake included.

    `connect` fires with the protocol once the server is known to be the right one, or fails with a `ConnectError`:
    `BadCertificate`, `NoTLS`, `TimeoutError` or one of the kernel's. Sessions are resumed: the last one is kept.
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
        OpenSSL for a client, on a connected socket, or (None) on memory.

        An IP address is no server name that could be sent.
        """
        tls = SSL.Connection(self._context, sock)
        tls.set_connect_state()
        if self.session is not None:
            tls.set_session(self.session)
        return tls

    def verify(self, tls: SSL.Connection) -> None:
        """Whether the server, whose certificate leads to a root, is the one at the address. Raises BadCertificate."""
        try:
            certificate = tls.get_peer_certificate(as_cryptography=True)
            if certificate is not None and certificate != self._verified:
                names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
                # Only the addresses are looked at: one that is written as a name, too, is no harm and no help.
                if ip_address(self._host) not in names.get_values_for_type(IPAddress):
                    certificate = None
        except ExtensionNotFound:
            raise BadCertificate(f"{self.place}: it names no address") from None
        except Exception as error:  # reading one that is malformed fails in many ways, and a bug must not let it pass
            raise BadCertificate(f"{self.place}: it cannot be read: {error}") from None
        if certificate is None:
            raise BadCertificate(f"{self.place}: it is not for this address")
        self._verified = certificate

    def explain(self, error: SSL.Error, tls: SSL.Connection) -> ConnectError:
        """What went wrong in a handshake; the session that it may have been for is not tried again."""
        self.session = None
        if isinstance(error, SSL.SysCallError):
            why = "the server hung up" if hung_up(error) else f"the server is gone ({error.args[-1]})"
            return NoTLS(f"{self.place}: {why}")
        reasons = reasons_of(error)
        if _REFUSED in reasons:
            return BadCertificate(f"{self.place}: {why_refused(tls) or _REFUSED}")
        return NoTLS(f"{self.place}: {', '.join(reasons)}")

    def keep_session(self, session: SSL.Session | None) -> None:
        """What the next connection may resume."""
        self.session = session

    @property
    def place(self) -> str:
        """The address and port, for messages."""
        return f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"
