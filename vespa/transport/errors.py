"""How connections fail, for those who tell the failures apart."""

from __future__ import annotations

from twisted.internet.error import ConnectError, ConnectionLost


class TLSFailed(ConnectionLost):
    """The peer broke the rules of TLS, or shares no version or cipher with us"""


class TLSTruncated(ConnectionLost):
    """The peer closed without close_notify: what came may not be all"""


class _ConnectErrorWithText(ConnectError):
    def __init__(self, text: str) -> None:
        super().__init__(string=text)  # type: ignore[no-untyped-call]


class NoTLS(_ConnectErrorWithText):
    """The two ends do not agree on TLS."""

    MESSAGE = "TLS could not be agreed on"


class BadCertificate(_ConnectErrorWithText):
    """The server's certificate is not that of the address, has run out, or leads to no root that is trusted."""

    MESSAGE = "The server's certificate is not to be trusted"


class ForbiddenAddress(_ConnectErrorWithText):
    """A name leads only to addresses that are not to be connected to."""

    MESSAGE = "The name leads to no address that may be connected to"
