"""An endpoint that cannot be used is one sentence with the setting."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase

from vespa.transport.endpoint_problem import endpoint_problem

EXAMPLE = "tcp:3000"


class EndpointTests(SynchronousTestCase):
    def test_problems(self) -> None:
        """Each kind of mistake names the setting, and has no word of Python's."""
        for endpoint, why in (
            ("bogus:1", "Unknown endpoint type"),
            ("tcp", "an argument is missing or unknown"),
            ("tcp:x", "'x' must be a whole number"),
            ("tcp:65536:interface=127.0.0.1", "a port's number is 65535 at most"),
            ("tcp:interface=127.0.0.1:port=99999999", "a port's number is 65535 at most"),
            ("tcp:1:nope=1", "an argument is missing or unknown"),
            ("ssl:1:privateKey=/nowhere", "/nowhere"),
            (f"ssl:1:privateKey={__file__}", __file__),
        ):
            said = endpoint_problem(reactor, endpoint, "VESPA_ADMIN_LISTEN", EXAMPLE)
            self.assertIn(why, said)
            self.assertIn("VESPA_ADMIN_LISTEN", said)
            for jargon in ("invalid literal", "Errno", "__init__"):
                self.assertNotIn(jargon, said)

    def test_files(self) -> None:
        """Where other settings name the certificate's files, these are named."""
        said = endpoint_problem(reactor, "ssl:1:privateKey=/nowhere", "VESPA_LISTEN", EXAMPLE, "CERT and KEY name")
        self.assertIn("cannot listen on TLS", said)
        self.assertIn("CERT and KEY name the files", said)

    def test_none(self) -> None:
        """A good endpoint has no problem, and nothing is opened."""
        for endpoint in ("tcp:0", "unix:/nowhere/x.sock"):
            self.assertEqual(endpoint_problem(reactor, endpoint, "VESPA_LISTEN", EXAMPLE), "")
