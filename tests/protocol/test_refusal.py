from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vespa.protocol.refusal import Refusal


class RefusalTests(SynchronousTestCase):
    def test_body_tells_the_cause(self) -> None:
        """The body is one line of JSON with a code for programs, a message for people, and the error's origin."""
        self.assertEqual(
            Refusal(502, "backend_unreachable", "no", origin="backend").body(),
            b'{"error":{"code":"backend_unreachable","message":"no","origin":"backend"}}\n',
        )

    def test_fields(self) -> None:
        """The body lists wrong fields, if there are any."""
        refusal = Refusal(422, "invalid_envelope", "no", fields={"cost": "is missing"})
        self.assertEqual(json.loads(refusal.body())["error"]["fields"], {"cost": "is missing"})
        self.assertNotIn("fields", json.loads(Refusal(422, "invalid_envelope", "no", fields={}).body())["error"])

    def test_headers(self) -> None:
        """The code is in a header too; Retry-After and Allow only where they were asked for; others follow."""
        self.assertEqual(
            Refusal(401, "bad_signature", "no").header_list(),
            [
                (b"Content-Type", b"application/json"),
                (b"X-Vespa-Error", b"bad_signature"),
                (b"X-Vespa-Origin", b"client"),
            ],
        )
        self.assertEqual(
            Refusal(405, "method_not_allowed", "no", allow="GET, HEAD", headers=((b"X-A", b"b"),)).header_list()[3:],
            [(b"Allow", b"GET, HEAD"), (b"X-A", b"b")],
        )

    def test_origin(self) -> None:
        """A 4xx is the client's doing, but not a 429; a 5xx is Vespa's, unless another is named."""
        for status, code, origin in [
            (401, "wrong_url", "client"),
            (408, "head_timeout", "client"),
            (429, "busy", "vespa"),
            (501, "unknown_method", "client"),
            (505, "version_not_supported", "client"),
            (503, "draining", "vespa"),
        ]:
            self.assertEqual(Refusal(status, code, "no").origin, origin)
        self.assertEqual(Refusal(429, "in_flight", "no", origin="client").origin, "client")
        self.assertEqual(Refusal(502, "no_reply", "no", origin="backend").origin, "backend")

    def test_estimated_wait(self) -> None:
        """The body has the estimated wait, in seconds with one digit, where there is an estimate."""
        error = json.loads(Refusal(429, "busy", "no", estimated_wait=14.26).body())["error"]
        self.assertEqual(error["estimated_wait"], 14.3)
        self.assertNotIn("estimated_wait", json.loads(Refusal(429, "busy", "no").body())["error"])

    @given(st.floats(min_value=-1e6, max_value=1e9))
    def test_retry_after(self, seconds: float) -> None:
        """Retry-After is in whole seconds, rounded up, at least 1."""
        ((_, value),) = Refusal(429, "busy", "no", retry_after=seconds).header_list()[3:]
        self.assertTrue(value.isdigit())
        self.assertGreaterEqual(int(value), max(1, seconds))
        self.assertLess(int(value), max(1, seconds) + 1)

    @given(st.text(), st.text())
    def test_any_text(self, message: str, name: str) -> None:
        """A refusal can quote any text of the client: the body is ASCII JSON with the same text."""
        error = json.loads(Refusal(422, "invalid_envelope", message, fields={name: message}).body().decode("ascii"))[
            "error"
        ]
        self.assertEqual(error["message"], message)
        self.assertEqual(error["fields"], {name: message})

    def test_is_an_exception_that_reads_well(self) -> None:
        """The text of a refusal, for logs, has its status, code and message."""
        self.assertEqual(str(Refusal(429, "busy", "come later")), "429 busy: come later")
