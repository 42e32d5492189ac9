"""Standard streams that may be closed, blocked or limited in their characters."""

from __future__ import annotations

import os
from typing import TextIO


class TolerantStream:
    """
    Writes to `stream`, and never raises.

    If the reader is too slow, a text is lost. If the reader or the stream is gone, all later texts are lost. A
    character that the encoding does not have is written as its number.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.problem: OSError | ValueError | None = None
        """Why the stream is gone. A reader that has closed its pipe is a BrokenPipeError."""

    @property
    def encoding(self) -> str:
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        """The stream's descriptor. Raises OSError if it has none, or is gone."""
        if self._stream is None:
            raise OSError("the stream is gone")
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write a text, and flush it."""
        if self._stream is not None:
            try:
                self._stream.write(text)
                self._stream.flush()
            except BlockingIOError:
                pass  # the reader is too slow: this text is lost
            except UnicodeEncodeError:  # the locale does not have such characters
                self.write(text.encode("ascii", "backslashreplace").decode("ascii"))
            except (OSError, ValueError) as error:
                self.problem = error
                stream, self._stream = self._stream, None
                drain_into_nothing(stream)
        return len(text)

    def flush(self) -> None:
        """Do nothing: every write is flushed."""


class OutputError(Exception):
    """A result could not be written. The text is for people."""

    def __init__(self, error: Exception) -> None:
        why = error.strerror if isinstance(error, OSError) else None
        super().__init__(f"cannot write to standard output: {why or error}")


def put(stream: TextIO, text: str) -> None:
    """Write a result, now. A reader that has closed its pipe wants no more of it; raises OutputError otherwise."""
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        drain_into_nothing(stream)
    except OSError as error:
        drain_into_nothing(stream)
        raise OutputError(error) from None


def drain_into_nothing(stream: TextIO) -> None:
    """Redirect the stream to nothing: buffered text would fail again at exit and change a clean exit code to 120."""
    try:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)
    except (OSError, ValueError):
        pass


def writable(stream: TextIO | None) -> TextIO:
    """A standard stream that the parent process may have closed, or that does not have every character."""
    if stream is None:
        return open(os.devnull, "w")
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
    return stream
