"""Which credentials the backend gets, in memory."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.rig import GET, Rig, post
from tests.worker.requests import auth, envelope
from vespa.simulator.signing import query_envelope


class BackendKey(SynchronousTestCase):
    def test_every_way(self) -> None:
        """The backend's key goes with each request, once, and in place of whatever the caller sent."""
        theirs = b"Authorization: Bearer theirs\r\nauthorization: Basic again\r\n"
        query = b"GET /?" + query_envelope(auth()).encode() + b" HTTP/1.1\r\nHost: w\r\n"
        upgrade = b"GET /ws HTTP/1.1\r\nHost: w\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        for secured, request in (
            (True, post(envelope(b"{}"), b"/", theirs)),
            (True, query + theirs + b"\r\n"),
            (False, post(envelope(b"{}"), b"/", theirs)),
            (False, post(b"{}", b"/", theirs)),
            (False, GET),
            (False, upgrade),
        ):
            rig = Rig(secured=secured, authorization="Bearer backend-key")
            rig.ask(request)
            head = rig.backend.wire.value().partition(b"\r\n\r\n")[0]
            lines = [line for line in head.split(b"\r\n") if line.lower().startswith(b"authorization:")]
            self.assertEqual(lines, [b"Authorization: Bearer backend-key"], request)

    def test_a_callers_own_credentials(self) -> None:
        """What a client was told to pass becomes Authorization, but for the worker's own key; nothing else does."""
        lines = b"Authorization: Bearer endpoint-key\r\nX-Vespa-Authorization: Basic dTpw\r\n"
        for key, sent in (("", b"Basic dTpw"), ("Bearer backend-key", b"Bearer backend-key")):
            rig = Rig(authorization=key)
            rig.ask(post(envelope(b"{}"), b"/v1/x", lines))
            head = rig.backend.wire.read()
            self.assertEqual(head.count(b"Authorization: "), 1)
            self.assertIn(b"\r\nAuthorization: " + sent + b"\r\n", head)

    def test_not_to_callers(self) -> None:
        """Nothing that the worker answers by itself has the key in it."""
        rig = Rig(authorization="Bearer backend-key")
        rig.backend.refusing = True
        self.assertNotIn(b"backend-key", rig.ask(GET).read())
