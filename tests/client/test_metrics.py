"""The metrics of a whole client proxy in memory."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.client.requests import BODY, post
from tests.client.rig import OTHER, WORKER, ClientRig, assignment, response
from tests.observability.metered import metrics_of, requests, samples
from vespa.client.metrics import RETRIED
from vespa.client.sessions.sessions import RESULTS
from vespa.observability.ended_requests import EndedRequests
from vespa.protocol.error_codes import statuses


def attempts(now: dict[str, float]) -> dict[str, float]:
    """How attempts ended, without what did not happen."""
    start = 'vespa_client_attempts_total{result="'
    return {name[len(start) : -2]: value for name, value in now.items() if name.startswith(start) and value}


class ClientMetricsTests(SynchronousTestCase):
    def start(self, **options: Any) -> ClientRig:
        rig = ClientRig(**options)
        ended = EndedRequests(rig.reactor)
        rig.proxy.ended = ended.ended
        self.metrics = metrics_of(rig, ended)
        return rig

    def scrape(self) -> dict[str, float]:
        return samples(self.metrics)

    def test_searches(self) -> None:
        """Searches under way, those to which the autoscaler said to wait, and how long the oldest lasts."""
        rig = self.start()
        rig.caller().send(post())
        rig.caller().send(post())
        now = self.scrape()
        names = ("vespa_client_searches", "vespa_client_searches_waiting", "vespa_client_oldest_search_seconds")
        self.assertEqual([now[name] for name in names], [2, 0, 0])
        rig.tell({"status": "0 of 1 workers", "request_idx": 9})
        rig.reactor.advance(0.5)
        now = self.scrape()
        self.assertEqual([now[name] for name in names], [2, 1, 0.5])
        self.assertEqual(now["vespa_requests_in_flight"], 2)
        rig.autoscaler.dismiss()
        now = self.scrape()
        self.assertEqual([now[name] for name in names], [0, 0, 0])
        self.assertEqual(now[requests("failed", "draining", "vespa")], 2)

    def test_served(self) -> None:
        """A request that its first worker serves: one call of the autoscaler, one attempt, one worker."""
        rig = self.start()
        rig.caller().send(post())
        rig.tell(assignment())
        rig.worker().send(response(200, b"ok"))
        now = self.scrape()
        self.assertEqual(attempts(now), {"served": 1})
        self.assertEqual(now['vespa_client_autoscaler_calls_total{result="answered"}'], 1)
        self.assertEqual(now["vespa_client_workers"], 1)
        self.assertEqual(now["vespa_backend_connections_opened_total"], 1)
        self.assertEqual(now[requests("served")], 1)

    def test_another_worker(self) -> None:
        """An attempt that fails counts by its error, and the one that follows it by how it ends."""
        rig = self.start()
        rig.refusing.add(WORKER)
        rig.caller().send(post())
        rig.tell(assignment(WORKER, 7))
        rig.tell(assignment(OTHER, 7))
        rig.worker(OTHER).send(response(500, b"why"))
        now = self.scrape()
        self.assertEqual(attempts(now), {"worker_unreachable": 1, "unserved": 1})
        self.assertEqual(now["vespa_client_workers"], 2)
        self.assertEqual(now["vespa_backend_connections_failed_total"], 1)
        self.assertEqual(now[requests("unserved", "", "worker")], 1)

    def test_no_worker(self) -> None:
        """A request for which there is no worker has no attempt, and counts as the autoscaler's failure."""
        rig = self.start(seconds=10.0)
        rig.caller().send(post())
        rig.tell({"status": "0 of 3 workers are ready", "request_idx": 9})
        rig.advance(12)
        now = self.scrape()
        self.assertEqual(attempts(now), {})
        self.assertEqual(now[requests("failed", "no_worker", "autoscaler")], 1)

    def test_autoscaler_fails(self) -> None:
        """Failed calls of the autoscaler are counted, though callers notice nothing."""
        rig = self.start()
        rig.caller().send(post())
        rig.tell(response(500))
        now = self.scrape()
        self.assertEqual(now['vespa_client_autoscaler_calls_total{result="failed"}'], 1)

    def test_usual_results_are_there(self) -> None:
        """Before the first request each usual result is 0. All of them are error codes, or "busy"."""
        self.start()
        now = self.scrape()
        for result in (*RETRIED, "served", "failed"):
            self.assertEqual(now[f'vespa_client_attempts_total{{result="{result}"}}'], 0)
        self.assertEqual([code for code in RETRIED if not statuses(code)], [])

    def test_sessions_and_jobs(self) -> None:
        """Sessions that are kept and what became of them, and jobs."""
        rig = self.start(attempts=1, jobs="comfyui")
        caller = rig.caller()
        caller.send(post(BODY, b"X-Vespa-Session: a", target=b"/prompt"))
        rig.tell(assignment())
        rig.worker().send(response(201, b'{"session_id": "abc"}'))
        rig.worker().send(response(200, b'{"prompt_id": "0123456789"}'))
        rig.caller().send(post(BODY, b"X-Vespa-Session: b"))
        rig.tell(assignment(OTHER))
        rig.worker(OTHER).send(response(429))
        now = self.scrape()
        self.assertEqual([now[f"vespa_client_{name}"] for name in ("sessions", "jobs", "jobs_total")], [1, 1, 1])
        results = {result: now[f'vespa_client_sessions_total{{result="{result}"}}'] for result in RESULTS}
        self.assertEqual(results, {"opened": 1, "refused": 1, "ended": 0, "replaced": 0, "lost": 0})
