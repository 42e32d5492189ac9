"""
Whom Twisted's TLS takes for the server that was meant.

Twisted (26.10) lets a server in whose certificate it cannot compare with the name, such as one that holds no names at
all: it logs the error of `service_identity` and goes on. Any certificate of a trusted root would do then. Here only a
comparison that was made and was right lets in.
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from OpenSSL.crypto import X509
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure
from zope.interface import implementer


@implementer(IOpenSSLClientConnectionCreator)
class ServerIdentity:
    """Makes connections to a server of this name or address, under a Twisted trust root (None: the system's)."""

    def __init__(self, host: str, trust: Any = None) -> None:
        self._host = host
        self._options = optionsForClientTLS(host, trustRoot=trust)
        is_address = isIPAddress(host) or isIPv6Address(host)
        self._compare = verify_certificate_ip_address if is_address else verify_certificate_hostname

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """OpenSSL's connection for one of Twisted's."""
        connection = self._options.clientConnectionForTLS(tlsProtocol)

        def verify(_: SSL.Connection, certificate: X509, error: int, depth: int, good: int) -> bool:
            if good and depth == 0:
                try:
                    self._compare(certificate.to_cryptography(), self._host)
                except Exception:  # what is raised here would be lost, and the certificate pass
                    tlsProtocol.failVerification(Failure())
                    return False
            return bool(good)

        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, verify)
        return connection
