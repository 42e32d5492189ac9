"""One worker without an autoscaler."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.client.requests import get, post
from tests.client.rig import AUTOSCALER, WORKER, ClientRig, response
from vespa.client.debug_worker import DebugWorker
from vespa.vast.assignment import Assignment
from vespa.vast.query_envelope import unwrap_query
from vespa.vast.whole_envelope import unwrap_body

URL = f"http://{WORKER[0]}:{WORKER[1]}"


class Found:
    """The listener of a search."""

    def __init__(self) -> None:
        self.found_ones: list[Assignment] = []

    def found(self, assignment: Assignment) -> None:
        self.found_ones.append(assignment)

    def not_found(self, refusal: Any) -> None:
        raise AssertionError(refusal)

    def still_waiting(self, status: str, seconds: float) -> None:
        raise AssertionError(status)


class DebugWorkerTests(SynchronousTestCase):
    def test_assignment(self) -> None:
        """It has every member that a worker needs, an empty signature, and an index of its own each time."""
        worker = DebugWorker(URL, "", Clock())
        for number in (1, 2):
            given = worker.assignment(2.5)
            auth = unwrap_body(b'{"auth_data":%b,"payload":{}}' % given.auth_data, 1e9).auth
            self.assertEqual((auth.signature, auth.cost, auth.reqnum, auth.request_idx), ("", 2.5, number, number))
            self.assertEqual((auth.url, auth.endpoint, given.url, given.request_idx), (URL, "debug", URL, number))
            self.assertEqual(unwrap_query(given.query, 1e9)[0], auth)

    def test_again(self) -> None:
        """A further attempt goes to the same worker after a pause, unless it is cancelled."""
        clock, found = Clock(), Found()
        search = DebugWorker(URL, "demo", clock).search(1.0, 0.0)
        search.begin(found)
        self.assertEqual(len(found.found_ones), 1)
        search.begin(found, anew=True)
        self.assertEqual(len(found.found_ones), 1)
        clock.advance(1.0)
        self.assertEqual(len(found.found_ones), 2)
        search.begin(found, 3.0)
        clock.advance(2.9)
        search.cancel()
        clock.advance(9.0)
        search.cancel()
        search.give_up(1.0)
        self.assertEqual((len(found.found_ones), clock.getDelayedCalls()), (2, []))


class ProxyTests(SynchronousTestCase):
    def test_requests(self) -> None:
        """Requests go to the worker at once, and no autoscaler is asked."""
        rig = ClientRig(debug_worker=URL)
        caller = rig.caller()
        caller.send(post())
        sent = rig.worker().read()
        self.assertEqual(json.loads(sent.partition(b"\r\n\r\n")[2])["auth_data"]["signature"], "")
        rig.worker().send(response(200, b"ok"))
        self.assertTrue(caller.read().endswith(b"ok"))
        caller.send(get())
        self.assertIn(b"&serverless_signature=&", rig.worker().read())
        rig.worker().send(response(200, b"ok"))
        self.assertEqual(rig.wires(AUTOSCALER), [])
        self.assertTrue(rig.idle)

    def test_busy(self) -> None:
        """A busy worker is asked again, as often as others would be."""
        rig = ClientRig(debug_worker=URL, attempts=2)
        caller = rig.caller()
        caller.send(post())
        rig.worker().send(response(429, b"busy"))
        rig.advance(1.5)
        rig.worker().send(response(429, b"still busy"))
        self.assertTrue(caller.read().endswith(b"still busy"))
        self.assertTrue(rig.idle)
