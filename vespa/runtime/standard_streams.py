"""What the standard streams can show, and a stream that nobody reads any more."""

from __future__ import annotations

import os
from typing import TextIO


class TolerantStream:
    """
    Writes to `stream`, and never raises.

    Where the reader is behind, a text is lost. Where the reader is gone, or the stream is closed, all later ones are. A
    character that the encoding lacks is written as its number.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:
        """The stream's encoding."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        """The stream's descriptor. Raises OSError where it has none, or is gone."""
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
                pass  # the reader is behind: this text is lost
            except UnicodeEncodeError:  # under a locale that has no such characters
                self.write(text.encode("ascii", "backslashreplace").decode("ascii"))
            except (OSError, ValueError):
                stream, self._stream = self._stream, None
                drain_into_nothing(stream)
        return len(text)

    def flush(self) -> None:
        """Do nothing: every write is flushed."""


def drain_into_nothing(stream: TextIO) -> None:
    """Have all go nowhere: what is still buffered would fail again at exit and turn a clean stop into exit code 120."""
    try:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)
    except (OSError, ValueError):
        pass


def writable(stream: TextIO | None) -> TextIO:
    """A standard stream that may have been closed by whoever started us, or cannot show every character."""
    if stream is None:
        return open(os.devnull, "w")
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
    return stream
