"""Fields that pass the client only where the user says so, in memory."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.client.requests import get
from tests.client.rig import ClientRig, assignment, response


class PassTests(SynchronousTestCase):
    SENT = (b"Cookie: a=b", b"Authorization: Basic dTpw", b"X-Vespa-Authorization: Bearer forged")

    def sent(self, *lines: bytes, **calling: Any) -> tuple[bytes, bytes]:
        rig = ClientRig(**calling)
        caller = rig.caller()
        caller.send(get(b"/", *lines))
        rig.tell(assignment())
        request = rig.worker().read()
        cookie = b"Set-Cookie: s=1; Domain=w.example; Path=/; Secure; HttpOnly; SameSite=None"
        rig.worker().send(response(200, b"ok", cookie, b"Set-Cookie: __Host-t=2; Secure; Path=/", b"X-A: 1"))
        return request, caller.read()

    def test_off(self) -> None:
        """Without leave nothing of it passes, either way."""
        request, answer = self.sent(*self.SENT)
        for word in (b"Cookie", b"Basic", b"forged"):
            self.assertNotIn(word, request + answer)

    def test_named(self) -> None:
        """What is named passes: credentials in a field that the worker takes for them, cookies both ways."""
        request, answer = self.sent(*self.SENT, passes=("cookie", "authorization"))
        self.assertIn(b"\r\nCookie: a=b\r\nX-Vespa-Authorization: Basic dTpw\r\n", request)
        self.assertNotIn(b"forged", request)
        self.assertNotIn(b"\r\nAuthorization:", request)
        self.assertIn(b"\r\nSet-Cookie: s=1; Path=/; HttpOnly\r\n", answer)
        self.assertIn(b"\r\nSet-Cookie: __Host-t=2; Secure; Path=/\r\n", answer)
        request, answer = self.sent(*self.SENT, passes=("authorization",))
        self.assertNotIn(b"Cookie", request + answer)

    def test_never_the_proxys_own_token(self) -> None:
        """It is shown to this proxy, and not for a worker."""
        lines = (b"Authorization: Bearer t0ken",)
        request, _ = self.sent(*lines, token="t0ken", passes=("authorization",))
        self.assertNotIn(b"t0ken", request)
        for value in (b"t0ken", b"Token t0ken", b"Basic\tt0ken"):
            both = (b"X-Api-Key: t0ken", b"Authorization: " + value)
            request, _ = self.sent(*both, token="t0ken", passes=("authorization",))
            self.assertNotIn(b"t0ken", request)
        mine = (b"X-Api-Key: t0ken", b"Authorization: Bearer mine")
        request, _ = self.sent(*mine, token="t0ken", passes=("authorization",))
        self.assertIn(b"X-Vespa-Authorization: Bearer mine\r\n", request)
        self.assertNotIn(b"t0ken", request)
