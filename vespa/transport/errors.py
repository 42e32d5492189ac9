"""The failures of connections, as types that callers can distinguish."""

from __future__ import annotations

import errno

from twisted.internet.error import ConnectError, ConnectionLost, ConnectionRefusedError


class TLSFailed(ConnectionLost):
    """The peer broke the rules of TLS, or has no version or cipher in common with us"""


class TLSTruncated(ConnectionLost):
    """The peer closed without close_notify: the received data may be incomplete"""


class _ConnectErrorWithText(ConnectError):
    def __init__(self, text: str) -> None:
        super().__init__(string=text)  # type: ignore[no-untyped-call]


class NoTLS(_ConnectErrorWithText):
    """The two ends cannot agree on TLS."""

    MESSAGE = "The two ends could not agree on TLS"


class BadCertificate(_ConnectErrorWithText):
    """The server's certificate is not for its address, has expired, or leads to no trusted root."""

    MESSAGE = "The server's certificate cannot be trusted"


class ForbiddenAddress(_ConnectErrorWithText):
    """A name resolves only to addresses that must not be used."""

    MESSAGE = "The name resolves to no address that may be used"


def nobody_listens(error: BaseException | None) -> bool:
    """Whether the server does not listen: the connection was refused, or the file of a unix socket is missing."""
    return isinstance(error, ConnectionRefusedError) or getattr(error, "osError", None) == errno.ENOENT
