"""Laws of what the standard streams can show, and of how twistd is run."""

from __future__ import annotations

import errno
import io
import os
from typing import TextIO

from twisted.trial.unittest import SynchronousTestCase

from vespa.runtime.standard_streams import OutputError, TolerantStream, put, writable
from vespa.runtime.twistd import twistd_options


class _Failing(io.StringIO):
    """A stream whose write fails."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class PutTests(SynchronousTestCase):
    def test_full(self) -> None:
        """A result that cannot be written is an error, which says why."""
        with self.assertRaisesRegex(OutputError, "cannot write to standard output: No space left"):
            put(_Failing(FULL), "x")

    def test_reader_gone(self) -> None:
        """A reader that has closed its pipe is none, and the exit of the process meets no error either."""
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing, "w") as stream:
            put(stream, "x" * 100_000)

    def test_written(self) -> None:
        """A result is written at once."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        with os.fdopen(writing, "w") as stream:
            put(stream, "x")
            self.assertEqual(os.read(reading, 9), b"x")


class TolerantTests(SynchronousTestCase):
    def problem(self, stream: TextIO) -> Exception | None:
        tolerant = TolerantStream(stream)
        tolerant.write("x")
        return tolerant.problem

    def test_problem(self) -> None:
        """It knows why its stream is gone; one that is only full for the moment is not."""
        self.assertIs(self.problem(_Failing(FULL)), FULL)
        self.assertIsNone(self.problem(io.StringIO()))
        self.assertIsNone(self.problem(_Failing(BlockingIOError())))


class StreamTests(SynchronousTestCase):
    def test_characters(self) -> None:
        """A character that an encoding lacks is no error, whatever the system's own encoding is."""
        raw = io.BytesIO()
        stream = writable(io.TextIOWrapper(raw, encoding="cp1252"))
        stream.write("ready: x → y")
        stream.flush()
        self.assertEqual(raw.getvalue(), b"ready: x ? y")

    def test_closed(self) -> None:
        """A stream that was closed by whoever started us takes everything."""
        with writable(None) as stream:
            stream.write("x")

    def test_twistd(self) -> None:
        """twistd on Windows has no option for a pid file, and refuses it."""
        self.assertEqual(twistd_options(windows=True), ["-n"])
        self.assertEqual(twistd_options(windows=False), ["-n", "--pidfile="])
