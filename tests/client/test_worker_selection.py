"""Which worker a request goes to, and to which next, in memory."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.client.requests import BODY, post
from tests.client.rig import OTHER, WORKER, ClientRig, assignment, response
from vespa.observability.ended_requests import EndedRequest, EndedRequests


class NextWorkerTests(SynchronousTestCase):
    def start(self, request: bytes | None = None, **calling: Any) -> tuple[ClientRig, Any]:
        rig = ClientRig(**calling)
        caller = rig.caller()
        caller.send(request or post())
        return rig, caller

    def test_worker_refuses_connections(self) -> None:
        """A worker that is not there is left for another, under the same index."""
        rig, caller = self.start()
        rig.refusing.add(WORKER)
        rig.tell(assignment(WORKER, 7))
        self.assertEqual(rig.tell(assignment(OTHER, 7))["request_idx"], 7)
        rig.worker(OTHER).send(response(200, b"ok"))
        self.assertTrue(caller.read().endswith(b"ok"))
        self.assertTrue(rig.idle)
        self.assertEqual(rig.app.selector.retried, {"worker_unreachable": 1})

    def test_attempts_are_told(self) -> None:
        """A request that has ended tells at which worker, and at which attempt."""
        observer = EndedRequests(Clock())
        found: list[EndedRequest] = []
        observer.subscribe(found.extend, immediate=True)
        rig, _ = self.start(observer=observer)
        rig.tell(assignment(WORKER, 7))
        rig.worker().send(response(503, b"{}"))
        rig.tell(assignment(OTHER, 8))
        rig.worker(OTHER).send(response(200, b"ok"))
        (request,) = found
        self.assertEqual((request.attempts, request.upstream_address), (2, "http://203.0.113.8:31000"))

    def test_worker_dies_before_its_first_byte(self) -> None:
        """Reset or closed, the request goes to another with the same bytes."""
        for reason in (ConnectionLost(), ConnectionDone()):
            rig, caller = self.start()
            rig.tell(assignment(WORKER, 7))
            rig.worker().lose(reason)
            rig.tell(assignment(OTHER, 7, 71))
            sent = rig.worker(OTHER).read()
            self.assertIn(b'"reqnum":71', sent)
            self.assertTrue(sent.endswith(b'"payload":' + BODY + b"}"))
            rig.worker(OTHER).send(response(200, b"ok"))
            self.assertTrue(caller.read().endswith(b"ok"))

    def test_worker_is_busy(self) -> None:
        """After 429 and 503 another worker gets a new request, because this worker has reported the old one."""
        for status in (429, 503):
            rig, caller = self.start()
            rig.tell(assignment(WORKER, 7))
            rig.worker().send(response(status, b'{"error": "busy"}'))
            self.assertEqual(rig.tell(assignment(OTHER, 8))["request_idx"], 0)
            rig.worker(OTHER).send(response(200, b"ok"))
            self.assertTrue(caller.read().endswith(b"ok"))
            self.assertTrue(rig.idle)
            self.assertEqual(rig.app.selector.retried, {"busy": 1})

    def test_other_errors_are_passed_on(self) -> None:
        """Any other response of a worker or its backend is passed on."""
        for status in (400, 401, 404, 422, 500, 502, 504):
            rig, caller = self.start()
            rig.tell(assignment())
            rig.worker().send(response(status, b"why"))
            self.assertTrue(caller.read().startswith(b"HTTP/1.1 %d " % status))
            self.assertEqual(rig.app.selector.retried, {})

    def test_worker_without_a_backend(self) -> None:
        """If a worker could not pass the request to its backend, another gets it as a new request."""
        for status, code in ((502, b"backend_unreachable"), (504, b"backend_timeout"), (503, b"not_ready")):
            rig, caller = self.start()
            rig.tell(assignment(WORKER, 7))
            rig.worker().send(response(status, b"why", b"X-Vespa-Error: " + code))
            self.assertEqual(rig.tell(assignment(OTHER, 8))["request_idx"], 0)
            sent = rig.worker(OTHER).read()
            self.assertTrue(sent.endswith(b'"payload":' + BODY + b"}"))
            rig.worker(OTHER).send(response(200, b"ok"))
            self.assertTrue(caller.read().endswith(b"ok"))
            self.assertTrue(rig.idle)

    def test_worker_whose_backend_died(self) -> None:
        """A backend that broke off without a word: one other worker is tried, as the request may be what kills."""
        rig, caller = self.start()
        for number, worker in enumerate((WORKER, OTHER)):
            rig.tell(assignment(worker, 7 + number))
            rig.worker(worker).send(response(502, b"died", b"x-vespa-error: no_reply"))
            rig.advance(2)
        answer = caller.read()
        self.assertTrue(answer.startswith(b"HTTP/1.1 502") and answer.endswith(b"died"), answer)
        self.assertEqual(rig.asked_for(), [])
        self.assertTrue(rig.idle)

    def test_worker_whose_backend_began(self) -> None:
        """A backend that answered in part, or badly, did the work: that is the response."""
        for status, code in ((502, b"truncated_reply"), (502, b"bad_reply"), (504, b"first_byte_timeout")):
            rig, caller = self.start()
            rig.tell(assignment())
            rig.worker().send(response(status, b"why", b"X-Vespa-Error: " + code))
            self.assertTrue(caller.read().startswith(b"HTTP/1.1 %d " % status))
            self.assertEqual(rig.asked_for(), [])

    def named_again(self, times: int, **calling: Any) -> tuple[ClientRig, Any]:
        """A dead backend's worker is named, so many times, before the autoscaler knows; a second or two between."""
        rig, caller = self.start(**calling)
        for attempt in range(times):
            rig.tell(assignment(WORKER, 7 + attempt))
            rig.worker().send(response(503, b"gone %d" % attempt, b"X-Vespa-Error: not_ready"))
            rig.advance(2.6)
        return rig, caller

    def test_named_again(self) -> None:
        """A dead backend's worker is passed over for as long as the autoscaler may need to hear of it."""
        rig, caller = self.named_again(9, attempts=5)
        self.assertEqual(caller.read(), b"")
        rig.tell(assignment(OTHER, 30))
        rig.worker(OTHER).send(response(200, b"ok"))
        self.assertTrue(caller.read().endswith(b"ok"))

    def test_named_for_ever(self) -> None:
        """After that time, the last worker's response is passed on."""
        rig, caller = self.named_again(11, attempts=5)
        self.assertTrue(caller.read().endswith(b"gone 10"))
        self.assertEqual(rig.asked_for(), [])
        self.assertTrue(rig.idle)

    def test_one_attempt(self) -> None:
        """With attempts=1 there is one attempt."""
        rig, caller = self.named_again(1, attempts=1)
        self.assertTrue(caller.read().endswith(b"gone 0"))
        self.assertEqual(rig.asked_for(), [])

    def test_never_after_the_first_byte(self) -> None:
        """A response that has begun breaks off visibly."""
        rig, caller = self.start()
        rig.tell(assignment())
        rig.worker().send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        rig.worker().lose(ConnectionLost())
        self.assertEqual(rig.asked_for(), [])
        self.assertNotIn(b"0\r\n\r\n", caller.read())
        self.assertFalse(caller.open)
        self.assertTrue(rig.idle)

    def test_attempts_are_bounded(self) -> None:
        """The last busy worker's response is passed on; between attempts some time goes by, but for the first."""
        rig, caller = self.start(attempts=3)
        for attempt in range(3):
            rig.tell(assignment(WORKER, 7 + attempt))
            rig.worker().send(response(429, b"busy %d" % attempt))
            rig.advance(1.5)
        self.assertTrue(caller.read().endswith(b"busy 2"))
        self.assertTrue(rig.idle)

    def test_attempts_are_bounded_when_unreachable(self) -> None:
        """If no worker can be reached, the response says so."""
        rig, caller = self.start(attempts=2)
        rig.refusing.update((WORKER, OTHER))
        rig.tell(assignment(WORKER))
        rig.tell(assignment(OTHER))
        rig.wires(OTHER)
        answer = caller.read()
        self.assertTrue(answer.startswith(b"HTTP/1.1 502"), answer)
        self.assertIn(b"worker_unreachable", answer)

    def test_large_bodies_are_not_kept(self) -> None:
        """A body over the limit cannot be sent again, so the caller gets the failure."""
        body = b'"' + b"x" * 3000 + b'"'
        rig, caller = self.start(post(body), replay_bytes=1000)
        rig.tell(assignment())
        rig.worker().send(response(429, b"busy"))
        self.assertTrue(caller.read().startswith(b"HTTP/1.1 429"))
        self.assertEqual(rig.asked_for(), [])

    def test_body_still_coming(self) -> None:
        """A worker that is busy while the body still arrives: the other gets all of it."""
        body = bytes(range(256)) * 400
        request = post(body, kind=b"application/octet-stream")
        rig = ClientRig()
        caller = rig.caller()
        caller.send(request[:50_000])
        rig.tell(assignment())
        rig.worker().send(response(503, b"busy"))
        caller.send(request[50_000:70_000])
        self.assertTrue(caller.paused)  # enough is held until there is a worker
        rig.tell(assignment(OTHER, 8))
        rig.worker(OTHER)
        caller.send(request[70_000:])
        self.assertTrue(rig.worker(OTHER).read().endswith(b"\r\n\r\n" + body))
        rig.worker(OTHER).send(response(200, b"ok"))
        self.assertTrue(caller.read().endswith(b"ok"))

    def test_gone_between_workers(self) -> None:
        """A caller that leaves between two workers ends the search."""
        rig, caller = self.start()
        rig.tell(assignment())
        rig.worker().send(response(503, b"busy"))
        caller.hang_up()
        self.assertEqual(rig.asked_for(), [])
        self.assertTrue(rig.idle)

    def test_a_worker_that_says_nothing(self) -> None:
        """Silence is bounded too."""
        rig, caller = self.start(first_byte=5.0, attempts=1)
        rig.tell(assignment())
        rig.worker().read()
        rig.advance(7)
        self.assertTrue(caller.read().startswith(b"HTTP/1.1 504"))

    def test_a_worker_that_stops_in_its_head(self) -> None:
        """A response has begun when its head is whole, and not with an interim one."""
        for start in (b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n"):
            rig, caller = self.start(first_byte=5.0)
            rig.tell(assignment())
            rig.worker().send(start)
            rig.advance(7)
            self.assertIn(b"HTTP/1.1 504", caller.read())
            self.assertTrue(rig.idle)

    def test_a_deadly_request(self) -> None:
        """A request that workers die of goes to one other worker, and not to all of them."""
        rig, caller = self.start(attempts=5)
        for _ in range(2):
            rig.tell(assignment())
            rig.worker().lose(ConnectionLost())
            rig.advance(2)
        self.assertTrue(caller.read().startswith(b"HTTP/1.1 502"))
        self.assertEqual(rig.asked_for(), [])

    def test_what_cannot_be_read_was_done(self) -> None:
        """A worker that has sent a malformed response has done the work, so the request is not sent again."""
        for answer in (b"SSH-2.0\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", b"HTTP/1.1 2"):
            rig, caller = self.start()
            rig.tell(assignment())
            worker = rig.worker()
            worker.send(answer)
            if worker.open:
                worker.lose(ConnectionLost())
            self.assertTrue(caller.read().startswith(b"HTTP/1.1 502"))
            self.assertEqual(rig.asked_for(), [])

    def test_no_connection_is_free(self) -> None:
        """Under a cap on a worker's connections the deadline holds as well."""
        rig, first = self.start(per_worker=1, seconds=5.0)
        rig.tell(assignment())
        rig.worker().read()
        second = rig.caller()
        second.send(post())
        rig.tell(assignment(idx=8))
        rig.advance(7)
        self.assertTrue(second.read().startswith(b"HTTP/1.1 504"))
        self.assertEqual(first.read(), b"")
        self.assertEqual(rig.gate.working, 1)

    def test_no_connection_is_free_for_a_second_try(self) -> None:
        """So it does for a request whose connection turned out to be closed, where another took its place."""
        rig, first = self.start(per_worker=1, seconds=5.0, attempts=1)
        rig.tell(assignment())
        rig.worker().read()
        rig.worker().send(response(200, b"ok"))
        first.read()
        first.send(post())
        rig.tell(assignment(idx=8))
        second = rig.caller()
        second.send(post())
        rig.tell(assignment(idx=9))
        kept = rig.worker()
        kept.read()
        kept.lose(ConnectionLost())
        self.assertIn(b'"request_idx":9', rig.worker().read())
        self.assertEqual(first.read(), b"")
        rig.advance(7)
        self.assertTrue(first.read().startswith(b"HTTP/1.1 504"))
        self.assertEqual(second.read(), b"")
        self.assertEqual(rig.gate.working, 1)

    def test_whom_to_trust_is_not_known(self) -> None:
        """The deadline holds also while the workers' root is looked for."""

        class SlowTrust:
            async def roots(self) -> object:
                return await Deferred()

        rig, caller = self.start(seconds=5.0, trust=SlowTrust())
        rig.tell({**assignment(), "url": "https://203.0.113.7:31000"})
        rig.advance(7)
        self.assertIn(b"X-Vespa-Error: no_worker_root", caller.read())
        self.assertTrue(rig.idle)

    def test_bad_address(self) -> None:
        """An assignment to what is no address is told, not followed."""
        rig, caller = self.start()
        rig.tell({**assignment(), "url": "ftp://203.0.113.7"})
        self.assertIn(b"bad_assignment", caller.read())
        self.assertTrue(rig.idle)
