"""Trust roots for https servers, from a file instead of the system."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from OpenSSL.crypto import Error as CertificateError
from twisted.internet.ssl import Certificate, trustRootFromCertificates

_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"
_END: Final = b"-----END CERTIFICATE-----"


def trust_roots(path: str) -> Any:
    """The roots in a PEM file, for Twisted; None (the system's) for "". Raises OSError, or ValueError without roots."""
    return roots_in(Path(path).read_bytes(), path) if path else None


def roots_in(pem: bytes, name: str) -> Any:
    """The roots in a PEM text, for Twisted. Raises ValueError, with `name` in its message, if there is none."""
    try:
        certificates = [Certificate.loadPEM(each) for each in _certificates(pem)]
    except (CertificateError, ValueError) as error:
        raise ValueError(f"{name} holds a malformed certificate") from error
    if not certificates:
        raise ValueError(f"{name} holds no certificate")
    return trustRootFromCertificates(certificates)


def _certificates(pem: bytes) -> Iterator[bytes]:
    """The text of each certificate, found in one pass, because a console's response may contain anything."""
    at = pem.find(_BEGIN)
    while at >= 0 and (end := pem.find(_END, at)) >= 0:
        end += len(_END)
        yield pem[at:end]
        at = pem.find(_BEGIN, end)
