"""Tests of `vespa.client.status`."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.client.requests import BODY, post
from tests.client.rig import KEY, OTHER, WORKER, ClientRig, assignment, response
from tests.observability.example import Example
from tests.observability.test_status import documented
from vespa.client.status import FAILING_SECONDS, SHOWN_SEARCHES, SHOWN_SESSIONS, SHOWN_WORKERS, ClientStatus
from vespa.config.client import ClientSettings
from vespa.config.effective import effective
from vespa.config.schema import rows
from vespa.observability.recent_requests import RecentRequests
from vespa.observability.status import STOPPING, StatusDocument
from vespa.vast.assignment import Assignment

WAITING = {"request_idx": 7, "status": "2 workers are loading"}


class StatusTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rig = ClientRig(random=0.0)
        self.status = self.status_of(self.rig)

    def status_of(self, rig: ClientRig) -> ClientStatus:
        return ClientStatus(
            clock=rig.reactor,
            autoscaler=rig.autoscaler,
            workers=rig.known,
            sessions=rig.app.sessions,
            jobs=rig.app.jobs,
            gate=rig.gate,
            server=rig.server,
            autoscaler_url="http://203.0.113.1",
            url=lambda: "http://127.0.0.1:8010",
        )

    def state(self) -> tuple[str, str]:
        self.status.measure()
        newest = self.status.states.newest
        assert newest is not None
        return newest.state, newest.reason

    def workers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.status.facts()["workers"]
        return found

    def test_at_rest(self) -> None:
        """A client that has done nothing is ready, and knows no worker. The guide names each member."""
        self.assertEqual(self.state(), ("ready", ""))
        facts = self.status.facts()
        self.assertEqual(sorted(set(facts) - documented()), [])
        self.assertEqual(set(Example("client").facts()), set(facts), "the page's tests show the same members")
        json.dumps(facts)
        self.assertEqual((facts["workers"], facts["searches"], facts["searches_waiting"]), ([], [], 0))
        self.assertEqual((facts["endpoint"], facts["url"]), ("demo", "http://127.0.0.1:8010"))
        self.assertEqual(facts["longest_search_seconds"], 0.0)

    def test_sessions_and_jobs(self) -> None:
        """The sessions used last are shown with their workers, without their names; of jobs the number."""
        rig = self.rig
        for number in range(SHOWN_SESSIONS + 1):
            rig.caller().send(post(BODY, b"X-Vespa-Session: secret-%d" % number))
        rig.tell(assignment(WORKER))
        rig.worker().send(response(201, b'{"session_id": "id-0"}'))
        rig.caller().send(post(BODY, b"X-Vespa-Session: secret-0"))
        rig.app.jobs.begin(b"job-0001", Assignment("http://203.0.113.7:31000", 7, b"{}", {}))
        facts = self.status.facts()
        self.assertEqual((facts["sessions_known"], facts["sessions_limit"]), (SHOWN_SESSIONS + 1, 100))
        self.assertEqual(facts["jobs_known"], 1)
        shown = facts["sessions"]
        self.assertEqual([each["state"] for each in shown], ["open", *["opening"] * (SHOWN_SESSIONS - 1)])
        self.assertEqual((shown[0]["worker_url"], shown[0]["requests_total"]), ("http://203.0.113.7:31000", 2))
        self.assertNotIn("secret", json.dumps(facts))

    def test_searching(self) -> None:
        """While searches wait, the autoscaler's word is the reason; each has the time of its begin."""
        began = self.rig.reactor.seconds()
        for _ in range(SHOWN_SEARCHES + 2):
            self.rig.caller().send(post())
            self.rig.tell(WAITING)
        self.rig.reactor.advance(0.5)
        self.assertEqual(self.state(), ("searching", "no worker is free: 2 workers are loading"))
        facts = self.status.facts()
        self.assertEqual(facts["searches"], [{"since_at": began, "status": "2 workers are loading"}] * SHOWN_SEARCHES)
        self.assertEqual((facts["searches_waiting"], facts["longest_search_seconds"]), (SHOWN_SEARCHES + 2, 0.5))
        self.assertEqual(facts["requests_in_flight"], SHOWN_SEARCHES + 2)

    def test_found(self) -> None:
        """A worker that was found is shown with its requests, and the state is ready again."""
        caller = self.rig.caller()
        caller.send(post())
        self.rig.tell(assignment(WORKER))
        self.assertEqual(self.state(), ("ready", ""))
        (worker,) = self.workers()
        self.assertEqual((worker["url"], worker["state"]), ("http://203.0.113.7:31000", "busy"))
        self.assertEqual((worker["requests_in_flight"], worker["requests_total"]), (1, 1))
        self.rig.worker().send(response(200, b"ok"))
        (worker,) = self.workers()
        self.assertEqual((worker["state"], worker["requests_in_flight"], worker["failures_total"]), ("idle", 0, 0))

    def test_failed_worker(self) -> None:
        """A worker that failed says why, and counts as failing for a while; the other has the request."""
        caller = self.rig.caller()
        caller.send(post())
        self.rig.tell(assignment(WORKER, 7))
        self.rig.worker().send(response(503, b"{}", b"X-Vespa-Error: not_ready"))
        failed_at = self.rig.reactor.seconds()
        self.rig.tell(assignment(OTHER, 8))
        other, failed = self.workers()
        self.assertEqual((other["url"], other["state"]), ("http://203.0.113.8:31000", "busy"))
        self.assertEqual((failed["state"], failed["failures_total"], failed["failed_at"]), ("failing", 1, failed_at))
        self.assertEqual(failed["trouble"], "it answered not_ready")
        self.rig.reactor.advance(FAILING_SECONDS)
        self.assertEqual(self.workers()[1]["state"], "idle")

    def test_autoscaler_fails(self) -> None:
        """While the autoscaler fails the state is errored, with the reason, until it answers."""
        self.rig.caller().send(post())
        self.rig.tell(response(500, b"{}"))
        state, reason = self.state()
        self.assertEqual(state, "errored")
        self.assertIn("it answered 500", reason)
        self.assertEqual(self.status.facts()["autoscaler_failures_total"], 1)
        self.rig.reactor.advance(2.0)
        self.rig.tell(WAITING)
        self.assertEqual(self.state()[0], "searching")

    def test_rejected_key(self) -> None:
        """A key that the autoscaler rejects is an error that stays, though no search waits."""
        self.rig.caller().send(post())
        self.rig.tell(response(401, b"{}"))
        state, reason = self.state()
        self.assertEqual((state, self.status.facts()["searches_waiting"]), ("errored", 0))
        self.assertIn("rejected the endpoint's key with status 401", reason)
        self.rig.caller().send(post())
        self.rig.tell(assignment(WORKER))
        self.assertEqual(self.state(), ("ready", ""))

    def test_stopping(self) -> None:
        """A client that drains says so."""
        self.rig.server.drain()
        self.assertEqual([problem["text"] for problem in self.status.facts()["problems"]], [STOPPING])

    def test_bounds(self) -> None:
        """Only the workers that were used last are shown."""
        for number in range(1, SHOWN_WORKERS + 4):
            self.successResultOf(self.rig.known.get_worker(f"http://203.0.113.{number}:1"))
        found = self.workers()
        self.assertEqual(len(found), SHOWN_WORKERS)
        self.assertEqual(found[0]["url"], f"http://203.0.113.{SHOWN_WORKERS + 3}:1")
        self.assertEqual({worker["state"] for worker in found}, {"idle"})

    def test_no_secret(self) -> None:
        """With a key in every secret setting, and in what the autoscaler says, none is in the document."""
        given: dict[str, Any] = {row.attribute: KEY for row in rows(ClientSettings) if row.secret}
        document = StatusDocument(
            self.status,
            RecentRequests(lambda ended: {}),
            self.rig.reactor,
            version="1",
            settings=effective(ClientSettings(**given)),
            secrets=[KEY],
        )
        for status in (400, 500):
            self.rig.caller().send(post())
            self.rig.tell(response(status, json.dumps({"error": f"the key {KEY} is odd"}).encode()))
        document.tick()
        for found in (document.document(), document.event()):
            self.assertNotIn(KEY, json.dumps(found, allow_nan=False))

    def test_size_of_an_event(self) -> None:
        """An event is small, with as many workers and searches as it shows."""
        for number in range(1, 30):
            worker = self.successResultOf(self.rig.known.get_worker(f"http://203.0.113.{number}:1"))
            worker.trouble = "x" * 1000
            self.rig.caller().send(post())
            self.rig.tell({"request_idx": 7, "status": "x" * 300})
        document = StatusDocument(self.status, RecentRequests(lambda ended: {}), self.rig.reactor, version="1")
        for _ in range(5):
            self.rig.reactor.advance(1.0)
            document.tick()
        self.assertLess(len(json.dumps(document.event())), 8000)
