"""Whom an https backend may be: the roots in a file of the user's, in place of the system's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from twisted.internet.ssl import Certificate, trustRootFromCertificates

_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def trust_roots(path: str) -> Any:
    """
    The roots in a PEM file, for Twisted; None for "", the system's. Raises OSError, or ValueError if there is none.
    """
    if not path:
        return None
    certificates = _CERTIFICATE.findall(Path(path).read_bytes())
    if not certificates:
        raise ValueError(f"{path} holds no certificate")
    return trustRootFromCertificates([Certificate.loadPEM(each) for each in certificates])
