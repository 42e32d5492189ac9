"""Whom an https server may be: roots of the user's or of ours, in place of the system's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from OpenSSL.crypto import Error as CertificateError
from twisted.internet.ssl import Certificate, trustRootFromCertificates

_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def trust_roots(path: str) -> Any:
    """
    The roots in a PEM file, for Twisted; None for "", the system's. Raises OSError, or ValueError if there is none.
    """
    return roots_in(Path(path).read_bytes(), path) if path else None


def roots_in(pem: bytes, name: str) -> Any:
    """The roots in a PEM text, for Twisted. Raises ValueError, which calls it `name`, if there is none."""
    try:
        certificates = [Certificate.loadPEM(each) for each in _CERTIFICATE.findall(pem)]
    except (CertificateError, ValueError) as error:
        raise ValueError(f"{name} holds a certificate that cannot be read") from error
    if not certificates:
        raise ValueError(f"{name} holds no certificate")
    return trustRootFromCertificates(certificates)
