"""How a worker is looked for: the autoscaler is asked until it names one, in memory."""

from __future__ import annotations

from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from tests.client.requests import post
from tests.client.rig import AUTOSCALER, KEY, ClientRig, assignment, response


class WaitingTests(SynchronousTestCase):
    def test_polling(self) -> None:
        """The index that the autoscaler gave is kept; first after 1 s, then at random within growing bounds."""
        rig = ClientRig(random=0.0)
        caller = rig.caller()
        caller.send(post())
        self.assertEqual(rig.tell({"endpoint": "demo", "status": "0 of 1 workers", "request_idx": 9})["request_idx"], 0)
        rig.advance(0.9)
        self.assertEqual(rig.asked_for(), [])
        rig.advance(0.2)
        self.assertEqual(rig.tell({"endpoint": "demo", "status": "0 of 1 workers"})["request_idx"], 9)
        rig.advance(0.2)
        self.assertEqual(rig.tell(assignment(idx=9))["request_idx"], 9)
        self.assertIn(b'"request_idx":9', rig.worker().read())
        self.assertEqual((rig.autoscaler.failures, rig.autoscaler.responses), (0, 3))
        self.assertEqual(rig.waits[0], ("0 of 1 workers", 0.0))
        self.assertEqual(rig.waits[-1], ("", 0.0))

    def test_oldest(self) -> None:
        """The time since which the oldest search waits is known, until none waits."""
        rig = ClientRig()
        began = rig.reactor.seconds()
        self.assertIsNone(rig.autoscaler.waits_since)
        for _ in range(2):
            rig.caller().send(post())
            rig.tell({"status": "none", "request_idx": 9})
            rig.reactor.advance(0.5)
        self.assertEqual((rig.autoscaler.waiting, rig.autoscaler.waits_since), (2, began))
        rig.autoscaler.dismiss()
        self.assertIsNone(rig.autoscaler.waits_since)

    def test_gone(self) -> None:
        """A caller that hangs up is not polled for any more, asked or waiting."""
        for tell in (True, False):
            rig = ClientRig()
            caller = rig.caller()
            caller.send(post())
            rig.wires(AUTOSCALER)
            if tell:
                rig.tell({"status": "none", "request_idx": 9})
            caller.hang_up()
            rig.advance(20)
            self.assertEqual(rig.asked_for(), [])
            self.assertTrue(rig.idle)

    def test_no_worker_in_time(self) -> None:
        """The deadline ends the search with what the autoscaler said last."""
        rig = ClientRig(seconds=10.0)
        caller = rig.caller()
        caller.send(post())
        rig.tell({"status": "0 of 3 workers are ready", "request_idx": 9})
        rig.advance(12)
        answer = caller.read()
        self.assertTrue(answer.startswith(b"HTTP/1.1 503"), answer)
        self.assertIn(b"X-Vespa-Error: no_worker", answer)
        self.assertIn(b"0 of 3 workers are ready", answer)
        self.assertIn(b"Retry-After: 5", answer)
        self.assertTrue(rig.idle)

    def test_autoscaler_fails(self) -> None:
        """429, 5xx, rubbish and lost connections are asked again; the caller notices nothing."""
        failures = (
            response(429, b"slow down", b"Content-Type: text/plain"),
            response(500),
            response(503, b"", b"Retry-After: 1"),
            response(200, b"<html>"),
            response(200, b'{"url": "http://x"}'),
        )
        for failure in failures:
            rig = ClientRig()
            caller = rig.caller()
            caller.send(post())
            rig.tell(failure)
            rig.advance(2)
            rig.tell(assignment())
            rig.worker().send(response(200, b"ok"))
            self.assertTrue(caller.read().endswith(b"ok"), failure)
            self.assertEqual((rig.autoscaler.failures, rig.autoscaler.responses), (1, 1))

    def test_autoscaler_out_of_reach(self) -> None:
        """The search retries until the deadline; then the caller gets the last error."""
        rig = ClientRig(seconds=5.0)
        rig.refusing.add(AUTOSCALER)
        caller = rig.caller()
        caller.send(post())
        rig.advance(7)
        answer = caller.read()
        self.assertIn(b"X-Vespa-Error: autoscaler_unavailable", answer)
        self.assertGreater(len(rig.reactor.tcpClients), 3)

    def test_autoscaler_is_silent(self) -> None:
        """A call without a response is repeated after 10 s."""
        rig = ClientRig()
        rig.caller().send(post())
        first = rig.wires(AUTOSCALER)[0]
        first.read()
        rig.advance(12)
        self.assertFalse(first.open)
        rig.tell(assignment())
        self.assertIn(b"payload", rig.worker().read())

    def test_autoscaler_refuses(self) -> None:
        """A wrong key or endpoint is an error at once, whose message shows no key."""
        for status, body, code in (
            (401, b'{"error": "bad key"}', b"bad_endpoint_key"),
            (400, b'{"error": "no such endpoint"}', b"route_refused"),
            (302, b"", b"route_refused"),
        ):
            rig = ClientRig()
            caller = rig.caller()
            caller.send(post())
            rig.tell(response(status, body, b"Location: http://evil/"))
            answer = caller.read()
            self.assertIn(b"X-Vespa-Error: " + code, answer)
            self.assertNotIn(KEY.encode(), answer)
            self.assertTrue(rig.idle)

    def test_keys_are_in_no_text(self) -> None:
        """No response of the autoscaler can show a key to callers or in the log."""
        rig = ClientRig(seconds=3.0)
        first, second = rig.caller(), rig.caller()
        first.send(post())
        rig.tell(response(400, b'{"error": "no endpoint for %b"}' % KEY.encode()))
        second.send(post())
        rig.tell({"status": f"{KEY} waits", "request_idx": 9})
        rig.advance(5)
        for answer in (first.read(), second.read()):
            self.assertIn(b"[hidden]", answer)
            self.assertIn(b"X-Should-Retry: false", answer)
            self.assertNotIn(KEY.encode(), answer)
        self.assertNotIn(KEY, str(rig.waits))

    def test_what_is_not_the_callers_doing_is_logged(self) -> None:
        """A key that was revoked is seen in the log, once and not with each request."""
        with capturedLogs() as logs:
            rig = ClientRig()
            for _ in range(3):
                rig.caller().send(post())
                rig.tell(response(401))
        texts = [formatEvent(event) for event in logs if event["log_level"] >= LogLevel.warn]
        self.assertEqual(len(texts), 1)
        self.assertIn("bad_endpoint_key", texts[0])
