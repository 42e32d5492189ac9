"""The list of an endpoint's workers, in each form in which the autoscaler may give it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes import FakeAgent
from vespa.client.console import RESPONSE_LIMIT
from vespa.client.endpoint_workers import EndpointWorkers, WorkerInfo, WorkersUnavailable
from vespa.runtime.http_client import BoundedClient
from vespa.simulator.worker_rows import worker_rows
from vespa.simulator.worker_totals import EndpointTotals

KEY = "account-key-3141"


class EndpointWorkersTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.agent = FakeAgent()
        self.workers = EndpointWorkers("https://run.example/", BoundedClient(self.agent, self.clock))

    def ask(self, body: object, status: int = 200) -> Deferred[list[WorkerInfo]]:
        result = Deferred.fromCoroutine(self.workers.of(7, KEY))
        self.agent.asked[-1].answer(status, body if isinstance(body, bytes) else json.dumps(body).encode())
        return result

    def why(self, result: Deferred[Any]) -> str:
        said = str(self.failureResultOf(result, WorkersUnavailable).value)
        self.assertNotIn(KEY, said)
        self.assertTrue(said.isprintable())
        return said

    def test_asked(self) -> None:
        """The id of the endpoint and the account's key are in the body."""
        self.assertEqual(self.successResultOf(self.ask([])), [])
        asked = self.agent.asked[-1]
        self.assertEqual((asked.method, asked.url), ("POST", "https://run.example/get_endpoint_workers/"))
        self.assertEqual(json.loads(asked.body or b""), {"id": 7, "api_key": KEY})

    def test_list(self) -> None:
        """A worker is read as the simulator's autoscaler writes it."""
        totals = EndpointTotals()
        totals.of(31).max_perf = 250.0
        (row,) = worker_rows(totals, 1_700_000_000.0)
        row.update(reqs_working=2, cur_load=30.5, cur_perf=99.0, disk_usage=12.5, reliability=0.98)
        self.assertEqual(
            self.successResultOf(self.ask([row])),
            [
                WorkerInfo(
                    id="31",
                    status="standby",
                    requests=2,
                    load=30.5,
                    performance_now=99.0,
                    performance_measured=250.0,
                    reliability=0.98,
                    disk=12.5,
                )
            ],
        )

    def test_sparse(self) -> None:
        """Fields may be missing or of another type."""
        (first, second) = self.successResultOf(self.ask([{}, {"id": "a", "status": 3, "cur_load": "x", "perf": None}]))
        self.assertEqual(first, WorkerInfo(id="", status=""))
        self.assertEqual(second, WorkerInfo(id="a", status="3"))

    def test_endless_numbers(self) -> None:
        """An integer that no float can hold is none, and hides no other value."""
        (row,) = self.successResultOf(self.ask([{"id": 10**400, "status": "ready", "cur_load": 10**400}]))
        self.assertEqual((row.status, row.load), ("ready", None))

    def test_error_message(self) -> None:
        """A 200 with an error_msg is no list, and its text is shown without the key."""
        said = self.why(self.ask({"error_msg": f"no such\nkey {KEY}"}))
        self.assertIn("no such key [hidden]", said)
        self.assertIn("ask again in some minutes", said)

    def test_plain_text(self) -> None:
        """So is a plain text, as JSON or not."""
        for body in (b"endpoint not ready", b'"endpoint not ready"'):
            self.assertIn("endpoint not ready", self.why(self.ask(body)))
        self.assertIn("it gives no reason", self.why(self.ask(b"")))

    def test_anything_else(self) -> None:
        """Other JSON is named as such."""
        bodies: tuple[object, ...] = ({}, {"workers": []}, 5, None, [1], ["a"])
        for body in bodies:
            self.assertIn("something else than a list", self.why(self.ask(body)))

    def test_failures(self) -> None:
        """An error names its status; an endless list, an absent and a silent autoscaler are told apart."""
        self.assertIn("answered 500: oh [hidden]", self.why(self.ask(f"oh {KEY}".encode(), 500)))
        self.assertIn("is incomplete", self.why(self.ask(b" " * (RESPONSE_LIMIT + 1))))
        result = Deferred.fromCoroutine(self.workers.of(7, KEY))
        self.agent.asked[-1].fail(ConnectionRefusedError())
        self.assertIn("cannot be reached", self.why(result))
        result = Deferred.fromCoroutine(self.workers.of(7, KEY))
        self.clock.advance(30.0)
        self.assertIn("no response in 30 s", self.why(result))

    @given(st.binary(max_size=100))
    def test_any_bytes(self, body: bytes) -> None:
        """Any response gives workers or a WorkersUnavailable."""
        self.setUp()
        result: list[Any] = []
        self.ask(body).addBoth(result.append)
        value = getattr(result[0], "value", result[0])
        self.assertIsInstance(value, list | WorkersUnavailable)
