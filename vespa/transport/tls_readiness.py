"""The reactor events of a TLS connection: those that its owner requested, changed to those that OpenSSL needs."""

from __future__ import annotations

import enum

from vespa.transport.socket_transport import DirectTransport


class Phase(enum.Enum):
    """The event that OpenSSL waits for."""

    HANDSHAKE = enum.auto()  # handshake, the peer's turn; none of the owner's data is sent yet
    HANDSHAKE_BLOCKED = enum.auto()  # handshake, no room for our part
    OPEN = enum.auto()  # none
    READ_BLOCKED = enum.auto()  # reading must first send (the response to a key update), and there is no room
    WRITE_BLOCKED = enum.auto()  # writing must first read
    FAILED = enum.auto()  # OpenSSL has failed, and the reactor is about to learn it
    OVER = enum.auto()  # the connection is closed, or about to be


OPEN = Phase.OPEN


class TLSReadiness(DirectTransport):
    """Keeps its owner's requests to read and write apart from the events that it watches."""

    phase = OPEN
    _reading = _writing = False

    def startReading(self) -> None:
        self._reading = True
        self.reactor.addReader(self) if self.phase is OPEN else self._watch()

    def stopReading(self) -> None:
        self._reading = False
        self.reactor.removeReader(self) if self.phase is OPEN else self._watch()

    def startWriting(self) -> None:
        self._writing = True
        self.reactor.addWriter(self) if self.phase is OPEN else self._watch()

    def stopWriting(self) -> None:
        self._writing = False
        self.reactor.removeWriter(self) if self.phase is OPEN else self._watch()

    def _enter(self, phase: Phase) -> None:
        if phase is not self.phase:
            self.phase = phase
            self._watch()

    def _watch(self) -> None:
        read, write = self._reading, self._writing
        match self.phase:
            case Phase.HANDSHAKE:  # unless it should close with nothing to send: then it needs no handshake
                read, write = True, bool(self.disconnecting and not self._unsent() and self.producer is None)
            case Phase.HANDSHAKE_BLOCKED | Phase.FAILED:
                read, write = False, True
            case Phase.READ_BLOCKED:
                read, write = False, read or write
            case Phase.WRITE_BLOCKED:
                read, write = read or write, False
            case Phase.OVER:
                read = write = False
        self.reactor.addReader(self) if read else self.reactor.removeReader(self)
        self.reactor.addWriter(self) if write else self.reactor.removeWriter(self)

    def _unsent(self) -> bool:
        """Whether Twisted's buffer holds anything."""
        return bool(self.dataBuffer or self._tempDataLen)
