"""The routes that the worker answers itself, in memory."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.rig import Rig, body, post, status
from vespa.protocol.refusal import Refusal


class Own(SynchronousTestCase):
    def test_ping(self) -> None:
        """/ping is answered by the worker itself, whatever state the backend is in."""
        rig = Rig(secured=True)
        rig.unready = Refusal(503, "not_ready", "no")
        response = rig.ask(b"GET /ping HTTP/1.1\r\nHost: w\r\n\r\n").read()
        self.assertEqual((status(response), body(response)), (200, b"pong"))
        self.assertNotIn(b"TwistedWeb", response)

    def test_update(self) -> None:
        """An update needs the machine's token; an empty one never fits."""
        request = post(b"", b"/pyworker/update", b"Authorization: %b\r\n")
        for token, sent, expected in (
            ("t0", b"Bearer t0", 200),
            ("t0", b"t0", 200),
            ("t0", b"Bearer t1", 401),
            ("", b"Bearer ", 401),
            ("", b"", 401),
        ):
            rig = Rig(secured=True, master_token=token)
            self.assertEqual(status(rig.ask(request % sent).read()), expected, sent)
            self.assertEqual(rig.updates, int(expected == 200))

    def test_other_methods(self) -> None:
        """Our own paths answer 405 to other methods, as an error of ours."""
        response = Rig().ask(post(b"", b"/ping")).read()
        self.assertEqual(status(response), 405)
        self.assertIn(b"X-Vespa-Error", response)
        self.assertIn(b"Allow: GET, HEAD", response)
