"""
TLS with OpenSSL directly on a connection's socket, for clients and servers.

Twisted's TLS runs OpenSSL on memory and moves each byte through a second transport with a second buffer and a second
set of producers. Here the transport is `tcp.Connection` itself, and OpenSSL reads and writes the
socket. So the buffer, the producers, `loseConnection` and `abortConnection` are Twisted's own. This module adds
the rest: OpenSSL may have to write in order to read and the reverse, it keeps a record that it could not send, and TLS
has an end of its own (close_notify). `tls_server` and `tls_connect` hold the handshakes.

`loseConnection` sends close_notify. `abortConnection` resets without it, so that a truncated response does not look
complete. The peer's close_notify ends reading, like the empty read of a plain socket. An end without
it is ConnectionLost: TLSTruncated if the peer closed, ConnectionLost itself after a reset.
"""

from __future__ import annotations

import socket
from typing import Any

from OpenSSL import SSL
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import INegotiated, ISSLTransport
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.python.failure import Failure
from zope.interface import implementer

from vespa.transport.errors import TLSFailed, TLSTruncated
from vespa.transport.openssl import RECORD_BYTES, calls, forget_errors, hung_up, reasons_of
from vespa.transport.socket_transport import Received
from vespa.transport.tls_readiness import OPEN, Phase, TLSReadiness

BURST_RECORDS = 4  # the number of records that one event may deliver before other connections get their turn


