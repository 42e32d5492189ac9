"""
Connecting to a TLS server at an IP address, by OpenSSL directly on the socket.

Here a connection is made when the handshake is done and the certificate is verified, all within the time to connect:
its protocol never meets a server that is not the one that was meant, and a bad certificate is told from a reply that
does not come. Servers known by name stay Twisted's, as resolving names is.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from typing import Any, Final

from cryptography.x509 import Certificate, ExtensionNotFound, IPAddress, SubjectAlternativeName
from OpenSSL import SSL
from twisted.internet.error import ConnectError, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.ssl import CertificateOptions
from twisted.python.failure import Failure

from vespa.transport.connect import ConnectedTransport, Connecting, ConnectingEndpoint
from vespa.transport.openssl import forget_errors, hung_up, reasons_of, why_refused
from vespa.transport.tls_transport import TLSTransport, let_alert_pass

_REFUSED: Final = "certificate verify failed"  # among OpenSSL's reasons


class _NotShaken(ConnectError):
    def __init__(self, text: str) -> None:
        super().__init__(string=text)  # type: ignore[no-untyped-call]


class NoTLS(_NotShaken):
    """The handshake failed."""

    MESSAGE = "TLS could not be agreed on"


class BadCertificate(_NotShaken):
    """The server's certificate is not that of the address, has run out, or leads to no root that is trusted."""

    MESSAGE = "The server's certificate is not to be trusted"


class TLSConnectedTransport(TLSTransport, ConnectedTransport):
    """The client's end of a TLS connection, open from the first."""

    def __init__(
        self,
        tls: SSL.Connection,
        keep_session: Callable[[SSL.Session | None], None],
        sock: socket.socket,
        protocol: Any,
        reactor: Any,
    ) -> None:
        self._keep_session: Callable[[SSL.Session | None], None] | None = keep_session
        self._use(tls)
        super().__init__(sock, protocol, reactor)

    def doRead(self) -> ConnectionDone | ConnectionLost | None:  # type: ignore[override]
        why = super().doRead()
        keep = self._keep_session
        if keep is not None:
            # Under TLS 1.3 what one can come back with is what a server sends first.
            self._keep_session = None
            if why is None:
                keep(self._tls.get_session())
        return why

    def connectionLost(self, reason: Failure) -> None:
        self._keep_session = None
        super().connectionLost(reason)


class _Handshake(Connecting):
    """A socket that is being connected, and then has its handshake."""

    def __init__(
        self, reactor: Any, sock: socket.socket, factory: IProtocolFactory, seconds: float, way: TLSConnectingEndpoint
    ) -> None:
        super().__init__(reactor, sock, factory, seconds)
        self._way = way
        self._tls: SSL.Connection | None = None

    def connected_to(self, sock: socket.socket) -> None:
        self._set_limit()
        self._tls = self._way.begin(sock)
        self.doRead()

    def doRead(self) -> None:
        """Go on shaking hands."""
        tls, sock = self._tls, self._socket
        if tls is None or sock is None:
            return
        try:
            tls.do_handshake()
            self._way.verify(tls)
        except SSL.WantReadError:
            self.reactor.removeWriter(self)
            self.reactor.addReader(self)
        except SSL.WantWriteError:
            self.reactor.removeReader(self)
            self.reactor.addWriter(self)
        except (SSL.Error, ConnectError) as error:
            forget_errors()
            let_alert_pass(sock)
            self.give_up(error if isinstance(error, ConnectError) else self._way.explain(error, tls))
        else:
            self._leave_reactor()
            self.hand_over(partial(TLSConnectedTransport, tls, self._way.keep_session, sock))

    def doWrite(self) -> None:
        super().doWrite() if self._tls is None else self.doRead()

    def _leave_reactor(self) -> None:
        self.reactor.removeReader(self)
        self.reactor.removeWriter(self)

    def _end(self) -> None:
        if self._socket is not None:
            self._leave_reactor()
        super()._end()
        self._tls = None


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
        self._session: SSL.Session | None = None
        self._verified: Certificate | None = None

    def _connecting(self, sock: socket.socket, factory: IProtocolFactory) -> Connecting:
        return _Handshake(self._reactor, sock, factory, self._seconds, self)

    def begin(self, sock: socket.socket | None) -> SSL.Connection:
        """
        OpenSSL for a client, on a connected socket, or (None) on memory.

        An IP address is no server name that could be sent.
        """
        tls = SSL.Connection(self._context, sock)
        tls.set_connect_state()
        if self._session is not None:
            tls.set_session(self._session)
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
        self._session = None
        if isinstance(error, SSL.SysCallError):
            why = "the server hung up" if hung_up(error) else f"the server is gone ({error.args[-1]})"
            return NoTLS(f"{self.place}: {why}")
        reasons = reasons_of(error)
        if _REFUSED in reasons:
            return BadCertificate(f"{self.place}: {why_refused(tls) or _REFUSED}")
        return NoTLS(f"{self.place}: {', '.join(reasons)}")

    def keep_session(self, session: SSL.Session | None) -> None:
        """What the next connection may resume."""
        self._session = session

    @property
    def place(self) -> str:
        """The address and port, for messages."""
        return f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"
