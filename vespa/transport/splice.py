"""
Moves large bodies from one socket to another inside the kernel.

A body of known length from plain TCP to plain TCP needs no parsing. `splice` moves its pages through a pipe, with a
quarter of the work of reading and writing them. Twisted's transports stay in charge of everything else: only their
`doRead` and `doWrite` are replaced during the transfer.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.main import CONNECTION_LOST

from vespa.transport.sockets import buffered, is_plain

try:
    from fcntl import F_SETPIPE_SZ, fcntl

    _AVAILABLE = hasattr(os, "splice") and hasattr(os, "pipe2")
except ImportError:  # macOS and Windows do not have it
    _AVAILABLE = False

LEAST_BYTES: Final = 1 << 20  # shorter bodies are not worth a pipe

_PIPE_BYTES: Final = 1 << 20
_MOVES: Final = 4  # in one turn, so that other connections get their turn
_FLAGS: Final = 3  # SPLICE_F_MOVE | SPLICE_F_NONBLOCK


def can_splice(source: object, sink: object) -> bool:
    """Whether both are plain sockets, on a system with splice."""
    return _AVAILABLE and is_plain(source) and is_plain(sink)


def new_pipe() -> tuple[int, int]:
    """A non-blocking pipe, as large as the system allows. Raises OSError."""
    pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl(pipe[1], F_SETPIPE_SZ, _PIPE_BYTES)
    except OSError:
        pass  # the user's limit of pipe memory is reached: a small pipe works as well
    return pipe


def splice_if_large(source: Any, sink: Any, left: int, done: Callable[[], None]) -> Splice | None:
    """Let the kernel move `left` bytes, if they are worth a pipe, both are plain sockets, and there is a pipe."""
    if left < LEAST_BYTES or not can_splice(source, sink):
        return None
    try:
        return Splice(source, sink, left, done)
    except OSError:
        return None  # no descriptor for a pipe: the body continues without splice


class Pipes:
    """Counts the open pipes, because each takes two descriptors."""

    most = 4096
    count = 0


class Splice:
    """
    Moves `left` bytes from one transport to another, then calls `done`.

    It begins when the sink's own buffer is empty. If a transport is lost meanwhile, its protocol is called as usual
    and calls `stop`, which drops the bytes in the pipe. The end of the source is reported only when the pipe is empty.
    """

    def __init__(self, source: Any, sink: Any, left: int, done: Callable[[], None]) -> None:
        """Raises OSError if no descriptor is left for a pipe."""
        self.moved = 0
        self.in_pipe = 0
        if Pipes.count >= Pipes.most:
            raise OSError(errno.EMFILE, "the maximum number of pipes is open")
        self._pipe = new_pipe()
        Pipes.count += 1
        self._source = source
        self._sink = sink
        self.left = left  # the number of bytes not yet taken from the source
        self._done = done
        self._why: Any = None  # the reason why the source ended
        self._over = False
        source.doRead = self._read
        sink.doWrite = self._write
        if buffered(sink):
            source.stopReading()

    def stop(self) -> None:
        """Restore the transports. A second call does nothing."""
        if self._over:
            return
        self._over = True
        for transport, name in ((self._source, "doRead"), (self._sink, "doWrite")):
            if transport.__dict__.get(name) in (self._read, self._write):
                del transport.__dict__[name]
        Pipes.count -= 1
        for end in self._pipe:
            os.close(end)

    def _read(self) -> Any:
        """The source has data, or has ended."""
        if self._why is not None:
            return self._why
        source, sink = self._source.fileno(), self._sink.fileno()
        if source < 0 or sink < 0:
            return CONNECTION_LOST
        for _ in range(_MOVES):
            try:
                count = os.splice(source, self._pipe[1], min(self.left, _PIPE_BYTES), flags=_FLAGS)
            except BlockingIOError:
                return None
            except OSError:
                return self._source_ended()
            if not count:
                return self._source_ended()
            self.left -= count
            self.in_pipe += count
            if not self._empty(sink) or self.in_pipe:
                self._source.stopReading()
                self._sink.startWriting()
                return None
            if not self.left:
                self._finish()
                return None
        return None

    def _source_ended(self) -> Any:
        # The end is always early here: with the whole body the transfer would have finished.
        if not self.in_pipe:
            return CONNECTION_LOST
        self._why = CONNECTION_LOST
        self._source.stopReading()
        self._sink.startWriting()
        return None

    def _empty(self, sink: int) -> bool:
        """Move the bytes in the pipe to the sink, as far as it has room. Returns False if the sink is lost."""
        try:
            while self.in_pipe:
                count = os.splice(self._pipe[0], sink, self.in_pipe, flags=_FLAGS)
                self.in_pipe -= count
                self.moved += count
        except BlockingIOError:
            pass
        except OSError:
            return False  # the reactor meets the error again when it writes, and reports it to the sink's protocol
        return True

    def _write(self) -> Any:
        """The sink has room."""
        if buffered(self._sink):
            # Data written before goes first. Its producers are called as usual.
            why = type(self._sink).doWrite(self._sink)
            if not why and not buffered(self._sink):
                self._source.startReading()
            return why
        if not self._empty(self._sink.fileno()):
            return CONNECTION_LOST
        if self.in_pipe:
            return None
        self._sink.stopWriting()
        if self.left:
            self._source.startReading()  # also to meet its end again
        else:
            self._finish()
        return None

    def _finish(self) -> None:
        self.stop()
        self._source.startReading()
        self._done()
