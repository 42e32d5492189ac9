"""
OpenSSL's read and write on a connection, without the layers that `SSL.Connection` puts before them.

pyOpenSSL's `send` and `recv` also ask OpenSSL for an error after every success, and `recv` takes a new buffer each
time. Direct calls save 1.3 us of 3.7 on each. They need private names of pyOpenSSL. If one is missing,
`calls` returns the public methods, which behave the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from OpenSSL import SSL

RECORD_BYTES = 16384  # the most that one TLS record carries: a read of this size leaves nothing inside OpenSSL

_SSL: Any = SSL  # for names that pyOpenSSL does not export

Send = Callable[["bytes | memoryview"], int]
Receive = Callable[[], bytes]


def calls(connection: SSL.Connection) -> tuple[Send, Receive]:
    """
    The connection's `send(data)`, which returns the number of bytes taken, and `receive()`, which reads at most one
    record.

    Both raise what `SSL.Connection.send` and `recv` raise. `data` must not be empty. Call them from one thread only.
    """
    try:
        return _straight(connection)
    except AttributeError:
        return connection.send, partial(connection.recv, RECORD_BYTES)


def _straight(connection: SSL.Connection) -> tuple[Send, Receive]:
    ssl, explain = connection._ssl, connection._raise_ssl_error
    write, read, view = _SSL._lib.SSL_write, _SSL._lib.SSL_read, _SSL._ffi.from_buffer
    buffer, content = _buffer()

    def send(data: bytes | memoryview) -> int:
        count: int = write(ssl, data if type(data) is bytes else view(data), len(data))
        if count > 0:
            return count
        explain(ssl, count)
        raise SSL.Error  # not reached: OpenSSL has a reason

    def receive() -> bytes:
        count: int = read(ssl, buffer, RECORD_BYTES)
        if count > 0:
            data: bytes = content[:count]
            return data
        explain(ssl, count)
        raise SSL.Error

    return send, receive


_of_thread = threading.local()  # other threads may run while a call fills the buffer


def _buffer() -> tuple[Any, Any]:
    try:
        pair: tuple[Any, Any] = _of_thread.buffer
    except AttributeError:
        memory = _SSL._ffi.new("char[]", RECORD_BYTES)
        pair = _of_thread.buffer = (memory, _SSL._ffi.buffer(memory))
    return pair


def forget_errors() -> None:
    """
    Empty OpenSSL's queue of errors. Call it after each error that ends a connection.

    The queue belongs to the thread, not to the connection. A failed write leaves an entry in it. OpenSSL would report
    that entry when the next connection merely has nothing to read.
    """
    clear = getattr(getattr(_SSL, "_lib", None), "ERR_clear_error", None)
    if clear is not None:
        clear()


def reasons_of(error: SSL.Error) -> list[str]:
    """OpenSSL's reasons for an error, as texts."""
    return [str(entry[-1]) for entry in (error.args[0] if error.args else ())]


def hung_up(error: SSL.SysCallError) -> bool:
    """Whether the peer had closed its socket, without an error of the system."""
    return bool(error.args) and error.args[0] == -1


def why_refused(connection: SSL.Connection) -> str:
    """OpenSSL's reason for refusing the peer's certificate; "" if unknown."""
    try:
        code = _SSL._lib.SSL_get_verify_result(connection._ssl)
        words: bytes = _SSL._ffi.string(_SSL._lib.X509_verify_cert_error_string(code))
    except AttributeError:
        return ""
    return words.decode("ascii", "replace") if code else ""
