"""Tests of `vespa.checking.unanswered`."""

from __future__ import annotations

from twisted.internet.error import DNSLookupError
from twisted.trial.unittest import SynchronousTestCase

from vespa.checking.unanswered import unanswered
from vespa.http.interfaces import UpstreamError
from vespa.runtime.http_client import CallError


def nameless() -> UpstreamError:
    error = UpstreamError("backend_unreachable", "x", silent=True)
    error.__cause__ = DNSLookupError("no such name")
    return error


class UnansweredTests(SynchronousTestCase):
    def test_each(self) -> None:
        """Each cause has its own words, and advice that names the setting."""
        for cause, text, timed_out, why in (
            (nameless(), "x", False, "the name run.test is unknown"),
            (UpstreamError("x", "y", refused=True), "y", False, "no server listens at run.test:444"),
            (UpstreamError("backend_timeout", "y"), "y", False, "run.test:444 did not respond within 10 s"),
            (None, "no response", True, "run.test:444 did not respond within 10 s"),
            (UpstreamError("bad_certificate", "self-signed"), "self-signed", False, "is not trusted (self-signed)"),
            (UpstreamError("no_reply", "not TLS"), "not TLS", False, "run.test:444 does not speak TLS"),
            (OSError("no route"), "no route\n", False, "run.test:444 cannot be reached: no route"),
        ):
            error = CallError(text, timed_out=timed_out, cause=cause)
            found, advice = unanswered(error, "https://run.test:444", "REPORT_ADDR", 10.0)
            self.assertIn(why, found)
            self.assertIn("REPORT_ADDR", advice)
