"""The lines of sessions, jobs, tokens and affinity."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.observability.example import Example
from tests.top.documents import NOW, client, worker
from vespa.top.document import Document
from vespa.top.figures import figures

SESSIONS = {
    "sessions": 0,
    "sessions_limit": 10,
    "session_load": 0.0,
    "sessions_opened_total": 0,
    "sessions_refused_total": 0,
    "sessions_ended_total": 0,
    "sessions_expired_total": 0,
    "sessions_drained_total": 0,
    "sessions_lost_total": 0,
    "session_callbacks_failed_total": 0,
}
JOBS = {"jobs": 0, "jobs_oldest_at": None, "aborts": 0}
USAGE = {
    "usage_read": False,
    "usage_measured_total": 0,
    "usage_unmeasured_total": 0,
    "usage_measured_work": 0.0,
    "usage_signed_work": 0.0,
}
AFFINITY = {"affinity_found_total": 0, "affinity_missing_total": 0}
UNUSED: dict[str, Any] = {**SESSIONS, **JOBS, **USAGE, **AFFINITY}


def lines(members: dict[str, Any]) -> dict[str, str]:
    return {figure.label: figure.text for figure in figures(Document(members))}


class FeatureTests(SynchronousTestCase):
    def said(self, **members: Any) -> dict[str, str]:
        """What these members add to a worker's lines."""
        known = lines(worker())
        return {label: text for label, text in lines(worker(**{**UNUSED, **members})).items() if label not in known}

    def test_unused(self) -> None:
        """What is off, or was never used, has no line."""
        self.assertEqual(self.said(), {})

    def test_every_member(self) -> None:
        """Each member of the documents of this version belongs to a line, but for the level of the log."""
        for kind in ("worker", "client"):
            estimates = {"throughput_estimate": 1.0, "admission_throughput": 1.0} if kind == "worker" else {}
            document = Document({**Example(kind, seconds=130).status.document(), **estimates})
            figures(document)
            self.assertEqual([name for name, _ in document.rest()], ["log_level"], kind)

    def test_lost_sessions(self) -> None:
        """Sessions that were lost with their backend stand beside the others."""
        found = self.said(sessions=1, session_load=1.0, sessions_opened_total=2, sessions_lost_total=1)
        self.assertEqual(found, {"sessions": "1 open of at most 10, 1 unit of work held, 2 opened, 1 lost"})

    def test_sessions(self) -> None:
        """Open sessions, their load, and what became of the others."""
        self.assertEqual(
            self.said(sessions=2, session_load=40.0, sessions_opened_total=5, sessions_ended_total=3),
            {"sessions": "2 open of at most 10, 40 units of work held, 5 opened, 3 ended"},
        )
        self.assertEqual(
            self.said(sessions_opened_total=1, sessions_expired_total=1, session_callbacks_failed_total=1),
            {"sessions": "0 open of at most 10, 1 opened, 1 expired, on_close_route failed: 1"},
        )

    def test_affinity(self) -> None:
        """The requests that had the value of VESPA_AFFINITY, and those that had not."""
        found = self.said(affinity_found_total=1, affinity_missing_total=1200)
        self.assertEqual(found, {"affinity": "1 request with the value, 1,200 without"})
        self.assertEqual(self.said(affinity_missing_total=3), {"affinity": "0 requests with the value, 3 without"})

    def test_estimate(self) -> None:
        """The estimates of the throughput, in the order of what is done and what limits waits."""
        said = self.said(throughput_estimate=143.0, admission_throughput=238.4)
        self.assertEqual(said, {"estimated": "143 units/s done, 238 units/s of cost, for estimated waits"})
        self.assertEqual(self.said(throughput_estimate=None, admission_throughput=None), {})

    def test_jobs(self) -> None:
        """Jobs under way, and work that is being stopped."""
        said = self.said(jobs=2, jobs_oldest_at=NOW - 5.0, aborts=1)
        self.assertEqual(said, {"jobs": "2 under way, the oldest for 5 s, 1 being stopped"})

    def test_tokens(self) -> None:
        """Responses that are read, also before there is one."""
        self.assertIn("tokens", self.said(usage_read=True))
        said = self.said(
            usage_read=True,
            usage_measured_total=2,
            usage_unmeasured_total=1,
            usage_measured_work=10.0,
            usage_signed_work=40.0,
        )
        self.assertEqual(said, {"tokens": "2 responses measured, 1 without, 10 units of work for a cost of 40"})

    def test_client(self) -> None:
        """A client's sessions and jobs are those that it knows."""
        members: dict[str, Any] = {"sessions_known": 1, "sessions_limit": 100, "sessions": [{}], "jobs_known": 3}
        found = lines(client(**members))
        self.assertEqual((found["sessions"], found["jobs"]), ("1 open of at most 100", "3 known"))
        members = {"sessions_known": 0, "sessions_limit": 100, "sessions": [], "jobs_known": 0}
        self.assertEqual(lines(client(**members)), lines(client()))