@implementer(ISSLTransport, INegotiated)
class TLSTransport(TLSReadiness):
    """One end of a TLS connection, as a Twisted transport."""

    TLS = True
    negotiatedProtocol: bytes | None = None

    _data_received: Any = None  # called instead of the protocol's dataReceived
    _sent_close_notify = False
    _failure: ConnectionLost = CONNECTION_LOST

    def _use(self, tls: SSL.Connection) -> None:
        """Use this connection of OpenSSL's. Must be called first."""
        self.tls = tls
        self.tls_write, self.tls_read = calls(tls)

    def getHandle(self) -> SSL.Connection:  # type: ignore[override]
        """OpenSSL's connection: for queries, not for reading or writing."""
        return self.tls

    def getPeerCertificate(self) -> Any:
        """The peer's certificate, None if it sent none."""
        return self.tls.get_peer_certificate()

    # -- reading

    def read_to(self, data_received: Received) -> None:
        self._data_received = data_received

    def read_to_protocol(self) -> None:
        self._data_received = None

    def doRead(self) -> ConnectionDone | ConnectionLost | None:  # type: ignore[override]
        """Deliver arrived data: a few records at most, and none after the protocol has paused."""
        if self.phase is not OPEN:
            why = self._unblock()
            if why is not None or self.phase is not OPEN or not self._reading:
                return why
        for _ in range(BURST_RECORDS):
            try:
                data = self.tls_read()
            except SSL.WantReadError:
                return None
            except SSL.WantWriteError:
                self._enter(Phase.READ_BLOCKED)
                return None
            except SSL.ZeroReturnError:
                self._reading = False
                return CONNECTION_DONE
            except SSL.Error as error:
                return self._fail(error)
            (self._data_received or self.protocol.dataReceived)(data)
            if len(data) < RECORD_BYTES or not self._reading:
                break
        return None

    def _unblock(self) -> ConnectionLost | None:
        match self.phase:
            case Phase.READ_BLOCKED | Phase.WRITE_BLOCKED:
                self._enter(OPEN)  # then the blocked call is tried again
            case Phase.FAILED:
                return self._failure
        return None

    def _fail(self, error: SSL.Error) -> ConnectionLost:
        forget_errors()
        if isinstance(error, SSL.SysCallError):
            if hung_up(error):
                self._failure = TLSTruncated()
        else:
            reasons = reasons_of(error)
            self._failure = TLSFailed(", ".join(reasons))
            self._answer_plain(reasons)
            let_alert_pass(self.socket)
        self._enter(Phase.FAILED)
        return self._failure

    def _answer_plain(self, reasons: list[str]) -> None:
        """Answer a peer that does not speak valid TLS."""

    # -- writing

    def write_now(self, data: bytes | memoryview) -> None:
        """
        Like `write`, but sends at once as much as the socket takes.

        OpenSSL keeps a record that it could not send, and expects the same bytes first at the next attempt. They go to
        the front of Twisted's buffer, which is empty whenever this method sends.
        """
        if (
            self._tempDataLen
            or self.dataBuffer
            or self.phase is not OPEN
            or self.disconnecting
            or self._writeDisconnecting
            or not self.connected
            or (self.producer is not None and not self.streamingProducer)  # a pull producer, which the reactor drives
        ):
            self.write(bytes(data))  # bytes(data) returns the same object if data is bytes
            return
        sent = self._send_some(data)
        if sent < len(data) and self.phase is not Phase.FAILED:
            self.write(bytes(memoryview(data)[sent:]) if sent else bytes(data))

    def _send_some(self, data: bytes | memoryview) -> int:
        size, sent = len(data), 0
        try:
            if 0 < size <= RECORD_BYTES:
                return self.tls_write(data)
            view = memoryview(data)[: self.SEND_LIMIT]
            while sent < len(view):
                sent += self.tls_write(view[sent : sent + RECORD_BYTES])
        except SSL.WantWriteError:
            pass
        except SSL.WantReadError:
            self._enter(Phase.WRITE_BLOCKED)
        except SSL.Error as error:
            self._fail(error)
        return sent

    def writeSomeData(self, data: bytes) -> int | ConnectionLost:
        """Send as much of Twisted's buffer as the socket takes, at most SEND_LIMIT bytes. Returns the number sent."""
        sent = self._send_some(data)
        return self._failure if self.phase is Phase.FAILED else sent

    def doWrite(self) -> Any:
        """Continue with the data that waited for room in the socket."""
        if self.phase is not OPEN and self.phase is not Phase.HANDSHAKE:
            blocked = self.phase is Phase.READ_BLOCKED and self._reading
            why: Any = self._unblock()
            if blocked:
                why = self.doRead()
                if why is CONNECTION_DONE:
                    # The reactor recognises the end of one half only after doRead, so handle it here.
                    self.stopReading()
                    self.readConnectionLost(Failure(why))
                    why = None
            if why is not None or self.phase is not OPEN or not self._writing:
                return why
        return super().doWrite()  # type: ignore[no-untyped-call]

    # -- ending

    def _send_close_notify(self) -> bool:
        """Send close_notify, once. Returns False if there is no room for it yet."""
        if self.phase is OPEN and not self._sent_close_notify:
            try:
                self.tls.shutdown()
            except SSL.WantWriteError:
                return False
            except SSL.Error:
                forget_errors()
            self._sent_close_notify = True
        return True

    def _postLoseConnection(self) -> ConnectionDone | None:
        if self._send_close_notify():
            return CONNECTION_DONE
        self.startWriting()
        return None

    def _closeWriteConnection(self) -> None:
        if self._send_close_notify():
            super()._closeWriteConnection()
        else:
            self._writeDisconnected = False  # not yet
            self.startWriting()

    def abortConnection(self) -> None:
        self.phase = Phase.OVER
        super().abortConnection()  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure) -> None:
        if self.phase is OPEN and isinstance(reason.value, ConnectionDone) and not self._unsent():
            self._send_close_notify()
        self.phase = Phase.OVER
        super().connectionLost(reason)
        self._data_received = None
        self.__dict__.pop("tls", None)  # frees OpenSSL's memory, because the transport may be held longer
        self.__dict__.pop("tls_write", None)
        self.__dict__.pop("tls_read", None)


def let_alert_pass(sock: socket.socket) -> None:
    """Read arrived bytes: unread bytes at the close make the kernel send a reset, which may overtake our alert."""
    try:
        sock.recv(65536)
    except OSError:
        pass
