"""
Verifies the identity of a server for Twisted's TLS.

Twisted (26.10) accepts a server if the comparison of its certificate with the name fails with an error, for example
because the certificate holds no names: it logs the error of `service_identity` and continues. Any certificate of a
trusted root would pass. Here only a comparison that succeeds lets a server pass.
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
                except Exception:  # OpenSSL ignores an exception, and the certificate would pass
                    tlsProtocol.failVerification(Failure())
                    return False
            return bool(good)

        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, verify)
        return connection
