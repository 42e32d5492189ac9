"""A request through the client's application, in memory."""

from __future__ import annotations

import gc
import weakref

from twisted.trial.unittest import SynchronousTestCase

from tests.client.requests import BODY, HOST, post
from tests.client.rig import AUTOSCALER, OTHER, WORKER, ClientRig, assignment, response
from vespa.http.held_bytes import HeldBytes
from vespa.proxy.exchange import Exchange


class Uploads(SynchronousTestCase):
    def test_pauses(self) -> None:
        """An upload may pause: three bytes of live audio and half a minute of silence are no 408."""
        rig = ClientRig()
        caller = rig.caller()
        lines = b"Content-Type: audio/wav\r\nTransfer-Encoding: chunked\r\n\r\n"
        caller.send(b"POST /v1/audio HTTP/1.1\r\n" + HOST + lines + b"3\r\nabc\r\n")
        rig.tell(assignment())
        for _ in range(2):
            rig.advance(30.0)
            caller.send(b"1\r\nx\r\n")
        self.assertTrue(caller.open)
        self.assertTrue(rig.worker().read().endswith(b"3\r\nabc\r\n1\r\nx\r\n1\r\nx\r\n"))

    def test_held_together(self) -> None:
        """Bodies that wait for workers are bounded together; the newest is refused, and what is kept is given up."""
        rig = ClientRig(replay_bytes=1 << 20)
        rig.server.held = HeldBytes(200_000)
        body = b'"' + b"x" * 60000 + b'"'
        callers = [rig.caller() for _ in range(4)]
        for caller in callers:
            caller.send(post(body))
        self.assertIn(b"too_much_held", callers[3].read())
        for _ in range(3):
            rig.tell(assignment())
        self.assertTrue(rig.server.held.total <= 200_000)
        for wire in list(rig.wires(WORKER)):
            wire.send(response(200, b"fine"))
        for caller in callers[:3]:
            self.assertTrue(caller.read().endswith(b"fine"))
        rig.advance(2.0)
        self.assertEqual(rig.server.held.total, 0)


class AppTests(SynchronousTestCase):
    def test_dismissed(self) -> None:
        """At the drain's end, requests that wait for a turn or a worker are refused; those that have one go on."""
        rig = ClientRig(max_connections=3)
        callers = [rig.caller() for _ in range(4)]
        for caller in callers:
            caller.send(post())
        rig.tell(assignment())
        rig.worker().read()
        rig.tell({"status": "none", "request_idx": 9})
        rig.app.dismiss()
        self.assertEqual([b"draining" in caller.read() for caller in callers], [False, True, True, True])
        rig.worker().send(response(200, b"ok"))
        self.assertTrue(callers[0].read().endswith(b"ok"))
        self.assertTrue(rig.idle)

    def test_what_is_logged(self) -> None:
        """A request that has ended has the cost and the index under which its worker has it, the last of several."""
        rig = ClientRig()
        ended: list[Exchange] = []
        rig.app.proxy.ended = ended.append
        caller = rig.caller()
        caller.send(post(BODY, b"X-Serverless-Cost: 2.5"))
        rig.tell(assignment())
        rig.worker().send(response(503, b"", b"X-Vespa-Error: not_ready"))
        rig.tell(assignment(OTHER, idx=9))
        rig.worker(OTHER).send(response(200, b"ok"))
        (exchange,) = ended
        self.assertEqual((exchange.work, exchange.request_idx), (2_500_000, 9))
        self.assertEqual((exchange.attempts, exchange.upstream_address), (2, "http://203.0.113.8:31000"))

    def test_nothing_is_left_for_the_collector(self) -> None:
        """A request that is over is freed at once, whether it was served, refused or given up."""
        for end in ("served", "in parts", "refused", "left"):
            rig = ClientRig(seconds=5.0)
            caller = rig.caller()
            caller.send(post())
            gc.collect()
            gc.disable()
            self.addCleanup(gc.enable)
            exchange = weakref.ref(caller.protocol.handler)
            if end == "refused":
                rig.advance(7)
            else:
                rig.tell(assignment())
                worker = rig.worker()
                if end == "left":
                    caller.hang_up()
                else:
                    answer = response(200, b"fine")
                    worker.send(answer[:-2] if end == "in parts" else answer)
                    if end == "in parts":
                        worker.send(answer[-2:])
            self.assertIsNone(exchange(), end)
            gc.enable()

    def test_guarded(self) -> None:
        """A browser's page is refused before anything is asked."""
        rig = ClientRig()
        caller = rig.caller()
        caller.send(post(BODY, b"Origin: https://evil.example"))
        self.assertTrue(caller.read().startswith(b"HTTP/1.1 403"))
        self.assertEqual(rig.wires(AUTOSCALER), [])

    def test_draining(self) -> None:
        """While the proxy shuts down, nothing new is begun."""
        rig = ClientRig()
        caller = rig.caller()
        rig.app.drain()
        caller.send(post())
        self.assertIn(b"draining", caller.read())
