"""Laws of what the standard streams can show, and of how twistd is run."""

from __future__ import annotations

import io

from twisted.trial.unittest import SynchronousTestCase

from vespa.runtime.standard_streams import writable
from vespa.runtime.twistd import twistd_options


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
