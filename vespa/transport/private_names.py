"""
Every private name of Twisted, pyOpenSSL and Python that Vespa uses, and the version with which it was checked.

Only this package uses them. If a name of `FAST` is missing, Vespa uses Twisted's own transports
(`choice`). The code that uses a name of `OTHERS` also works without it.
"""

from __future__ import annotations

import select
from collections.abc import Iterable
from importlib import import_module
from types import FunctionType
from typing import Any, Final

_TWISTED: Final = "26.10.0"
_OPENSSL: Final = "26.4.0"
_PYTHON: Final = "3.10.0"

TRANSPORTS: Final[dict[str, str]] = {
    # Data written in this turn and not yet joined to dataBuffer: to know whether a write may overtake it.
    "twisted.internet.abstract.FileDescriptor._tempDataBuffer": _TWISTED,
    "twisted.internet.abstract.FileDescriptor._tempDataLen": _TWISTED,
    # Whether doRead is the one that abortConnection has set.
    "twisted.internet.tcp.Connection._aborting": _TWISTED,
    # Overridden to send close_notify before the end of the connection, and before the end of writing.
    "twisted.internet.abstract.FileDescriptor._postLoseConnection": _TWISTED,
    "twisted.internet.tcp.Connection._closeWriteConnection": _TWISTED,
    "twisted.internet.abstract.FileDescriptor._writeDisconnecting": _TWISTED,
    "twisted.internet.abstract.FileDescriptor._writeDisconnected": _TWISTED,
    # To accept a connection without Python's look-up of its enumerations.
    "socket.socket._accept": _PYTHON,
}

REACTOR: Final[dict[str, str]] = {
    # The timed calls, to process them only if one is due or new.
    "twisted.internet.base.ReactorBase._newTimedCalls": _TWISTED,
    "twisted.internet.base.ReactorBase._pendingTimedCalls": _TWISTED,
    "twisted.internet.base.ReactorBase._justStopped": _TWISTED,
    "twisted.internet.base.ReactorBase._started": _TWISTED,
    # To wait for events and dispatch them.
    "twisted.internet.epollreactor.EPollReactor._poller": _TWISTED,
    "twisted.internet.epollreactor.EPollReactor._selectables": _TWISTED,
    "twisted.internet.epollreactor.EPollReactor._doReadOrWrite": _TWISTED,
    "twisted.internet.epollreactor.EPollReactor._disconnectSelectable": _TWISTED,
}

OPENSSL: Final[dict[str, str]] = {
    # OpenSSL's own read and write, without pyOpenSSL's layers.
    "OpenSSL.SSL.Connection._ssl": _OPENSSL,
    "OpenSSL.SSL.Connection._raise_ssl_error": _OPENSSL,
    "OpenSSL.SSL._lib.SSL_read": _OPENSSL,
    "OpenSSL.SSL._lib.SSL_write": _OPENSSL,
    "OpenSSL.SSL._ffi.from_buffer": _OPENSSL,
    # The thread's queue of errors, and the reason for refusing a certificate.
    "OpenSSL.SSL._lib.ERR_clear_error": _OPENSSL,
    "OpenSSL.SSL._lib.SSL_get_verify_result": _OPENSSL,
    "OpenSSL.SSL._lib.X509_verify_cert_error_string": _OPENSSL,
}

FAST: Final[dict[str, str]] = TRANSPORTS | (REACTOR if hasattr(select, "epoll") else {}) | OPENSSL

OTHERS: Final[dict[str, str]] = {
    # A second reactor, which no public method closes.
    "twisted.internet.base.ReactorBase._registerAsIOThread": _TWISTED,
    "twisted.internet.base.ReactorBase._startedBefore": _TWISTED,
    "twisted.internet.posixbase.PosixReactorBase._internalReaders": _TWISTED,
    "twisted.internet.posixbase.PosixReactorBase._removeInternalReader": _TWISTED,
    "twisted.python.threadpool.ThreadPool._team": _TWISTED,
    # The return type of an ALPN callback, for the type checker only.
    "OpenSSL.SSL._NoOverlappingProtocols": _OPENSSL,
}


def missing(names: Iterable[str] = FAST) -> str:
    """The first of these names that is not installed; "" if all are."""
    return next((name for name in names if not is_there(name)), "")


def is_there(name: str) -> bool:
    """
    Whether a class, a module or an object has this name.

    An attribute that only instances have counts if a method of the class uses it.
    """
    parts = name.split(".")
    found: Any = None
    for count in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:count]))
        except ImportError:
            continue
        break
    else:
        return False
    for part in parts[count:]:
        if not hasattr(found, part):
            return isinstance(found, type) and part == parts[-1] and _speaks_of(found, part)
        found = getattr(found, part)
    return True


def _speaks_of(owner: type, name: str) -> bool:
    return any(
        isinstance(method, FunctionType) and name in method.__code__.co_names
        for base in owner.__mro__
        for method in vars(base).values()
    )
