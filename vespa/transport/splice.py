"""
Large bodies from one socket to another inside the kernel.

Where a body of known length goes from plain TCP to plain TCP there is nothing to look at: `splice` moves its pages
through a pipe, a quarter of the work of reading and writing them. Twisted's transports stay in charge of everything
else: only their `doRead` and `doWrite` are stood in for while it lasts.
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
except ImportError:  # neither macOS nor Windows has it
    _AVAILABLE = False

LEAST_BYTES: Final = 1 << 20
"""Bodies shorter than this are not worth a pipe."""

_PIPE_BYTES: Final = 1 << 20
_MOVES: Final = 4  # in one turn, so that others get theirs
_FLAGS: Final = 3  # SPLICE_F_MOVE | SPLICE_F_NONBLOCK


def can_splice(source: object, sink: object) -> bool:
    """Whether both are plain sockets, on a system that knows how."""
    return _AVAILABLE and is_plain(source) and is_plain(sink)


def new_pipe() -> tuple[int, int]:
    """A pipe that does not block, as large as the system lets us have one. Raises OSError."""
    pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl(pipe[1], F_SETPIPE_SZ, _PIPE_BYTES)
    except OSError:
        pass  # the user's share of pipe memory is used up: a small pipe works as well
    return pipe


class Pipes:
    """Counts the pipes that are open: they are descriptors, of which others need theirs."""

    most = 4096
    count = 0


class Splice:
    """
    Moves `left` bytes from one transport to another, then calls `done`.

    It begins once the sink's own buffer is out. When a transport is lost meanwhile its protocol hears of it as ever,
    and calls `stop`, which drops what is in the pipe; the source's own end is told only when the pipe is empty.
    """

    def __init__(self, source: Any, sink: Any, left: int, done: Callable[[], None]) -> None:
        """Raises OSError when there is no descriptor left for a pipe."""
        self.moved = 0
        self.in_pipe = 0
        if Pipes.count >= Pipes.most:
            raise OSError(errno.EMFILE, "as many pipes are open as may be")
        self._pipe = new_pipe()
        Pipes.count += 1
        self._source = source
        self._sink = sink
        self._left = left
        self._done = done
        self._why: Any = None  # how the source ended
        self._over = False
        source.doRead = self._read
        sink.doWrite = self._write
        if buffered(sink):
            source.stopReading()

    @property
    def left(self) -> int:
        """Bytes that have not been taken from the source."""
        return self._left

    def stop(self) -> None:
        """Give the transports back as they were. A second call does nothing."""
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
        """The source has something, or has ended."""
        if self._why is not None:
            return self._why
        source, sink = self._source.fileno(), self._sink.fileno()
        if source < 0 or sink < 0:
            return CONNECTION_LOST
        for _ in range(_MOVES):
            try:
                count = os.splice(source, self._pipe[1], min(self._left, _PIPE_BYTES), flags=_FLAGS)
            except BlockingIOError:
                return None
            except OSError:
                return self._source_ended()
            if not count:
                return self._source_ended()
            self._left -= count
            self.in_pipe += count
            if not self._empty(sink) or self.in_pipe:
                self._source.stopReading()
                self._sink.startWriting()
                return None
            if not self._left:
                self._finish()
                return None
        return None

    def _source_ended(self) -> Any:
        # The end is always early here: as much as was promised would have finished it.
        if not self.in_pipe:
            return CONNECTION_LOST
        self._why = CONNECTION_LOST
        self._source.stopReading()
        self._sink.startWriting()
        return None

    def _empty(self, sink: int) -> bool:
        """Move what is in the pipe on, as far as there is room. False if the sink is lost."""
        try:
            while self.in_pipe:
                count = os.splice(self._pipe[0], sink, self.in_pipe, flags=_FLAGS)
                self.in_pipe -= count
                self.moved += count
        except BlockingIOError:
            pass
        except OSError:
            return False  # the reactor meets the error again when it writes, and tells the sink's protocol
        return True

    def _write(self) -> Any:
        """The sink has room."""
        if buffered(self._sink):
            # What was written before goes first; its producers are told as ever.
            why = type(self._sink).doWrite(self._sink)
            if not why and not buffered(self._sink):
                self._source.startReading()
            return why
        if not self._empty(self._sink.fileno()):
            return CONNECTION_LOST
        if self.in_pipe:
            return None
        self._sink.stopWriting()
        if self._left:
            self._source.startReading()  # also to meet its end again
        else:
            self._finish()
        return None

    def _finish(self) -> None:
        self.stop()
        self._source.startReading()
        self._done()
